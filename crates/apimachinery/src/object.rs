//! Access to what every object has. Readers answer with the empty value for what is absent or of another type.

use serde_json::{Map, Value, json};

use crate::gvk::{Gvk, split_api_version};

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn api_version(object: &Value) -> &str {
    text(object, "/apiVersion")
}

pub fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub fn generate_name(object: &Value) -> &str {
    text(object, "/metadata/generateName")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub fn resource_version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "/metadata/creationTimestamp")
}

pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str)
}

pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64)
}

pub fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
}

pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/labels").and_then(Value::as_object)
}

pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/annotations").and_then(Value::as_object)
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "/metadata/finalizers").iter().filter_map(Value::as_str)
}

pub fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).any(|finalizer| finalizer == name)
}

/// A reference to an owner, borrowed from the object that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerReference<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

impl OwnerReference<'_> {
    pub fn group(&self) -> &str {
        split_api_version(self.api_version).0
    }
}

fn owner_reference(value: &Value) -> OwnerReference<'_> {
    let flag = |name| value.get(name).and_then(Value::as_bool).unwrap_or_default();
    OwnerReference {
        api_version: text(value, "/apiVersion"),
        kind: text(value, "/kind"),
        name: text(value, "/name"),
        uid: text(value, "/uid"),
        controller: flag("controller"),
        block_owner_deletion: flag("blockOwnerDeletion"),
    }
}

pub fn owner_references(object: &Value) -> impl Iterator<Item = OwnerReference<'_>> {
    list(object, "/metadata/ownerReferences").iter().map(owner_reference)
}

/// The owner that manages the object.
pub fn controller_of(object: &Value) -> Option<OwnerReference<'_>> {
    owner_references(object).find(|owner| owner.controller)
}

/// The value for `metadata.ownerReferences` that makes `owner` the controller.
pub fn controller_reference(owner: &Value, gvk: &Gvk) -> Value {
    json!({
        "apiVersion": gvk.api_version(), "kind": gvk.kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// `metadata`, made an object if it is not.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "metadata")
}

/// The field as an object, made one if it is not. `value` itself too.
pub fn child_mut<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let map = value.as_object_mut().expect("made an object above");
    let child = map.entry(name).or_insert(Value::Null);
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    child.as_object_mut().expect("made an object above")
}

fn set_text(object: &mut Value, key: &str, value: &str) {
    if value.is_empty() {
        metadata_mut(object).remove(key);
    } else {
        metadata_mut(object).insert(key.into(), value.into());
    }
}

/// Drops owner references that stand there twice, the same in every field, and says whose they are.
pub fn drop_repeated_owners(object: &mut Value) -> Vec<String> {
    let references = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    let Some(references) = references else { return Vec::new() };
    let (mut kept, mut repeated): (Vec<Value>, _) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for reference in std::mem::take(references) {
        let uid = reference["uid"].as_str().unwrap_or_default().to_owned();
        // Most owners are there once: only those seen before are compared.
        if seen.insert(uid.clone()) || !kept.contains(&reference) {
            kept.push(reference);
        } else {
            repeated.push(uid);
        }
    }
    *references = kept;
    repeated
}

pub fn set_name(object: &mut Value, value: &str) {
    set_text(object, "name", value);
}

pub fn set_namespace(object: &mut Value, value: &str) {
    set_text(object, "namespace", value);
}

pub fn set_uid(object: &mut Value, value: &str) {
    set_text(object, "uid", value);
}

pub fn set_resource_version(object: &mut Value, value: &str) {
    set_text(object, "resourceVersion", value);
}

pub fn set_creation_timestamp(object: &mut Value, value: &str) {
    set_text(object, "creationTimestamp", value);
}

pub fn set_deletion_timestamp(object: &mut Value, value: Option<&str>) {
    set_text(object, "deletionTimestamp", value.unwrap_or_default());
}

pub fn set_deletion_grace_period_seconds(object: &mut Value, value: Option<i64>) {
    match value {
        Some(seconds) => metadata_mut(object).insert("deletionGracePeriodSeconds".into(), seconds.into()),
        None => metadata_mut(object).remove("deletionGracePeriodSeconds"),
    };
}

/// 0 removes it.
pub fn set_generation(object: &mut Value, value: i64) {
    if value == 0 {
        metadata_mut(object).remove("generation");
    } else {
        metadata_mut(object).insert("generation".into(), value.into());
    }
}

pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set_entry(object, "labels", key, value);
}

pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_entry(object, "annotations", key, value);
}

fn set_entry(object: &mut Value, map: &str, key: &str, value: &str) {
    let metadata = metadata_mut(object).entry(map).or_insert_with(|| json!({}));
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata[key] = value.into();
}

/// An empty list removes the field.
pub fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    if finalizers.is_empty() {
        metadata_mut(object).remove("finalizers");
    } else {
        metadata_mut(object).insert("finalizers".into(), finalizers.into());
    }
}

/// The controller's reference is appended, or replaces the one with the same uid.
pub fn set_owner_reference(object: &mut Value, reference: Value) {
    let owners = metadata_mut(object).entry("ownerReferences").or_insert_with(|| json!([]));
    let Some(list) = owners.as_array_mut() else {
        *owners = json!([reference]);
        return;
    };
    match list.iter_mut().find(|known| known["uid"] == reference["uid"]) {
        Some(known) => *known = reference,
        None => list.push(reference),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_that_are_the_same_in_every_field_are_kept_once() {
        let owner = |uid: &str, name: &str| json!({"uid": uid, "name": name});
        let mut object = json!({"metadata": {"ownerReferences": [owner("1", "a"), owner("2", "b"), owner("1", "a"), owner("1", "c")]}});
        assert_eq!(drop_repeated_owners(&mut object), ["1"]);
        assert_eq!(object["metadata"]["ownerReferences"], json!([owner("1", "a"), owner("2", "b"), owner("1", "c")]));
        assert!(drop_repeated_owners(&mut json!({})).is_empty());
    }
}
