//! JSON Patch (RFC 6902).

use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;

use super::PatchError;

const OPERATIONS_MAX: usize = 10_000;
/// What all copies of a patch may add, as JSON. Copies of copies double: without a limit forty of them fill any memory.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Applies the patch; the object is not changed on failure.
pub fn apply(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations: Vec<PatchOperation> = serde_json::from_slice(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    if operations.len() > OPERATIONS_MAX {
        let got = operations.len();
        let why = format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {got}");
        return Err(PatchError::TooLarge(why));
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in operations {
        copied += copied_bytes(&operation, &patched);
        if copied > COPIED_BYTES_MAX {
            return Err(PatchError::Unprocessable(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {COPIED_BYTES_MAX}"
            )));
        }
        let Some(operation) = as_upstream_reads(operation, &patched) else { continue };
        json_patch::patch(&mut patched, &[operation]).map_err(|error| PatchError::Unprocessable(error.to_string()))?;
    }
    Ok(patched)
}

fn copied_bytes(operation: &PatchOperation, object: &Value) -> usize {
    let PatchOperation::Copy(copy) = operation else { return 0 };
    object.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len())
}

/// Upstream's library lets `replace` add a missing key of an object, and takes such a key for null in a `test`, which has
/// nothing left to do then.
fn as_upstream_reads(operation: PatchOperation, object: &Value) -> Option<PatchOperation> {
    match operation {
        PatchOperation::Replace(replace) if is_missing_key(object, replace.path.as_str()) => {
            Some(PatchOperation::Add(AddOperation { path: replace.path, value: replace.value }))
        }
        PatchOperation::Test(test) if test.value.is_null() && is_missing_key(object, test.path.as_str()) => None,
        other => Some(other),
    }
}

fn is_missing_key(object: &Value, pointer: &str) -> bool {
    let Some((parent, _)) = pointer.rsplit_once('/') else { return false };
    object.pointer(pointer).is_none() && object.pointer(parent).is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applies_and_refuses_as_upstream() {
        let object = json!({"data": {"a": "1"}});
        let patch = br#"[{"op":"replace","path":"/data/b","value":"2"},{"op":"test","path":"/data/a","value":"1"}]"#;
        assert_eq!(apply(&object, patch).unwrap(), json!({"data": {"a": "1", "b": "2"}}));
        let missing = apply(&object, br#"[{"op":"remove","path":"/data/z"}]"#).unwrap_err();
        assert_eq!(missing.to_status().code, 422);
        assert_eq!(apply(&object, br#"{"op":"remove"}"#).unwrap_err().to_status().code, 400);
    }

    #[test]
    fn copies_of_copies_end_at_a_limit() {
        let copies = (0..40).map(|index| json!({"op": "copy", "from": "/data", "path": format!("/data/c{index}")}));
        let patch = Value::from_iter(copies).to_string();
        let refused = apply(&json!({"data": {"a": "1"}}), patch.as_bytes()).unwrap_err();
        assert_eq!(refused.to_status().code, 422);
        assert!(refused.to_string().starts_with("Unable to complete the copy"), "{refused}");
    }

    #[test]
    fn a_missing_key_of_an_object_tests_as_null() {
        let object = json!({"metadata": {"name": "a"}, "list": []});
        let add = br#"[{"op":"test","path":"/metadata/finalizers","value":null},{"op":"add","path":"/metadata/finalizers","value":["f"]}]"#;
        assert_eq!(apply(&object, add).unwrap()["metadata"]["finalizers"], json!(["f"]));
        for refused in ["/metadata/name", "/absent/key", "/list/0"] {
            let patch = json!([{"op": "test", "path": refused, "value": null}]).to_string();
            assert_eq!(apply(&object, patch.as_bytes()).unwrap_err().to_status().code, 422, "{refused}");
        }
    }
}
