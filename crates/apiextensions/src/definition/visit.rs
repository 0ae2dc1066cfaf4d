//! Every schema in a schema.

use serde_json::Value;

use crate::json::{entries, field, list};

/// Whether one of the schemas fits, the outermost first.
pub fn any(schema: &Value, test: &mut dyn FnMut(&Value) -> bool) -> bool {
    test(schema) || below(schema).into_iter().any(|child| any(child, test))
}

fn below(schema: &Value) -> Vec<&Value> {
    let mut all: Vec<&Value> = Vec::new();
    match field(schema, "items") {
        Some(Value::Array(items)) => all.extend(items),
        items => all.extend(items),
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        all.extend(list(schema, junctor));
    }
    all.extend(field(schema, "not"));
    for map in ["properties", "patternProperties", "definitions", "dependencies"] {
        all.extend(entries(schema, map).map(|(_, child)| child));
    }
    all.extend(["additionalProperties", "additionalItems"].iter().filter_map(|name| field(schema, name)));
    all.retain(|child| child.is_object());
    all
}
