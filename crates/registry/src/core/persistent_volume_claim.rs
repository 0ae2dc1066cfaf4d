//! PersistentVolumeClaims.

use apimachinery::Quantity;
use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name, label_selector};
use serde_json::{Value, json};

use super::persistent_volume::{access_modes, class_cell, modes_cell, phase};
use crate::at::At;
use crate::cells::{list, name, or, text};
use crate::defaults::{object, set_pointer};
use crate::pod_spec;
use crate::strategy::{Column, Context, Strategy, keep_status};

pub struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn prepare_for_create(&self, claim: &mut Value, _context: &Context<'_>) {
        claim["status"] = json!({"phase": "Pending"});
        if let Some(spec) = object(claim, "spec") {
            drop_old_style_source(spec);
        }
        tie_data_sources(claim);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
        let had = ["dataSource", "dataSourceRef"].iter().any(|name| !old["spec"][*name].is_null());
        if let Some(spec) = object(new, "spec").filter(|_| !had) {
            drop_old_style_source(spec);
        }
    }

    fn default(&self, claim: &mut Value) {
        phase(claim);
        default_claim(claim);
    }

    fn validate(&self, claim: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        validate_claim_spec(&At::root(claim).at("spec"), &mut errors);
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        super::volume_warnings::claim(&At::root(new))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let ratchet = |at: &Value| ["dataSource", "dataSourceRef"].iter().any(|name| !at[*name]["apiGroup"].is_null());
        let spec = At::root(new).at("spec");
        claim_spec(&spec, !ratchet(&old["spec"]), &mut errors);
        keep_class_annotation(new, old, &mut errors);
        if comparable(new, old) != with_name(new, old) {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.forbidden(&spec.path, detail);
        }
        let (now, before) = (storage(spec.value), storage(&old["spec"]));
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
        let status = At::root(new).at("status");
        status.at("capacity").entries().iter().for_each(|(_, amount)| basic(amount, &mut errors));
        let statuses = status.at("allocatedResourceStatuses");
        let path = status.path.child("allocatedResourceStatus");
        for (name, state) in statuses.entries() {
            resource_key(name, &path, &mut errors);
            if !RESIZE_STATES.contains(&state.text()) {
                errors.not_supported(&path, name, &RESIZE_STATES);
            }
        }
        for (name, amount) in status.at("allocatedResources").entries() {
            if resource_key(name, &status.path.child("allocatedResources"), &mut errors) {
                basic(&amount, &mut errors);
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
            _ => (or(text(claim, "/status/capacity/storage"), "0"), modes_cell(list(claim, "/status/accessModes"))),
        };
        vec![
            name(claim),
            phase.into(),
            volume.into(),
            capacity.into(),
            modes.into(),
            class_cell(claim).into(),
            or(text(claim, "/spec/volumeAttributesClassName"), "<unset>").into(),
            table::age(claim, now),
            or(text(claim, "/spec/volumeMode"), "<unset>").into(),
        ]
    }

    fn fields(&self, claim: &Value) -> Vec<(&'static str, String)> {
        vec![("name", text(claim, "/metadata/name").to_owned())]
    }
}

const RESIZE_STATES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizePending",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
];

fn basic(amount: &At<'_>, errors: &mut ErrorList) {
    let quantity = Quantity::of(amount.value);
    if quantity.is_negative() {
        errors.invalid(&amount.path, quantity.value(), "must be a valid resource quantity");
    }
}

/// Of what is native, a claim holds only storage.
fn resource_key(name: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let wrong = is_qualified_name(name);
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    let unknown = wrong.is_empty() && native && name != "storage";
    if unknown {
        errors.not_supported(path, name, &["storage"]);
    }
    let fits = wrong.is_empty() && !unknown;
    errors.invalid_all(path, name, wrong);
    fits
}

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

fn class_annotation(claim: &Value) -> Option<&str> {
    claim.get("metadata")?.get("annotations")?.get(CLASS_ANNOTATION)?.as_str()
}

/// The class may move from the annotation to the field.
fn class_moves(new: &Value, old: &Value) -> bool {
    let (before, after) = (class_annotation(old), class_annotation(new));
    before.is_some()
        && old["spec"]["storageClassName"].is_null()
        && new["spec"]["storageClassName"].as_str() == before
        && (after.is_none() || after == before)
}

fn keep_class_annotation(new: &Value, old: &Value, errors: &mut ErrorList) {
    let (before, after) = (class_annotation(old).unwrap_or_default(), class_annotation(new).unwrap_or_default());
    if !class_moves(new, old) && before != after {
        let path = Path::new("metadata.annotations").child(CLASS_ANNOTATION);
        errors.invalid(&path, after, "field is immutable");
    }
}

