//! An object on its way into the store: its JSON text with a gap for the revision.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{Header, Object, Revision};

/// An object that has no revision yet. Serialised once, by the writer's client; the commit fills the gap.
#[derive(Clone, Debug)]
pub struct Draft {
    header: Arc<Header>,
    text: Vec<u8>,
    version_at: usize,
}

impl Draft {
    /// `value` is a JSON object; a `metadata.resourceVersion` in it is ignored.
    pub fn new(value: &Value, header: Header) -> Self {
        let mut text = Vec::with_capacity(1024);
        let empty = Map::new();
        let version_at = write_object(&mut text, value.as_object().unwrap_or(&empty));
        Self { header: Arc::new(header), text, version_at }
    }

    pub(crate) fn commit(&self, revision: Revision) -> Object {
        let mut json = Vec::with_capacity(self.text.len() + 20);
        json.extend_from_slice(&self.text[..self.version_at]);
        write!(json, "{revision}").expect("writing to memory does not fail");
        json.extend_from_slice(&self.text[self.version_at..]);
        Object::new(revision, self.header.clone(), Bytes::from(json), self.version_at)
    }
}

/// Writes the object, and returns where the revision's digits belong.
fn write_object(text: &mut Vec<u8>, object: &Map<String, Value>) -> usize {
    let empty = Map::new();
    let mut version_at = 0;
    let mut fields = Fields::open(text);
    let (before, after): (Vec<_>, Vec<_>) =
        object.iter().filter(|(key, _)| *key != "metadata").partition(|(key, _)| key.as_str() < "metadata");
    for (key, value) in before {
        fields.value(key, value);
    }
    fields.nested("metadata", |text| {
        let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
        version_at = write_metadata(text, metadata);
    });
    for (key, value) in after {
        fields.value(key, value);
    }
    fields.close();
    version_at
}

fn write_metadata(text: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    const VERSION: &str = "resourceVersion";
    let mut version_at = 0;
    let mut fields = Fields::open(text);
    let (before, after): (Vec<_>, Vec<_>) =
        metadata.iter().filter(|(key, _)| *key != VERSION).partition(|(key, _)| key.as_str() < VERSION);
    for (key, value) in before {
        fields.value(key, value);
    }
    fields.nested(VERSION, |text| {
        text.push(b'"');
        version_at = text.len();
        text.push(b'"');
    });
    for (key, value) in after {
        fields.value(key, value);
    }
    fields.close();
    version_at
}

/// Writes the fields of one JSON object.
struct Fields<'a> {
    text: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Fields<'a> {
    fn open(text: &'a mut Vec<u8>) -> Self {
        text.push(b'{');
        Self { text, first: true }
    }

    fn nested(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if !std::mem::take(&mut self.first) {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut *self.text, key).expect("a string is JSON");
        self.text.push(b':');
        write(self.text);
    }

    fn value(&mut self, key: &str, value: &Value) {
        self.nested(key, |text| serde_json::to_writer(text, value).expect("a value is JSON"));
    }

    fn close(self) {
        self.text.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, want: &str) {
        let object = Draft::new(&value, Header::default()).commit(Revision(42));
        assert_eq!(String::from_utf8_lossy(&object.json()), want);
        let later = object.at_revision(Revision(1234));
        assert_eq!(String::from_utf8_lossy(&later.json()), want.replace("\"42\"", "\"1234\""));
    }

    #[test]
    fn the_revision_lands_in_the_metadata_only() {
        check(
            json!({"apiVersion": "v1", "metadata": {"name": "a", "uid": "u"}, "data": {"resourceVersion": "mine"}}),
            r#"{"apiVersion":"v1","data":{"resourceVersion":"mine"},"metadata":{"name":"a","resourceVersion":"42","uid":"u"}}"#,
        );
    }

    #[test]
    fn an_old_version_is_replaced_and_missing_metadata_made() {
        check(json!({"metadata": {"resourceVersion": "7"}}), r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(json!({"z": 1}), r#"{"metadata":{"resourceVersion":"42"},"z":1}"#);
    }
}
