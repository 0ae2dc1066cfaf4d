//! The two kinds of mutation: a configuration that is merged by the schema, and a JSON patch.

use api::schema::{ListKind, SchemaNode};
use apimachinery::patch::json;
use apimachinery::structured_merge::{Duplicates, Place, merge, validate};
use serde_json::Value;

/// Lays a configuration over the object, as an apply would, but nobody owns what it sets.
pub fn apply_configuration(object: &Value, mut patch: Value, place: Place<'_>) -> Result<Value, String> {
    let Some(map) = patch.as_object_mut() else { return Err("invalid return type of ApplyConfiguration".into()) };
    for field in ["apiVersion", "kind"] {
        map.insert(field.into(), object[field].clone());
    }
    let failed = |why: String| format!("error applying patch: {why}");
    validate(&patch, place, Duplicates::Refused)
        .map_err(|problems| failed(format!("failed to convert patch object to typed object: {problems}")))?;
    let mut whole = Vec::new();
    atomics(&patch, place, &mut String::new(), &mut whole);
    if !whole.is_empty() {
        let paths = whole.join(", ");
        return Err(failed(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"
        )));
    }
    Ok(merge(object, &patch, place))
}

/// The paths of what is only owned as a whole: a policy that set it would wipe out what others set.
fn atomics(value: &Value, place: Place<'_>, path: &mut String, found: &mut Vec<String>) {
    let is_whole = place.is_some_and(|node| node.atomic() || (node.is_list() && node.list_kind() == ListKind::Atomic));
    match value {
        Value::Object(_) | Value::Array(_) if is_whole => found.push(path.clone()),
        Value::Object(map) => {
            for (name, child) in map {
                descend(path, &format!(".{name}"), |path| {
                    atomics(child, place.and_then(|node| node.child(name)), path, found);
                });
            }
        }
        Value::Array(items) => {
            let keys: &[&str] = place.as_ref().map_or(&[], SchemaNode::list_keys);
            for item in items {
                descend(path, &identity(item, keys), |path| {
                    atomics(item, place.and_then(|node| node.items()), path, found);
                });
            }
        }
        _ => {}
    }
}

fn descend(path: &mut String, step: &str, walk: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    walk(path);
    path.truncate(length);
}

/// `[name="a"]`, or the value of a set's member.
fn identity(item: &Value, keys: &[&str]) -> String {
    if keys.is_empty() {
        return format!("[={item}]");
    }
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    let pairs: Vec<String> = keys.iter().map(|key| format!("{key}={}", item[*key])).collect();
    format!("[{}]", pairs.join(","))
}

/// Applies the operations. One that tests something that is not so leaves the object as it is.
pub fn apply_operations(object: &Value, operations: &Value) -> Result<Value, String> {
    let mut patched = object.clone();
    for operation in operations.as_array().into_iter().flatten() {
        let one = Value::Array(vec![completed(operation)]).to_string();
        match json::apply(&patched, one.as_bytes()) {
            Ok(changed) => patched = changed,
            Err(_) if operation["op"] == "test" => return Ok(object.clone()),
            Err(error) => return Err(format!("JSON Patch: {error}")),
        }
    }
    Ok(patched)
}

/// A value that the expression leaves out is null.
fn completed(operation: &Value) -> Value {
    let mut operation = operation.clone();
    let takes_value = ["add", "replace", "test"].iter().any(|op| operation["op"] == **op);
    if let Some(map) = operation.as_object_mut().filter(|_| takes_value) {
        map.entry("value").or_insert(Value::Null);
    }
    operation
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(patch: Value) -> Result<Value, String> {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
            "spec": {"containers": [{"name": "a", "image": "i", "args": ["1"]}, {"name": "b", "image": "j"}]}});
        let schema = api::schema::kind("", "v1", "Pod").expect("pods are built in");
        apply_configuration(&object, patch, Some(schema.node()))
    }

    #[test]
    fn a_configuration_is_merged_by_the_keys_of_lists() {
        let patch = json!({"metadata": {"labels": {"l": "1"}}, "spec": {"containers": [{"name": "b", "image": "k"}]}});
        let merged = pod(patch).unwrap();
        assert_eq!(merged.pointer("/spec/containers/1/image"), Some(&json!("k")));
        assert_eq!(merged.pointer("/spec/containers/0/image"), Some(&json!("i")));
        assert_eq!(merged.pointer("/metadata/labels/l"), Some(&json!("1")));
    }

    #[test]
    fn what_is_owned_as_a_whole_cannot_be_set() {
        let refused = pod(json!({"spec": {"containers": [{"name": "a", "args": ["2"]}]}})).unwrap_err();
        let start = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ";
        assert_eq!(refused, format!("{start}.spec.containers[name=\"a\"].args"));
    }

    #[test]
    fn a_failed_test_leaves_the_object_alone() {
        let object = json!({"a": 1});
        let patch = json!([{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 9}]);
        assert_eq!(apply_operations(&object, &patch).unwrap(), object);
        assert!(apply_operations(&object, &json!([{"op": "remove", "path": "/zz"}])).is_err());
    }
}
