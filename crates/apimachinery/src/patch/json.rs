//! JSON Patch (RFC 6902) as upstream's library reads it, which is more lenient than the RFC: keys that are missing are
//! null, indexes may be negative, what stands before the first slash of a path is not looked at.

use serde_json::{Map, Value};

use super::PatchError;
use crate::strict;

const OPERATIONS_MAX: usize = 10_000;
/// What all copies of a patch may add, as JSON. Copies of copies double: without a limit forty of them fill any memory.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Why an operation does not apply. Clients are told only that one does not.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("unexpected kind: {0}")]
    Kind(String),
    #[error("an operation without the path {0:?}")]
    NoPath(&'static str),
    #[error("doc is missing path: {0}")]
    Missing(String),
    #[error("no such index: {0}")]
    Index(String),
    #[error("testing value {0} failed")]
    Test(String),
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy is {0}, exceeding the limit {COPIED_BYTES_MAX}"
    )]
    TooMuchCopied(usize),
}

/// Applies the patch; the object is not changed on failure.
pub fn apply(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations = decode(patch)?;
    if operations.len() > OPERATIONS_MAX {
        let got = operations.len();
        let why = format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {got}");
        return Err(PatchError::TooLarge(why));
    }
    let mut document = Document { root: object.clone(), copied: 0 };
    for operation in operations {
        document.apply(&operation).map_err(|failure| PatchError::Unprocessable(failure.to_string()))?;
    }
    Ok(document.root)
}

/// What a strict reader finds in the operations: keys that are unknown or stand twice. Texts must be texts for it.
pub fn problems(patch: &[u8]) -> Result<Vec<String>, PatchError> {
    let operations = operations(patch, "[]handlers.jsonPatchOp", "handlers.jsonPatchOp")?;
    let mut found = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        for (key, value) in operation {
            match (key.as_str(), value) {
                ("op" | "path" | "from", Value::String(_) | Value::Null) | ("value", _) => {}
                ("op" | "path" | "from", other) => {
                    let place = format!("struct field jsonPatchOp.{key} of type string");
                    return Err(mistyped(other, &place));
                }
                _ => found.push(format!("json patch unknown field \"[{index}].{key}\"")),
            }
        }
    }
    found.extend(strict::duplicates(patch).into_iter().map(|problem| format!("json patch {problem}")));
    Ok(found)
}

fn decode(patch: &[u8]) -> Result<Vec<Map<String, Value>>, PatchError> {
    operations(patch, "jsonpatch.Patch", "jsonpatch.Operation")
}

fn operations(patch: &[u8], list: &str, one: &str) -> Result<Vec<Map<String, Value>>, PatchError> {
    let operations = match super::parse(patch)? {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => return Err(mistyped(&other, &format!("value of type {list}"))),
    };
    let operation = |operation| match operation {
        Value::Object(operation) => Ok(operation),
        Value::Null => Ok(Map::new()),
        other => Err(mistyped(&other, &format!("value of type {one}"))),
    };
    operations.into_iter().map(operation).collect()
}

fn mistyped(found: &Value, wanted: &str) -> PatchError {
    let found = strict::go_type_of(found);
    PatchError::Malformed(format!("error decoding patch: json: cannot unmarshal {found} into Go {wanted}"))
}

struct Document {
    root: Value,
    /// Bytes, as JSON.
    copied: usize,
}

impl Document {
    fn apply(&mut self, operation: &Map<String, Value>) -> Result<(), Failure> {
        let value = || operation.get("value").cloned().unwrap_or_default();
        match operation.get("op").and_then(Value::as_str).unwrap_or("unknown") {
            "add" => add(self.parent(text(operation, "path")?)?, value()),
            "remove" => remove(self.parent(text(operation, "path")?)?).map(drop),
            "replace" => self.replace(text(operation, "path")?, value()),
            "move" => self.moved(text(operation, "from")?, operation),
            "test" => self.test(text(operation, "path")?, &value()),
            "copy" => self.copy(text(operation, "from")?, operation),
            other => Err(Failure::Kind(other.to_owned())),
        }
    }

