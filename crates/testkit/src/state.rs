//! Objects, and everything that has happened to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::discovery::Served;
use crate::path::{Key, Selection};

#[derive(Default)]
pub(crate) struct State {
    pub objects: BTreeMap<Key, Value>,
    /// The n-th entry is the change of revision n + 1.
    pub changes: Vec<Change>,
    /// Resources besides the built-in ones.
    pub served: Vec<Served>,
}

/// One write.
pub(crate) struct Change {
    pub key: Key,
    before: Option<Value>,
    /// The state it has now; of a deleted object the last one, with the revision of the deletion.
    pub object: Value,
    deleted: bool,
}

impl Change {
    /// What somebody who watches the selection is told.
    pub fn event(&self, selection: &Selection) -> Option<Value> {
        let was = self.before.as_ref().is_some_and(|before| selection.selects(&self.key, before));
        let is = !self.deleted && selection.selects(&self.key, &self.object);
        let kind = match (was, is) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(json!({ "type": kind, "object": self.object }))
    }
}

impl State {
    pub fn revision(&self) -> u64 {
        self.changes.len() as u64
    }

    /// Stores the object, or removes it when there is none. A write that changes nothing is none.
    pub fn commit(&mut self, key: Key, object: Option<Value>) -> Option<Value> {
        let before = self.objects.remove(&key);
        let deleted = object.is_none();
        let mut object = object.or_else(|| before.clone())?;
        if let Some(known) = before.as_ref().filter(|_| !deleted) {
            object["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
            if object == *known {
                self.objects.insert(key, object.clone());
                return Some(object);
            }
        }
        object["metadata"]["resourceVersion"] = json!((self.revision() + 1).to_string());
        if !deleted {
            self.objects.insert(key.clone(), object.clone());
        }
        self.changes.push(Change { key, before, object: object.clone(), deleted });
        Some(object)
    }

    pub fn list(&self, selection: &Selection) -> Vec<&Value> {
        self.objects.iter().filter(|(key, object)| selection.selects(key, object)).map(|(_, object)| object).collect()
    }
}
