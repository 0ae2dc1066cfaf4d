//! PersistentVolumes.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{object, set};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy, keep_status};

pub struct PersistentVolume;

/// Fields of the spec that are no volume source.
const PLAIN: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

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
        for term in spec.to("nodeAffinity.required.nodeSelectorTerms").items() {
            pod_spec::node_selector_term(&term, &mut errors);
        }
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let (spec, before) = (At::root(new).at("spec"), &old["spec"]);
        let sources = |spec: &Value| -> Value {
            let fields = spec.as_object().into_iter().flatten().filter(|(name, _)| !PLAIN.contains(&name.as_str()));
            Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        if sources(spec.value) != sources(before) {
            errors.forbidden(
                &spec.path.child("persistentvolumesource"),
                "spec.persistentvolumesource is immutable after creation",
            );
        }
        spec.at("volumeMode").immutable(&mut errors, &before["volumeMode"]);
        if !before["nodeAffinity"].is_null() {
            spec.at("nodeAffinity").immutable(&mut errors, &before["nodeAffinity"]);
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
    let storage = capacity.value.get("storage");
    if !capacity.empty() && (storage.is_none() || capacity.entries().len() > 1) {
        errors.not_supported(&capacity.path, capacity.value.clone(), &["storage"]);
    }
    if storage.is_some_and(|storage| Quantity::of(storage) <= Quantity::ZERO) {
        let value = storage.cloned().unwrap_or_default();
        errors.invalid(&capacity.path.key("storage"), value, "must be greater than zero");
    }
}

fn source(spec: &At<'_>, errors: &mut ErrorList) {
    let keys = spec.value.as_object().into_iter().flat_map(|map| map.keys());
    let given: Vec<&String> = keys.filter(|name| !PLAIN.contains(&name.as_str())).collect();
    if given.is_empty() {
        errors.required(&spec.path, "must specify a volume type");
    }
    for extra in given.iter().skip(1) {
        errors.forbidden(&spec.path.child(extra), "may not specify more than 1 volume type");
    }
    let host = spec.at("hostPath");
    if host.present() {
        pod_spec::host_path(&host, errors);
        let recycled = spec.at("persistentVolumeReclaimPolicy").text() == "Recycle";
        if recycled && host.at("path").text().trim_end_matches('/').is_empty() {
            let path = spec.path.child("persistentVolumeReclaimPolicy");
            errors.forbidden(&path, "may not be 'recycle' for a hostPath mount of '/'");
        }
    }
    let local = spec.at("local");
    if local.present() {
        local.at("path").required(errors, "");
        if !spec.at("nodeAffinity").present() {
            errors.required(&spec.path.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
}

/// A volume whose status says nothing is pending.
fn phase(volume: &mut Value) {
    if text(volume, "/status/phase").is_empty() && volume.get("spec").is_some() {
        volume["status"]["phase"] = "Pending".into();
    }
}