    /// The object or list that a path leads to, and the last part of the path.
    fn parent<'a>(&'a mut self, path: &str) -> Result<(&'a mut Value, String), Failure> {
        let missing = || Failure::Missing(path.to_owned());
        let mut parts: Vec<&str> = path.split('/').skip(1).collect();
        let last = parts.pop().ok_or_else(missing)?;
        let mut place = &mut self.root;
        for part in parts {
            place = child(place, &unescaped(part)).ok_or_else(missing)?;
        }
        if place.is_object() || place.is_array() { Ok((place, unescaped(last))) } else { Err(missing()) }
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), Failure> {
        if path.is_empty() {
            // Upstream's library leaves the document as it is for what is neither object nor list.
            if value.is_object() || value.is_array() {
                self.root = value;
            }
            return Ok(());
        }
        match self.parent(path)? {
            (Value::Object(object), key) => drop(object.insert(key, value)),
            (list, key) => *element(list, &key)? = value,
        }
        Ok(())
    }

    fn moved(&mut self, from: &str, operation: &Map<String, Value>) -> Result<(), Failure> {
        let value = remove(self.parent(from)?)?;
        add(self.parent(text(operation, "path")?)?, value)
    }

    fn copy(&mut self, from: &str, operation: &Map<String, Value>) -> Result<(), Failure> {
        let value = get(self.parent(from)?)?.clone();
        self.copied += value.to_string().len();
        if self.copied > COPIED_BYTES_MAX {
            return Err(Failure::TooMuchCopied(self.copied));
        }
        add(self.parent(text(operation, "path")?)?, value)
    }

    fn test(&mut self, path: &str, wanted: &Value) -> Result<(), Failure> {
        let found = if path.is_empty() { &self.root } else { get(self.parent(path)?)? };
        if found == wanted { Ok(()) } else { Err(Failure::Test(path.to_owned())) }
    }
}

fn text<'a>(operation: &'a Map<String, Value>, key: &'static str) -> Result<&'a str, Failure> {
    operation.get(key).and_then(Value::as_str).ok_or(Failure::NoPath(key))
}

fn unescaped(part: &str) -> String {
    if part.contains('~') { part.replace("~1", "/").replace("~0", "~") } else { part.to_owned() }
}

fn child<'a>(place: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match place {
        Value::Object(object) => object.get_mut(key),
        list => element(list, key).ok(),
    }
}

/// A list's element: a negative index counts from the end.
fn element<'a>(list: &'a mut Value, key: &str) -> Result<&'a mut Value, Failure> {
    let failure = || Failure::Index(key.to_owned());
    let list = list.as_array_mut().ok_or_else(failure)?;
    let index = index(key, list.len())?;
    list.get_mut(index).ok_or_else(failure)
}

fn index(key: &str, length: usize) -> Result<usize, Failure> {
    let failure = || Failure::Index(key.to_owned());
    let index: i64 = key.parse().map_err(|_| failure())?;
    match usize::try_from(index) {
        Ok(index) => Ok(index),
        Err(_) => {
            usize::try_from(index.unsigned_abs()).ok().and_then(|back| length.checked_sub(back)).ok_or_else(failure)
        }
    }
}

fn get((parent, key): (&mut Value, String)) -> Result<&Value, Failure> {
    match parent {
        Value::Object(object) => Ok(object.get(&key).unwrap_or(&Value::Null)),
        list => element(list, &key).map(|element| &*element),
    }
}

fn add((parent, key): (&mut Value, String), value: Value) -> Result<(), Failure> {
    let list = match parent {
        Value::Object(object) => {
            object.insert(key, value);
            return Ok(());
        }
        Value::Array(list) => list,
        _ => return Err(Failure::Missing(key)),
    };
    let place = if key == "-" { list.len() } else { index(&key, list.len() + 1)? };
    if place > list.len() {
        return Err(Failure::Index(key));
    }
    list.insert(place, value);
    Ok(())
}

