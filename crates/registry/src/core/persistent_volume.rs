//! PersistentVolumes.

use apimachinery::Quantity;
use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{object, set};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy, keep_status};

pub struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn prepare_for_create(&self, volume: &mut Value, context: &Context<'_>) {
        volume["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": context.now});
    }

    fn default(&self, volume: &mut Value) {
        phase(volume);
        let Some(spec) = object(volume, "spec") else { return };
        set(spec, "persistentVolumeReclaimPolicy", "Retain");
        set(spec, "volumeMode", "Filesystem");
        if let Some(host) = crate::defaults::present(spec, "hostPath").filter(|host| host.get("type").is_none()) {
            host["type"] = "".into();
        }
        pod_spec::legacy_volume(spec);
    }

    fn validate(&self, volume: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(volume).at("spec");
        access_modes(&spec.at("accessModes"), &mut errors);
        capacity(&spec.at("capacity"), &mut errors);
        spec.at("persistentVolumeReclaimPolicy").one_of(&mut errors, &["Delete", "Recycle", "Retain"]);
        source(&spec, &mut errors);
        spec.at("volumeMode").one_of(&mut errors, &["Block", "Filesystem"]);
        pod_spec::class_name(&spec.at("storageClassName"), &mut errors);
        attributes_class(&spec, &mut errors);
        let affinity = spec.at("nodeAffinity");
        if affinity.at("required").present() {
            pod_spec::node_selector(&affinity.at("required"), &mut errors);
        } else if affinity.present() {
            errors.required(&affinity.path.child("required"), "must specify required node constraints");
        }
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let (spec, before) = (At::root(new).at("spec"), &old["spec"]);
        let source = |spec: &Value| pod_spec::VOLUME_KINDS.map(|kind| spec.get(kind).cloned());
        if source(spec.value) != source(before) {
            errors.forbidden(
                &spec.path.child("persistentvolumesource"),
                "spec.persistentvolumesource is immutable after creation",
            );
        }
        // Upstream names these two without `spec`.
        let bare = |field: &str| At { value: spec.at(field).value, path: Path::new(field) };
        bare("volumeMode").immutable(&mut errors, &before["volumeMode"]);
        if !before["nodeAffinity"].is_null() {
            bare("nodeAffinity").immutable(&mut errors, &before["nodeAffinity"]);
        }
        keep_attributes_class(&spec, before, &mut errors);
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Capacity"),
                Column::text("Access Modes"),
                Column::text("Reclaim Policy"),
                Column::text("Status"),
                Column::text("Claim"),
                Column::text("StorageClass"),
                Column::text("VolumeAttributesClass"),
                Column::text("Reason"),
                Column::AGE,
                Column::wide("VolumeMode"),
            ]
        }
    }

    fn row(&self, volume: &Value, now: i64) -> Vec<Value> {
        let claim = match volume.pointer("/spec/claimRef") {
            Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")),
            None => String::new(),
        };
        let deleted = volume.pointer("/metadata/deletionTimestamp").is_some();
        let phase = if deleted { "Terminating" } else { text(volume, "/status/phase") };
        vec![
            name(volume),
            text(volume, "/spec/capacity/storage").into(),
            modes_cell(list(volume, "/spec/accessModes")).into(),
            text(volume, "/spec/persistentVolumeReclaimPolicy").into(),
            phase.into(),
            claim.into(),
            text(volume, "/spec/storageClassName").into(),
            or(text(volume, "/spec/volumeAttributesClassName"), "<unset>").into(),
            text(volume, "/status/reason").into(),
            table::age(volume, now),
            or(text(volume, "/spec/volumeMode"), "<unset>").into(),
        ]
    }

    fn fields(&self, volume: &Value) -> Vec<(&'static str, String)> {
        vec![("name", text(volume, "/metadata/name").to_owned())]
    }
}

