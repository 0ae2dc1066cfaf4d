//! Rules for `metadata`.

use serde_json::Value;

use super::{Messages, is_dns1123_label, is_label_value, is_qualified_name};
use crate::field::{ErrorList, FieldError, Path};
use crate::object;

const ANNOTATIONS_SIZE_MAX: usize = 256 * 1024;
const SUBRESOURCE_LEN_MAX: usize = 256;
const IMMUTABLE: &str = "field is immutable";

/// A rule for names. With `true`, the value is the prefix that a name is generated from.
pub type NameRule<'a> = &'a dyn Fn(&str, bool) -> Messages;

/// Lets a rule for names judge a prefix: what is generated after it makes a trailing dash right.
pub fn mask_trailing_dash(value: &str, prefix: bool) -> String {
    match value.strip_suffix('-') {
        Some(rest) if prefix && value.len() > 1 => format!("{rest}a"),
        _ => value.to_owned(),
    }
}

/// The rules for the metadata of a new object.
pub fn validate(object: &Value, namespaced: bool, name_rule: NameRule<'_>) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = ErrorList::new();
    let (name, prefix) = (object::name(object), object::generate_name(object));
    if !prefix.is_empty() {
        errors.invalid_all(&path.child("generateName"), prefix, name_rule(prefix, true));
    }
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        errors.invalid_all(&path.child("name"), name, name_rule(name, false));
    }
    errors.append(namespace(object, namespaced, &path.child("namespace")));
    let generation = object::generation(object);
    if generation < 0 {
        errors.invalid(&path.child("generation"), generation, "must be greater than or equal to 0");
    }
    errors.append(lists_and_maps(&object["metadata"], &path));
    errors
}

fn namespace(object: &Value, namespaced: bool, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    match (namespaced, object::namespace(object)) {
        (true, "") => errors.required(path, ""),
        (true, namespace) => errors.invalid_all(path, namespace, is_dns1123_label(namespace)),
        (false, "") => {}
        (false, _) => errors.forbidden(path, "not allowed on this type"),
    }
    errors
}

fn maps_and_owners(metadata: &Value, path: &Path) -> ErrorList {
    let mut errors = labels(&metadata["labels"], &path.child("labels"));
    errors.append(annotations(&metadata["annotations"], &path.child("annotations")));
    errors.append(owner_references(metadata, &path.child("ownerReferences")));
    errors
}

fn lists_and_maps(metadata: &Value, path: &Path) -> ErrorList {
    let mut errors = maps_and_owners(metadata, path);
    errors.append(finalizers(metadata, &path.child("finalizers")));
    errors.append(managed_fields(metadata, &path.child("managedFields")));
    errors
}

/// How often upstream judges the metadata of a change, all of its rules together.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Its lists and maps.
    pub lists: usize,
    /// What must not change; lists and maps are judged with it.
    pub changes: usize,
}

impl Judged {
    /// By what is common to all kinds alone.
    pub const ONCE: Judged = Judged { lists: 2, changes: 1 };
}

/// The rules for a change of metadata. Every complaint is told as often as upstream tells it.
pub fn validate_update(new: &Value, old: &Value, judged: Judged) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = ErrorList::new();
    (0..judged.changes).for_each(|_| errors.append(changes(new, old, &path)));
    (judged.changes..judged.lists).for_each(|_| errors.append(lists_and_maps(&new["metadata"], &path)));
    errors
}

fn changes(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if object::deletion_timestamp(old).is_some() {
        errors.append(no_new_finalizers(new, old, &path.child("finalizers")));
    }
    if object::resource_version(new).is_empty() {
        errors.invalid(&path.child("resourceVersion"), "", "must be specified for an update");
    }
    if object::generation(new) < object::generation(old) {
        errors.invalid(&path.child("generation"), object::generation(new), "must not be decremented");
    }
    let names = ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for name in names {
        errors.append(immutable(&new["metadata"][name], &old["metadata"][name], &path.child(name)));
    }
    errors.append(lists_and_maps(&new["metadata"], path));
    errors
}

/// `field is immutable` if the two differ; null and the empty string are absent.
pub fn immutable(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let absent = |value: &Value| value.is_null() || value == "";
    if new != old && !(absent(new) && absent(old)) {
        errors.invalid(path, new.clone(), IMMUTABLE);
    }
    errors
}

