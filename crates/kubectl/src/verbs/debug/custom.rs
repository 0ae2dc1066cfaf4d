//! A container's specification of the user's own, laid over the profile's.

use serde_json::{Map, Value};

use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::objects::decode_documents;

/// Lists of a container whose members are known by a field.
const KEYED: &[(&str, &str)] =
    &[("env", "name"), ("ports", "containerPort"), ("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")];

pub fn read(path: &str) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("must pass a container spec json file for custom profile: open {path}: {}", os_text(&error))
    })?;
    let documents =
        decode_documents(&text).map_err(|why| format!("{path} does not contain a valid container spec: {why}"))?;
    let Some(custom) = documents.into_iter().next().filter(Value::is_object) else {
        return fail!("{path} does not contain a valid container spec: it is no object");
    };
    let is_set = |field: &&str| match &custom[*field] {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    if ["name", "command", "image", "lifecycle", "volumeDevices"].iter().any(is_set) {
        return fail!("name, command, image, lifecycle and volume devices are not modifiable via custom profile");
    }
    Ok(custom)
}

/// Lays the patch over a container: maps merge, known lists merge by their key, the rest is replaced.
pub fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => merge_map(target, patch),
        (target, patch) => *target = patch.clone(),
    }
}

fn merge_map(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (field, value) in patch {
        let key = KEYED.iter().find(|(list, _)| list == field).map(|(_, key)| *key);
        match (target.get_mut(field), value, key) {
            (_, Value::Null, _) => drop(target.remove(field)),
            (Some(Value::Array(items)), Value::Array(more), Some(key)) => merge_list(items, more, key),
            (Some(known), value, _) => merge(known, value),
            (None, value, _) => drop(target.insert(field.clone(), value.clone())),
        }
    }
}

fn merge_list(items: &mut Vec<Value>, more: &[Value], key: &str) {
    for member in more {
        match items.iter_mut().find(|known| known[key] == member[key]) {
            Some(known) => merge(known, member),
            None => items.push(member.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_is_merged() {
        let mut container = json!({
            "name": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}, "args": ["a", "b"],
        });
        let patch = json!({
            "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}], "args": ["c"],
            "securityContext": {"runAsUser": 0, "capabilities": {"add": ["X"]}},
        });
        merge(&mut container, &patch);
        assert_eq!(
            container,
            json!({
                "name": "x", "args": ["c"], "securityContext": {"runAsUser": 0, "capabilities": {"add": ["X"]}},
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
            })
        );
    }
}
