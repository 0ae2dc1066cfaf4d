//! PersistentVolumeClaims.

use apimachinery::Quantity;
use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::{is_dns1123_subdomain, label_selector};
use serde_json::{Value, json};

use super::persistent_volume::{access_modes, keep_attributes_class, modes_cell};
use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{object, set};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy, keep_status};

pub struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn prepare_for_create(&self, claim: &mut Value, _context: &Context<'_>) {
        claim["status"] = json!({"phase": "Pending"});
        tie_data_sources(claim);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
        tie_data_sources(new);
    }

    fn default(&self, claim: &mut Value) {
        default_claim(claim);
    }

    fn validate(&self, claim: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        validate_claim_spec(&At::root(claim).at("spec"), &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        let spec = At::root(new).at("spec");
        let mut comparable = spec.value.clone();
        let (now, before) = (storage(spec.value), storage(&old["spec"]));
        if text(new, "/status/phase") == "Bound" || now == before {
            let requests = comparable.pointer_mut("/resources/requests");
            let amount = old.pointer("/spec/resources/requests/storage");
            if let (Some(requests), Some(amount)) = (requests, amount) {
                requests["storage"] = amount.clone();
            }
        }
        if old["spec"]["volumeName"].as_str().unwrap_or_default().is_empty() {
            copy(&mut comparable, &old["spec"], "volumeName");
        }
        if old["spec"].get("storageClassName").is_none() {
            copy(&mut comparable, &old["spec"], "storageClassName");
        }
        copy(&mut comparable, &old["spec"], "volumeAttributesClassName");
        if comparable != old["spec"] {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.forbidden(&spec.path, detail);
        }
        if now < before && now <= storage(&old["status"]["capacity"]) {
            let path = spec.path.child("resources").child("requests").child("storage");
            errors.forbidden(&path, "field can not be less than status.capacity");
        }
        let mode = At { value: spec.at("volumeMode").value, path: Path::new("volumeMode") };
        mode.immutable(&mut errors, &old["spec"]["volumeMode"]);
        keep_attributes_class(&spec, &old["spec"], &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        for (_, amount) in At::root(new).to("status.capacity").entries() {
            let quantity = Quantity::of(amount.value);
            if quantity.is_negative() {
                errors.invalid(&amount.path, quantity.value(), "must be a valid resource quantity");
            }
        }
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Status"),
                Column::text("Volume"),
                Column::text("Capacity"),
                Column::text("Access Modes"),
                Column::text("StorageClass"),
                Column::text("VolumeAttributesClass"),
                Column::AGE,
                Column::wide("VolumeMode"),
            ]
        }
    }

    fn row(&self, claim: &Value, now: i64) -> Vec<Value> {
        let deleted = claim.pointer("/metadata/deletionTimestamp").is_some();
        let phase = if deleted { "Terminating" } else { text(claim, "/status/phase") };
        let volume = text(claim, "/spec/volumeName");
        let (capacity, modes) = match volume {
            "" => ("", String::new()),
            _ => (text(claim, "/status/capacity/storage"), modes_cell(list(claim, "/status/accessModes"))),
        };
        vec![
            name(claim),
            phase.into(),
            volume.into(),
            capacity.into(),
            modes.into(),
            text(claim, "/spec/storageClassName").into(),
            or(text(claim, "/spec/volumeAttributesClassName"), "<unset>").into(),
            table::age(claim, now),
            or(text(claim, "/spec/volumeMode"), "<unset>").into(),
        ]
    }

    fn fields(&self, claim: &Value) -> Vec<(&'static str, String)> {
        vec![("name", text(claim, "/metadata/name").to_owned())]
    }
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => crate::defaults::remove(to, field),
    }
}

fn storage(spec: &Value) -> Quantity {
    Quantity::of(spec.pointer("/resources/requests/storage").or_else(|| spec.get("storage")).unwrap_or(&Value::Null))
}

/// Of claims and of the templates that stateful sets hold.
pub fn default_claim(claim: &mut Value) {
    let Some(spec) = object(claim, "spec") else { return };
    set(spec, "volumeMode", "Filesystem");
}

/// The old field and the new one say the same.
fn tie_data_sources(claim: &mut Value) {
    let Some(spec) = object(claim, "spec") else { return };
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None) => spec["dataSourceRef"] = source,
        (None, Some(source)) if text(&source, "/namespace").is_empty() => spec["dataSource"] = source,
        _ => {}
    }
}

pub fn validate_claim_spec(spec: &At<'_>, errors: &mut ErrorList) {
    access_modes(&spec.at("accessModes"), errors);
    errors.append(label_selector(spec.at("selector").value, &spec.path.child("selector")));
    let requested = spec.to("resources.requests");
    let path = spec.path.child("resources").key("storage");
    match requested.value.get("storage") {
        None => errors.required(&path, ""),
        Some(storage) if Quantity::of(storage) <= Quantity::ZERO => {
            errors.invalid(&path, storage.clone(), "must be greater than zero");
        }
        Some(_) => {}
    }
    pod_spec::class_name(&spec.at("storageClassName"), errors);
    spec.at("volumeMode").one_of(errors, &["Block", "Filesystem"]);
    let class = spec.at("volumeAttributesClassName");
    pod_spec::class_name(&class, errors);
    let (source, reference) = (spec.at("dataSource"), spec.at("dataSourceRef"));
    for source in [&source, &reference].into_iter().filter(|source| source.present()) {
        data_source(source, errors);
    }
    if source.present() && reference.present() {
        let same = ["apiGroup", "kind", "name"].iter().all(|name| source.value[*name] == reference.value[*name]);
        if !same {
            spec.invalid(errors, "must match dataSource");
        }
    }
}

fn data_source(source: &At<'_>, errors: &mut ErrorList) {
    source.at("name").required(errors, "");
    source.at("kind").required(errors, "");
    let group = source.at("apiGroup");
    if group.empty() && source.at("kind").text() != "PersistentVolumeClaim" {
        let kind = source.at("kind").text();
        errors.invalid(&source.path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    } else if !group.empty() {
        group.follows(errors, is_dns1123_subdomain);
    }
}
