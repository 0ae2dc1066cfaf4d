//! Takes fields out of a value, or keeps only them.

use serde_json::{Map, Value};

use super::shape::{self, Place, Shape};
use crate::managed_fields::{FieldSet, PathElement};

/// The value without these fields. What loses all it had is gone too; atomic values and empty ones become null, as
/// they lie on the way to what is removed.
pub fn remove_items(value: &Value, fields: &FieldSet, place: Place<'_>) -> Value {
    Cut { keep: false }.value(value, fields, place).unwrap_or_else(|| Value::Object(Map::new()))
}

/// The value with nothing but these fields.
pub fn extract_items(value: &Value, fields: &FieldSet, place: Place<'_>) -> Value {
    Cut { keep: true }.value(value, fields, place).unwrap_or_else(|| Value::Object(Map::new()))
}

struct Cut {
    /// Whether the named fields stay and the others go.
    keep: bool,
}

impl Cut {
    fn value(&self, value: &Value, fields: &FieldSet, place: Place<'_>) -> Option<Value> {
        match (Shape::of(place, value), value) {
            (Shape::Scalar, _) => Some(value.clone()),
            (Shape::Map, Value::Object(map)) => self.fields(map, fields, place),
            (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => self.items(list, fields, place, shape),
            (Shape::AtomicMap | Shape::AtomicList, _) if self.keep => Some(value.clone()),
            _ => None,
        }
    }

    fn fields(&self, map: &Map<String, Value>, fields: &FieldSet, place: Place<'_>) -> Option<Value> {
        let mut out = Map::new();
        for (name, value) in map {
            let element = PathElement::Field(name.clone());
            if let Some(kept) = self.child(&element, value, fields, shape::field(place, name)) {
                out.insert(name.clone(), kept);
            }
        }
        (!out.is_empty()).then_some(Value::Object(out))
    }

    fn items(&self, list: &[Value], fields: &FieldSet, place: Place<'_>, shape: Shape<'_>) -> Option<Value> {
        let mut out = Vec::with_capacity(list.len());
        for item in list {
            let kept = match shape::identity(shape, place, item) {
                Ok(element) => self.child(&element, item, fields, shape::item(place)),
                Err(_) => Some(item.clone()),
            };
            out.extend(kept);
        }
        (!out.is_empty()).then_some(Value::Array(out))
    }

    fn child(&self, element: &PathElement, value: &Value, fields: &FieldSet, place: Place<'_>) -> Option<Value> {
        let below = fields.child(element);
        match (fields.has(element), self.keep) {
            (true, false) => None,
            (true, true) if below.is_none() => Some(value.clone()),
            (false, true) if below.is_none() => None,
            (false, false) if below.is_none() => Some(value.clone()),
            // What loses all of its content stands there as null, unless decoding drops it.
            _ => Some(self.value(value, below?, place).unwrap_or(Value::Null)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::structured_merge::to_field_set;

    fn pod() -> Place<'static> {
        Some(api::schema::kind("", "v1", "Pod").unwrap().node())
    }

    #[test]
    fn takes_items_and_fields_out_and_leaves_the_rest() {
        let value = json!({"metadata": {"labels": {"a": "1", "b": "2"}},
            "spec": {"containers": [{"name": "x", "image": "i"}, {"name": "y"}]}});
        let gone = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "y"}]}});
        let fields = to_field_set(&gone, pod());
        assert_eq!(
            remove_items(&value, &fields, pod()),
            json!({"metadata": {"labels": {"b": "2"}}, "spec": {"containers": [{"name": "x", "image": "i"}]}})
        );
        assert_eq!(extract_items(&value, &fields, pod()), gone);
    }
}
