//! What a value was before, as far as the schema tells one part from another.

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

/// A value with the one that it was, and the schema that tells which part is which.
#[derive(Clone, Copy)]
pub struct Correlated<'a> {
    new: &'a Value,
    old: &'a Value,
    schema: &'a Structural,
}

impl<'a> Correlated<'a> {
    pub fn new(new: &'a Value, old: &'a Value, schema: &'a Structural) -> Self {
        Self { new, old, schema }
    }

    /// The field, if both have it and the schema knows it.
    pub fn field(&self, name: &str) -> Option<Self> {
        Some(Self { new: self.new.get(name)?, old: self.old.get(name)?, schema: self.schema.field(name)? })
    }

    /// The item that had the same keys.
    pub fn item(&self, index: usize) -> Option<Self> {
        let new = self.new.get(index)?;
        let old = MapList::new(self.schema, Some(self.old)).get(new)?;
        Some(Self { new, old, schema: self.schema.items.as_deref()? })
    }

    /// Whether all is as it was. Items of maps may have changed places; fields that the schema does not know are taken for
    /// changed.
    pub fn is_unchanged(&self) -> bool {
        match (self.new, self.old) {
            (Value::Array(new), Value::Array(old)) if new.len() != old.len() => false,
            (Value::Array(new), Value::Array(_)) if self.schema.list == List::Map => {
                (0..new.len()).all(|index| self.item(index).is_some_and(|item| item.is_unchanged()))
            }
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len()
                    && new.keys().all(|name| self.field(name).is_some_and(|field| field.is_unchanged()))
            }
            (new, old) => new == old,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_unchanged(new: Value, old: Value) -> bool {
        let item = json!({"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}});
        let schema = json!({"type": "object", "properties": {
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item},
            "list": {"type": "array", "items": item},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let schema = Structural::compile(&schema).unwrap();
        Correlated::new(&new, &old, &schema).is_unchanged()
    }

    #[test]
    fn items_of_maps_may_change_places() {
        let (a, b) = (json!({"k": "a", "v": 1}), json!({"k": "b", "v": 2}));
        assert!(is_unchanged(json!({"map": [a, b]}), json!({"map": [b, a]})));
        assert!(!is_unchanged(json!({"map": [a]}), json!({"map": [{"k": "a", "v": 2}]})));
        assert!(!is_unchanged(json!({"list": [a, b]}), json!({"list": [b, a]})));
        assert!(is_unchanged(json!({"list": [a, b]}), json!({"list": [a, b]})));
    }

    #[test]
    fn fields_without_a_schema_count_as_changed() {
        assert!(!is_unchanged(json!({"open": {"x": 1}}), json!({"open": {"x": 1}})));
        assert!(is_unchanged(json!({"open": {}}), json!({"open": {}})));
        assert!(!is_unchanged(json!({"list": []}), json!({})));
    }
}
