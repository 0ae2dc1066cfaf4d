//! The kind CustomResourceDefinition: its defaults and its rules.
//!
//! Start at [`validate`]. A definition is judged in the form that upstream keeps inside ([`form::Form`]): that is why
//! complaints about the only version point to `spec.validation` and not into `spec.versions`.

mod approval;
mod conversion;
mod default_values;
pub mod form;
mod names;
mod parts;
mod schema;
mod spec;
mod structurality;
#[cfg(test)]
mod tests;
mod visit;
mod warnings;

use apimachinery::field::{ErrorList, Path};
use serde_json::{Map, Value, json};

use crate::json::{field, flag, list, text};

pub use approval::{Approval, approval, is_protected_group};
pub use structurality::check_structural;
pub(crate) use visit::any as visit_any;
pub use warnings::warnings;

/// Fills in what the client left out.
pub fn default(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut set = |name: &str, value: String| {
            if names.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                names.insert(name.into(), value.into());
            }
        };
        set("singular", kind.to_lowercase());
        if !kind.is_empty() {
            set("listKind", format!("{kind}List"));
        }
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".into(), json!({"strategy": "None"}));
    }
    let service = spec.get_mut("conversion").and_then(|found| found.pointer_mut("/webhook/clientConfig/service"));
    if let Some(service) = service.and_then(Value::as_object_mut) {
        let port = service.entry("port").or_insert(Value::Null);
        if port.is_null() {
            *port = 443.into();
        }
    }
}

/// Gives a new definition the status of one.
pub fn prepare_for_create(definition: &mut Value) {
    definition["status"] =
        json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []});
    note_stored_version(definition);
}

/// Keeps the status, and notes the version that objects are stored in from now on.
pub fn prepare_for_update(new: &mut Value, old: &Value) {
    match (new.as_object_mut(), old.get("status")) {
        (Some(map), Some(status)) => drop(map.insert("status".into(), status.clone())),
        (Some(map), None) => drop(map.remove("status")),
        (None, _) => {}
    }
    note_stored_version(new);
}

fn note_stored_version(definition: &mut Value) {
    let stored = list(&definition["spec"], "versions").iter().find(|version| flag(version, "storage"));
    let Some(name) = stored.map(|version| version["name"].clone()) else { return };
    let Some(map) = definition.as_object_mut() else { return };
    let status = map.entry("status").or_insert_with(|| Value::Object(Map::new()));
    let Some(status) = status.as_object_mut() else { return };
    let versions = status.entry("storedVersions").or_insert_with(|| json!([]));
    if versions.is_null() {
        *versions = json!([]);
    }
    if let Some(versions) = versions.as_array_mut()
        && !versions.contains(&name)
    {
        versions.push(name);
    }
}

/// What the rules are tightened or loosened by: what was wrong before may stay so.
#[derive(Clone)]
pub(crate) struct Options<'a> {
    pub recognized_review_version: bool,
    pub immutable_names: bool,
    pub schema: bool,
    pub valid_types: bool,
    pub structural: bool,
    pub pruned_defaults: bool,
    pub atomic_sets: bool,
    pub list_keys: bool,
    pub any_ca_bundle: bool,
    pub old: Option<&'a Value>,
}

impl Options<'_> {
    fn for_new() -> Self {
        Self {
            recognized_review_version: true,
            immutable_names: false,
            schema: true,
            valid_types: true,
            structural: true,
            pruned_defaults: true,
            atomic_sets: true,
            list_keys: true,
            any_ca_bundle: true,
            old: None,
        }
    }
}

/// The rules for a new definition, without those for metadata.
pub fn validate(definition: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, name) = (&definition["spec"], text(&definition["metadata"], "name"));
    if name != format!("{}.{}", text(&spec["names"], "plural"), text(spec, "group")) && !name.is_empty() {
        errors.invalid(&Path::new("metadata.name"), name, "must be spec.names.plural+\".\"+spec.group");
    }
    errors.append(spec::validate(definition, &Options::for_new()));
    errors.append(status_rules(definition));
    errors.append(approval::validate(definition, None));
    errors.append(preserve_rules(definition, None));
    errors
}

/// The rules for a change.
pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let options = spec::options_for_update(old);
    let mut errors = spec::validate(new, &options);
    errors.append(spec::immutable(new, old, &options));
    errors.append(status_rules(new));
    errors.append(approval::validate(new, Some(old)));
    errors.append(preserve_rules(new, Some(old)));
    errors
}

/// The rules for a change of the status.
pub fn validate_status_update(new: &Value) -> ErrorList {
    names::validate(&new["status"]["acceptedNames"], &Path::new("status.acceptedNames"))
}

fn status_rules(definition: &Value) -> ErrorList {
    let mut errors = validate_status_update(definition);
    stored_versions(definition, &mut errors);
    errors
}

fn stored_versions(definition: &Value, errors: &mut ErrorList) {
    let path = Path::new("status.storedVersions");
    let stored = list(&definition["status"], "storedVersions");
    if stored.is_empty() {
        return errors.invalid(&path, Value::Null, "must have at least one stored version");
    }
    let versions = list(&definition["spec"], "versions");
    for version in versions.iter().filter(|version| flag(version, "storage") && !stored.contains(&version["name"])) {
        let detail = format!("must have the storage version {}", text(version, "name"));
        errors.invalid(&path, stored.to_vec(), detail);
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let name = name.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            errors.invalid(&path.index(index), name, detail);
        }
    }
}

fn preserve_rules(definition: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    if !old.is_some_and(form::preserves_unknown_fields) && form::preserves_unknown_fields(definition) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema \
                      instead";
        errors.invalid(&Path::new("spec.preserveUnknownFields"), true, detail);
    }
    errors
}

/// Whether a field is there and not what upstream takes for nothing.
pub(crate) fn is_set(schema: &Value, name: &str) -> bool {
    match field(schema, name) {
        None | Some(Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty() || name == "not" || name == "items" || name == "default",
        Some(_) => true,
    }
}