fn remove((parent, key): (&mut Value, String)) -> Result<Value, Failure> {
    match parent {
        Value::Object(object) => object.remove(&key).ok_or(Failure::Missing(key)),
        list => {
            element(list, &key)?;
            let list = list.as_array_mut().ok_or_else(|| Failure::Index(key.clone()))?;
            let place = index(&key, list.len())?;
            Ok(list.remove(place))
        }
    }
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
        let refused = apply(&object, br#"{"op":"remove"}"#).unwrap_err().to_status();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (400, "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",)
        );
    }

    #[test]
    fn operations_are_read_as_leniently_as_upstream() {
        let object = json!({"list": [1, 2, 3], "a": {"b": null}});
        let patched = |operation: Value| {
            apply(&object, json!([operation]).to_string().as_bytes()).map_err(|e| e.to_status().code)
        };
        let list = |operation: Value| patched(operation).map(|patched| patched["list"].to_string());
        assert_eq!(list(json!({"op": "add", "path": "/list/-", "value": 4})), Ok("[1,2,3,4]".into()));
        assert_eq!(list(json!({"op": "add", "path": "/list/-1", "value": 4})), Ok("[1,2,3,4]".into()));
        assert_eq!(list(json!({"op": "add", "path": "/list/3", "value": 4})), Ok("[1,2,3,4]".into()));
        assert_eq!(list(json!({"op": "add", "path": "/list/4", "value": 4})), Err(422));
        assert_eq!(list(json!({"op": "remove", "path": "/list/-1"})), Ok("[1,2]".into()));
        assert_eq!(list(json!({"op": "remove", "path": "/list/-4"})), Err(422));
        assert_eq!(list(json!({"op": "remove", "path": "/list/-"})), Err(422));
        assert_eq!(list(json!({"op": "replace", "path": "/list/01", "value": 9})), Ok("[1,9,3]".into()));
        assert_eq!(list(json!({"op": "replace", "path": "x/list", "value": []})), Ok("[]".into()));
        assert_eq!(list(json!({"op": "copy", "from": "/none", "path": "/list"})), Ok("null".into()));
        assert_eq!(list(json!({"op": "move", "from": "/list/0", "path": "/list/-"})), Ok("[2,3,1]".into()));
        for refused in [
            json!({"op": "remove", "path": ""}),
            json!({"op": "add", "path": "", "value": {}}),
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "move", "from": "/none", "path": "/list"}),
            json!({"op": "add", "path": "/none/x", "value": 1}),
            json!({"op": "add", "path": "/list/0/x", "value": 1}),
            json!({"op": "merge", "path": "/list"}),
            json!({"op": "add", "value": 1}),
            json!({"op": "test", "path": "", "value": {}}),
            json!({}),
        ] {
            assert_eq!(patched(refused.clone()), Err(422), "{refused}");
        }
    }

    #[test]
    fn a_strict_reader_names_unknown_keys_and_keys_that_stand_twice() {
        let patch = br#"[{"op":"add","path":"/a","Op":"q"},{"op":"add","op":"add","path":"/c","from":null}]"#;
        let found = ["json patch unknown field \"[0].Op\"", "json patch duplicate field \"[1].op\""];
        assert_eq!(problems(patch).unwrap(), found);
        let refused = problems(br#"[{"op":"add","path":"/a","from":1}]"#).unwrap_err().to_string();
        let text =
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.from of type string";
        assert_eq!(refused, text);
    }

    #[test]
    fn a_whole_document_can_be_replaced_and_tested() {
        let object = json!({"data": {"a": "1"}});
        let patch =
            json!([{"op": "test", "path": "", "value": object}, {"op": "replace", "path": "", "value": {"b": 1}}]);
        assert_eq!(apply(&object, patch.to_string().as_bytes()).unwrap(), json!({"b": 1}));
        let nothing = br#"[{"op": "replace", "path": "", "value": 5}]"#;
        assert_eq!(apply(&object, nothing).unwrap(), object);
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
