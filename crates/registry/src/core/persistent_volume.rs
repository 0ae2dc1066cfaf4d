//! PersistentVolumes.

use apimachinery::Quantity;
use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{object, set, set_pointer};
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
        set_pointer(spec, "volumeMode", "Filesystem");
        if let Some(host) = crate::defaults::present(spec, "hostPath").filter(|host| host.get("type").is_none()) {
            host["type"] = "".into();
        }
        pod_spec::legacy_volume(spec);
    }

    fn validate(&self, volume: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        validate_volume_spec(&At::root(volume).at("spec"), Place::Own(name_of(volume)), &mut errors);
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        super::volume_warnings::persistent_volume(&At::root(new))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let (spec, before) = (At::root(new).at("spec"), &old["spec"]);
        if sources(spec.value, before) != sources(before, before) {
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
        let class = spec.at("volumeAttributesClassName");
        if !before["volumeAttributesClassName"].is_null() && !class.present() {
            errors.forbidden(&class.path, "update from non-nil value to nil is forbidden");
        }
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
            or(text(volume, "/spec/capacity/storage"), "0").into(),
            modes_cell(list(volume, "/spec/accessModes")).into(),
            text(volume, "/spec/persistentVolumeReclaimPolicy").into(),
            phase.into(),
            claim.into(),
            class_cell(volume).into(),
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

/// The class of a volume or a claim; the old annotation goes before the field.
pub fn class_cell(object: &Value) -> &str {
    let annotated = apimachinery::object::annotation(object, "volume.beta.kubernetes.io/storage-class");
    annotated.unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

/// `RWO,ROX,RWX,RWOP`, in this order.
pub fn modes_cell(modes: &[Value]) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |long: &str| modes.iter().any(|mode| mode == long);
    short.iter().filter(|(long, _)| has(long)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub fn access_modes(modes: &At<'_>, errors: &mut ErrorList) {
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let unknown: Vec<At<'_>> = modes.items().into_iter().filter(|mode| !known.contains(&mode.text())).collect();
    for mode in unknown {
        errors.not_supported(&modes.path, mode.text(), &known);
    }
    let exclusive = |mode: &At<'_>| mode.text() == "ReadWriteOncePod";
    let shared = |mode: &At<'_>| known.contains(&mode.text()) && mode.text() != "ReadWriteOncePod";
    if modes.items().iter().any(exclusive) && modes.items().iter().any(shared) {
        errors.forbidden(&modes.path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn capacity(capacity: &At<'_>, errors: &mut ErrorList) {
    capacity.required(errors, "");
    let entries = capacity.entries();
    if capacity.empty() || (entries.len() > 1 || entries.iter().any(|(name, _)| *name != "storage")) {
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

/// Where a spec stands.
#[derive(Clone, Copy, PartialEq)]
pub enum Place<'a> {
    /// In a volume of this name.
    Own(&'a str),
    /// In an attachment, which says of a volume only what its driver needs.
    Inline,
}

/// The rules of a volume's spec, in upstream's order.
pub fn validate_volume_spec(spec: &At<'_>, place: Place<'_>, errors: &mut ErrorList) {
    let name = match place {
        Place::Own(name) => name,
        Place::Inline => "",
    };
    if place == Place::Inline {
        only_outside(spec, &["claimRef", "capacity"], errors);
        if !spec.at("csi").present() {
            errors.required(&spec.path.child("csi"), &format!("has to be specified {INLINE}"));
        }
    }
    spec.at("accessModes").required(errors, "");
    access_modes(&spec.at("accessModes"), errors);
    if place != Place::Inline {
        capacity(&spec.at("capacity"), errors);
    }
    reclaim_policy(&spec.at("persistentVolumeReclaimPolicy"), place, errors);
    if place == Place::Inline {
        only_outside(spec, &["nodeAffinity"], errors);
    } else {
        node_affinity(&spec.at("nodeAffinity"), errors);
    }
    source(spec, name, errors);
    recycled(spec, errors);
    let mode = spec.at("volumeMode");
    if place == Place::Inline {
        only_outside(spec, &["storageClassName"], errors);
        if mode.present() && mode.text() != "Filesystem" {
            errors.forbidden(&mode.path, format!("may not specify volumeMode other than Filesystem {INLINE}"));
        }
    } else {
        pod_spec::class_name(&spec.at("storageClassName"), errors);
        mode.one_of(errors, &["Block", "Filesystem"]);
    }
    attributes_class(spec, errors);
}

const INLINE: &str = "in the context of inline volumes";

fn only_outside(spec: &At<'_>, fields: &[&str], errors: &mut ErrorList) {
    for at in fields.iter().map(|field| spec.at(field)).filter(At::present) {
        if !at.empty() || at.path.as_str().ends_with("claimRef") || at.path.as_str().ends_with("nodeAffinity") {
            errors.forbidden(&at.path, format!("may not be specified {INLINE}"));
        }
    }
}

fn reclaim_policy(policy: &At<'_>, place: Place<'_>, errors: &mut ErrorList) {
    if place != Place::Inline {
        return policy.one_of(errors, &["Delete", "Recycle", "Retain"]);
    }
    if !policy.empty() && policy.text() != "Retain" {
        errors.forbidden(&policy.path, format!("may only be Retain {INLINE}"));
    }
}

fn node_affinity(affinity: &At<'_>, errors: &mut ErrorList) {
    if affinity.at("required").present() {
        pod_spec::node_selector(&affinity.at("required"), errors);
    } else if affinity.present() {
        errors.required(&affinity.path.child("required"), "must specify required node constraints");
    }
}

fn name_of(volume: &Value) -> &str {
    text(volume, "/metadata/name")
}

/// The sources of a volume. A secret for expansion may be added to a CSI volume that had none.
fn sources(spec: &Value, before: &Value) -> Vec<Option<Value>> {
    let mut sources: Vec<Option<Value>> =
        pod_spec::PERSISTENT_KINDS.iter().map(|kind| spec.get(*kind).cloned()).collect();
    let had = before.pointer("/csi/controllerExpandSecretRef").is_some_and(|reference| !reference.is_null());
    if let Some(Value::Object(csi)) = sources.last_mut().and_then(Option::as_mut).filter(|_| !had) {
        csi.remove("controllerExpandSecretRef");
    }
    sources
}

fn source(spec: &At<'_>, name: &str, errors: &mut ErrorList) {
    let mut extra = ErrorList::new();
    let Some(kind) = pod_spec::given_source(spec, &pod_spec::PERSISTENT_KINDS, &mut extra) else {
        return errors.required(&spec.path, "must specify a volume type");
    };
    pod_spec::validate_volume_source(
        kind,
        &pod_spec::volume_source(spec, kind),
        pod_spec::Holder::Persistent(name),
        errors,
    );
    if kind == "local" && !spec.at("nodeAffinity").present() {
        errors.required(&spec.path.child("nodeAffinity"), "Local volume requires node affinity");
    }
    errors.append(extra);
}

fn recycled(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("persistentVolumeReclaimPolicy");
    let path = spec.to("hostPath.path");
    if policy.text() == "Recycle" && !path.empty() && path.text().trim_end_matches('/').is_empty() {
        errors.forbidden(&policy.path, "may not be 'recycle' for a hostPath mount of '/'");
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

/// A volume or a claim whose status says nothing is pending.
pub(super) fn phase(object: &mut Value) {
    if text(object, "/status/phase").is_empty() && object.get("spec").is_some() {
        object["status"]["phase"] = "Pending".into();
    }
}
