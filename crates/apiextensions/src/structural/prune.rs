//! Dropping what the schema does not know.

use serde_json::{Map, Value};

use super::{Additional, Structural, is_meta};

/// Drops unknown fields of a whole object and answers with their paths, in order. `embedded` says that the object has a
/// kind and metadata whatever the schema says.
pub fn prune(object: &mut Value, schema: &Structural, embedded: bool) -> Vec<String> {
    let mut walk = Walk { path: String::new(), unknown: Vec::new() };
    match object {
        Value::Object(map) => walk.fields(map, Some(schema), schema.preserves_unknown, embedded),
        other => walk.value(other, Some(schema)),
    }
    walk.unknown.sort();
    walk.unknown
}

struct Walk {
    path: String,
    unknown: Vec<String>,
}

impl Walk {
    fn value(&mut self, value: &mut Value, schema: Option<&Structural>) {
        self.kept(value, schema, schema.is_some_and(|schema| schema.preserves_unknown));
    }

    /// With `keep`, what the schema does not know stays, and only what it knows is looked into.
    fn kept(&mut self, value: &mut Value, schema: Option<&Structural>, keep: bool) {
        match value {
            Value::Object(map) => self.fields(map, schema, keep, false),
            Value::Array(items) => self.items(items, schema, keep),
            _ => {}
        }
    }

    fn items(&mut self, items: &mut [Value], schema: Option<&Structural>, keep: bool) {
        let item_schema = schema.and_then(|schema| schema.items.as_deref());
        if keep && item_schema.is_none() {
            return;
        }
        for (index, item) in items.iter_mut().enumerate() {
            self.at(&format!("[{index}]"), |walk| match keep {
                true => walk.kept(item, item_schema, true),
                false => walk.value(item, item_schema),
            });
        }
    }

    fn fields(&mut self, map: &mut Map<String, Value>, schema: Option<&Structural>, keep: bool, embedded: bool) {
        let mut unknown = Vec::new();
        let embedded = embedded || schema.is_some_and(|schema| schema.embedded);
        for (name, value) in map.iter_mut().filter(|(name, _)| !(embedded && is_meta(name))) {
            match known(schema, name) {
                Some(child) => self.at(&self.dotted(name), |walk| walk.value(value, child)),
                None if keep => {}
                None => unknown.push(name.clone()),
            }
        }
        for name in unknown {
            map.remove(&name);
            if !is_meta(&name) || !self.path.is_empty() {
                self.unknown.push(format!("{}{}", self.path, self.dotted(&name)));
            }
        }
    }

    fn dotted(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!(".{name}") }
    }

    fn at(&mut self, part: &str, walk: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(part);
        walk(self);
        self.path.truncate(length);
    }
}

/// The schema of a field that may stay: some fields may stay without having one.
fn known<'a>(schema: Option<&'a Structural>, name: &str) -> Option<Option<&'a Structural>> {
    let schema = schema?;
    match (schema.property(name), &schema.additional) {
        (Some(property), _) => Some(Some(property)),
        (None, Additional::Unsaid) => None,
        (None, Additional::Bool(_)) => Some(None),
        (None, Additional::Schema(child)) => Some(Some(child)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(schema: Value, mut object: Value) -> (Value, Vec<String>) {
        let schema = Structural::compile(&schema).unwrap();
        let unknown = prune(&mut object, &schema, true);
        (object, unknown)
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"list": {"type": "array", "items": {"type": "object"}}}}}});
        let object = json!({"kind": "W", "metadata": {"x": 1}, "foo": 1, "spec": {"a": 1, "list": [{"b": 1}]}});
        let (object, unknown) = pruned(schema, object);
        assert_eq!(object, json!({"kind": "W", "metadata": {"x": 1}, "spec": {"list": [{}]}}));
        assert_eq!(unknown, ["foo", "spec.a", "spec.list[0].b"]);
    }

    #[test]
    fn what_may_be_anything_stays_but_known_fields_below_it_are_judged() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object"}}}}});
        let (object, unknown) = pruned(schema, json!({"spec": {"a": {"b": 1}, "known": {"c": 1}}}));
        assert_eq!(object, json!({"spec": {"a": {"b": 1}, "known": {}}}));
        assert_eq!(unknown, ["spec.known.c"]);
    }

    #[test]
    fn maps_keep_their_keys() {
        let schema = json!({"type": "object", "properties": {
            "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}}}});
        let (object, unknown) = pruned(schema, json!({"m": {"k": {"x": "1", "y": 2}}}));
        assert_eq!(object, json!({"m": {"k": {"x": "1"}}}));
        assert_eq!(unknown, ["m.k.y"]);
    }
}