/// The new spec without what may change.
fn comparable(new: &Value, old: &Value) -> Value {
    let (mut spec, before) = (new["spec"].clone(), &old["spec"]);
    let class = new["spec"]["storageClassName"].as_str();
    let fills_in = class.is_some()
        && before["storageClassName"].is_null()
        && class_annotation(old).is_none_or(|annotation| Some(annotation) == class);
    if class_moves(new, old) || fills_in {
        copy(&mut spec, before, "storageClassName");
    }
    if text(new, "/status/phase") == "Bound" {
        let amount = before.pointer("/resources/requests/storage");
        if let (Some(requests), Some(amount)) = (spec.pointer_mut("/resources/requests"), amount) {
            requests["storage"] = amount.clone();
        }
        if !spec["volumeAttributesClassName"].is_null() {
            copy(&mut spec, before, "volumeAttributesClassName");
        }
    } else if storage(&new["spec"]) == storage(before)
        && let (Some(requests), Some(amount)) =
            (spec.pointer_mut("/resources/requests"), before.pointer("/resources/requests/storage"))
    {
        // The same amount, perhaps written differently.
        requests["storage"] = amount.clone();
    }
    spec
}

/// The old spec; a volume may be bound once.
fn with_name(new: &Value, old: &Value) -> Value {
    let mut spec = old["spec"].clone();
    if text(old, "/spec/volumeName").is_empty() {
        copy(&mut spec, &new["spec"], "volumeName");
    }
    spec
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => crate::defaults::remove(to, field),
    }
}

/// Once there is a class there is one.
fn keep_attributes_class(spec: &At<'_>, before: &Value, errors: &mut ErrorList) {
    let class = spec.at("volumeAttributesClassName");
    if before["volumeAttributesClassName"].is_null() || class.value == &before["volumeAttributesClassName"] {
        return;
    }
    if !class.present() {
        errors.forbidden(&class.path, "update from non-nil value to nil is forbidden");
    } else if class.empty() {
        errors.forbidden(&class.path, "update from non-nil value to an empty string is forbidden");
    }
}

fn storage(spec: &Value) -> Quantity {
    Quantity::of(spec.pointer("/resources/requests/storage").or_else(|| spec.get("storage")).unwrap_or(&Value::Null))
}

/// Of claims and of the templates that stateful sets hold.
pub fn default_claim(claim: &mut Value) {
    let Some(spec) = object(claim, "spec") else { return };
    set_pointer(spec, "volumeMode", "Filesystem");
}

/// What the old field could never name is ignored there; and sources in other namespaces are not enabled.
fn drop_old_style_source(spec: &mut Value) {
    if !text(&spec["dataSourceRef"], "/namespace").is_empty() {
        crate::defaults::remove(spec, "dataSourceRef");
    }
    let source = &spec["dataSource"];
    let known = matches!(
        (text(source, "/kind"), text(source, "/apiGroup")),
        ("PersistentVolumeClaim", "") | ("VolumeSnapshot", "snapshot.storage.k8s.io")
    );
    if !known && spec["dataSourceRef"].is_null() {
        crate::defaults::remove(spec, "dataSource");
    }
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
    claim_spec(spec, true, errors);
}

/// `judges_groups`: the groups of data sources are judged.
fn claim_spec(spec: &At<'_>, judges_groups: bool, errors: &mut ErrorList) {
    spec.at("accessModes").required(errors, "at least 1 access mode is required");
    errors.append(label_selector(spec.at("selector").value, &spec.path.child("selector")));
    access_modes(&spec.at("accessModes"), errors);
    let path = spec.path.child("resources").key("storage");
    match spec.to("resources.requests").value.get("storage") {
        None => errors.required(&path, ""),
        Some(storage) if Quantity::of(storage) <= Quantity::ZERO => {
            errors.invalid(&path, storage.clone(), "must be greater than zero");
        }
        Some(_) => {}
    }
    pod_spec::class_name(&spec.at("storageClassName"), errors);
    spec.at("volumeMode").one_of(errors, &["Block", "Filesystem"]);
    let (source, reference) = (spec.at("dataSource"), spec.at("dataSourceRef"));
    for source in [&source, &reference].into_iter().filter(|source| source.present()) {
        data_source(source, judges_groups, errors);
    }
    if source.present() && reference.present() {
        same_source(spec, &source, &reference, errors);
    }
    pod_spec::class_name(&spec.at("volumeAttributesClassName"), errors);
}

fn same_source(spec: &At<'_>, source: &At<'_>, reference: &At<'_>, errors: &mut ErrorList) {
    let same = ["apiGroup", "kind", "name"].iter().all(|name| source.value[*name] == reference.value[*name]);
    let shown = source.path.as_str();
    if !reference.at("namespace").empty() {
        errors.invalid(&spec.path, shown, "may not be specified when dataSourceRef.namespace is specified");
    } else if !same {
        errors.invalid(&spec.path, shown, "must match dataSourceRef");
    }
}

fn data_source(source: &At<'_>, judges_groups: bool, errors: &mut ErrorList) {
    source.at("name").required(errors, "");
    source.at("kind").required(errors, "");
    let (group, namespace) = (source.at("apiGroup"), source.at("namespace"));
    if group.empty() && source.at("kind").text() != "PersistentVolumeClaim" {
        let kind = source.at("kind").text();
        errors.invalid(&source.path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    } else if !group.empty() && judges_groups {
        group.follows(errors, is_dns1123_subdomain);
    }
    if !namespace.empty() {
        namespace.follows(errors, is_dns1123_label);
    }
}
