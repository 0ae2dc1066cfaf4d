//! JSON Merge Patch (RFC 7386).

use serde_json::{Map, Value};

use super::PatchError;

pub fn apply(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let patch = super::parse(patch)?;
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".into()));
    }
    Ok(merged(object.clone(), &patch))
}

/// The value with the patch merged in.
pub fn merged(mut value: Value, patch: &Value) -> Value {
    let Some(changes) = patch.as_object() else { return patch.clone() };
    if !value.is_object() {
        value = Value::Object(Map::new());
    }
    let map = value.as_object_mut().expect("made an object above");
    for (key, change) in changes {
        if change.is_null() {
            map.remove(key);
        } else {
            let current = map.remove(key).unwrap_or(Value::Null);
            map.insert(key.clone(), merged(current, change));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_deletes_and_lists_are_replaced() {
        let object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        let patched = apply(&object, br#"{"a":{"b":null,"n":{"x":null}},"l":[3]}"#).unwrap();
        assert_eq!(patched, json!({"a": {"c": 2, "n": {}}, "l": [3]}));
    }
}