/// `RWO,ROX,RWX,RWOP`, in this order.
pub fn modes_cell(modes: &[Value]) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |long: &str| modes.iter().any(|mode| mode == long);
    short.iter().filter(|(long, _)| has(long)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub fn access_modes(modes: &At<'_>, errors: &mut ErrorList) {
    modes.required(errors, "");
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let unknown: Vec<At<'_>> = modes.items().into_iter().filter(|mode| !known.contains(&mode.text())).collect();
    for mode in unknown {
        errors.not_supported(&modes.path, mode.text(), &known);
    }
    let exclusive = modes.items().iter().any(|mode| mode.text() == "ReadWriteOncePod");
    if exclusive && modes.items().len() > 1 {
        errors.forbidden(&modes.path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn capacity(capacity: &At<'_>, errors: &mut ErrorList) {
    capacity.required(errors, "");
    let entries = capacity.entries();
    if !capacity.empty() && (entries.len() > 1 || entries.iter().any(|(name, _)| *name != "storage")) {
        errors.not_supported(&capacity.path, capacity.value.clone(), &["storage"]);
    }
    for (_, amount) in entries {
        let quantity = Quantity::of(amount.value);
        if quantity.is_negative() {
            errors.invalid(&amount.path, quantity.value(), "must be a valid resource quantity");
        }
        if quantity <= Quantity::ZERO {
            amount.invalid(errors, "must be greater than zero");
        }
    }
}

fn source(spec: &At<'_>, errors: &mut ErrorList) {
    let given: Vec<&str> = pod_spec::VOLUME_KINDS.into_iter().filter(|kind| spec.at(kind).present()).collect();
    for extra in given.iter().skip(1) {
        errors.forbidden(&spec.path.child(extra), "may not specify more than 1 volume type");
    }
    let Some(kind) = given.first() else {
        return errors.required(&spec.path, "must specify a volume type");
    };
    pod_spec::validate_volume_source(kind, &spec.at(kind), false, errors);
    match *kind {
        "hostPath" => recycled(spec, errors),
        "local" => local(spec, errors),
        _ => {}
    }
}

fn recycled(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("persistentVolumeReclaimPolicy");
    let path = spec.to("hostPath.path");
    if policy.text() == "Recycle" && !path.empty() && path.text().trim_end_matches('/').is_empty() {
        errors.forbidden(&policy.path, "may not be 'recycle' for a hostPath mount of '/'");
    }
}

fn local(spec: &At<'_>, errors: &mut ErrorList) {
    let path = spec.to("local.path");
    if path.required(errors, "") && path.text().split('/').any(|part| part == "..") {
        path.invalid(errors, "must not contain '..'");
    }
    if !spec.at("nodeAffinity").present() {
        errors.required(&spec.path.child("nodeAffinity"), "Local volume requires node affinity");
    }
}

fn attributes_class(spec: &At<'_>, errors: &mut ErrorList) {
    let class = spec.at("volumeAttributesClassName");
    if !class.present() {
        return;
    }
    if class.required(errors, "an empty string is disallowed") {
        pod_spec::class_name(&class, errors);
    }
    if !spec.at("csi").present() {
        errors.required(&spec.path.child("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

/// Once there is a class there is one: of volumes and claims.
pub fn keep_attributes_class(spec: &At<'_>, before: &Value, errors: &mut ErrorList) {
    let class = spec.at("volumeAttributesClassName");
    if before["volumeAttributesClassName"].is_null() {
        return;
    }
    if !class.present() {
        errors.forbidden(&class.path, "update from non-nil value to nil is forbidden");
    } else if class.empty() && before["volumeAttributesClassName"] != "" {
        errors.forbidden(&class.path, "update from non-nil value to an empty string is forbidden");
    }
}

/// A volume whose status says nothing is pending.
fn phase(volume: &mut Value) {
    if text(volume, "/status/phase").is_empty() && volume.get("spec").is_some() {
        volume["status"]["phase"] = "Pending".into();
    }
}