pub fn labels(labels: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.invalid_all(path, key, is_qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        errors.invalid_all(path, value, is_label_value(value));
    }
    errors
}

pub fn annotations(annotations: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        errors.invalid_all(path, key, is_qualified_name(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_SIZE_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_SIZE_MAX));
    }
    errors
}

/// Each complaint about a second controller carries the whole list: told of each of thousands, it would fill the memory.
const CONTROLLERS_TOLD_MAX: usize = 8;

fn owner_references(metadata: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let (mut controller, mut said): (Option<String>, usize) = (None, 0);
    let references = &metadata["ownerReferences"];
    for reference in references.as_array().into_iter().flatten() {
        errors.append(owner_reference(reference, path));
        if reference["controller"] != true {
            continue;
        }
        let text = |name: &str| reference[name].as_str().unwrap_or_default();
        let this = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            Some(_) if said == CONTROLLERS_TOLD_MAX => {}
            Some(first) => {
                said += 1;
                errors.invalid(path, references.clone(), format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                ));
            }
            None => controller = Some(this),
        }
    }
    errors
}

fn owner_reference(reference: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let text = |name: &str| reference[name].as_str().unwrap_or_default();
    let parts: Vec<&str> = text("apiVersion").split('/').collect();
    if parts.len() > 2 || parts.last().is_none_or(|version| version.is_empty()) {
        errors.invalid(&path.child("apiVersion"), text("apiVersion"), "version must not be empty");
    }
    for name in ["kind", "name", "uid"] {
        if text(name).is_empty() {
            errors.invalid(&path.child(name), "", "must not be empty");
        }
    }
    if text("apiVersion") == "v1" && text("kind") == "Event" {
        errors.invalid(path, reference.clone(), "/v1, Kind=Event is disallowed from being an owner");
    }
    errors
}

fn finalizers(metadata: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let names: Vec<&str> = metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (index, name) in names.iter().enumerate() {
        errors.append(finalizer(name, path, &path.index(index)));
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        errors.invalid(path, names.clone(), "finalizer orphan and foregroundDeletion cannot be both set");
    }
    errors
}

/// The rules for the name of a finalizer. A name that is not qualified is told of at `place`.
pub fn finalizer(name: &str, path: &Path, place: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.invalid_all(path, name, is_qualified_name(name));
    if !name.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&name) {
        errors.invalid(place, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
    errors
}

fn no_new_finalizers(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let extra: Vec<String> = object::finalizers(new)
        .filter(|name| !object::has_finalizer(old, name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !extra.is_empty() {
        errors.forbidden(
            path,
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                extra.join(", ")
            ),
        );
    }
    errors
}

fn managed_fields(metadata: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (index, entry) in metadata["managedFields"].as_array().into_iter().flatten().enumerate() {
        let path = path.index(index);
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        if !["Apply", "Update"].contains(&text("operation")) {
            errors.invalid(&path.child("operation"), text("operation"), "must be `Apply` or `Update`");
        }
        if !["", "FieldsV1"].contains(&text("fieldsType")) {
            errors.invalid(&path.child("fieldsType"), text("fieldsType"), "must be `FieldsV1`");
        }
        errors.append(super::options::field_manager(text("manager"), &path.child("manager")));
        if text("subresource").len() > SUBRESOURCE_LEN_MAX {
            errors.push(FieldError::too_long(&path.child("subresource"), SUBRESOURCE_LEN_MAX));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_new_object_needs_a_name_and_a_namespace() {
        let rule = |name: &str, prefix: bool| is_dns1123_label(&mask_trailing_dash(name, prefix));
        let good = json!({"metadata": {"name": "a", "namespace": "n", "generateName": "a-"}});
        assert!(validate(&good, true, &rule).is_empty());
        let fields: Vec<String> = validate(&json!({}), true, &rule).iter().map(|error| error.field.clone()).collect();
        assert_eq!(fields, ["metadata.name", "metadata.namespace"]);
    }

    #[test]
    fn an_update_keeps_identity() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "resourceVersion": "5"}});
        let new = json!({"metadata": {"name": "b", "uid": "1"}});
        let fields: Vec<String> =
            validate_update(&new, &old, Judged::ONCE).iter().map(|error| error.field.clone()).collect();
        assert_eq!(fields, ["metadata.resourceVersion", "metadata.name"]);
    }
}
