//! Filling in defaults.

use serde_json::Value;

use super::Structural;

/// Fills in what is absent, and what is null where null may not be. Defaults inside of defaults are filled in as well.
pub fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let absent = map.get(&**name).is_none_or(|value| value.is_null() && !property.nullable);
                if absent {
                    map.insert(name.to_string(), (**default).clone());
                }
            }
            for (name, child) in map.iter_mut() {
                if let Some(property) = schema.property(name) {
                    default(child, property);
                } else if let Some(schema) = schema.additional_schema() {
                    default_element(child, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| default_element(item, schema));
            }
        }
        _ => {}
    }
}

/// An element is never absent, only null.
fn default_element(value: &mut Value, schema: &Structural) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = (**default).clone();
    }
    default(value, schema);
}

/// Drops nulls where null may not be and where no default can take their place. Done before defaults are filled in.
pub fn drop_nulls_without_defaults(value: &mut Value, schema: Option<&Structural>) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                let schema = schema.and_then(|schema| schema.field(name));
                !(value.is_null() && schema.is_some_and(|schema| !schema.nullable && schema.default.is_none()))
            });
            for (name, child) in map.iter_mut() {
                drop_nulls_without_defaults(child, schema.and_then(|schema| schema.field(name)));
            }
        }
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            items.iter_mut().for_each(|item| drop_nulls_without_defaults(item, schema));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_nest_and_take_the_place_of_null() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "d"},
            "n": {"type": "string", "default": "d", "nullable": true},
            "gone": {"type": "string"},
            "o": {"type": "object", "default": {}, "properties": {"x": {"type": "boolean", "default": true}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"y": {"type": "string", "default": "q"}}}}}});
        let schema = Structural::compile(&schema).unwrap();
        let mut object = json!({"a": null, "n": null, "gone": null, "l": [{}, {"y": "z"}]});
        drop_nulls_without_defaults(&mut object, Some(&schema));
        default(&mut object, &schema);
        let expected = json!({"a": "d", "n": null, "o": {"x": true}, "l": [{"y": "q"}, {"y": "z"}]});
        assert_eq!(object, expected);
    }
}
