//! Which item of the old list an item of the new one was.

use serde_json::Value;

use super::{List, Structural};

/// The items of the old list by their keys. Only lists of the type map have any.
pub struct MapList<'a> {
    old: &'a [Value],
    keys: &'a [&'static str],
}

impl<'a> MapList<'a> {
    pub fn new(schema: &'a Structural, old: Option<&'a Value>) -> Self {
        let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        match schema.list {
            List::Map => Self { old, keys: schema.list_keys() },
            _ => Self { old: &[], keys: &[] },
        }
    }

    /// Keys that are absent are as good as each other.
    pub fn get(&self, item: &Value) -> Option<&'a Value> {
        let same = |old: &&Value| old.is_object() && self.keys.iter().all(|key| old.get(*key) == item.get(*key));
        item.as_object().and_then(|_| self.old.iter().find(same))
    }
}
