//! The fields that a value has.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::{self, Place, Shape};
use crate::managed_fields::{FieldSet, PathElement};

/// All that a value holds, as whoever applies it owns it: leaves, items, keys of maps, and fields that hold nothing.
pub fn to_field_set(value: &Value, place: Place<'_>) -> FieldSet {
    below(value, place, Shape::of(place, value)).1
}

/// Whether the value is a member itself, and what lies below it.
fn below(value: &Value, place: Place<'_>, shape: Shape<'_>) -> (bool, FieldSet) {
    match (shape, value) {
        (Shape::Map, Value::Object(fields)) => (false, fields_of(fields, place)),
        (Shape::Set | Shape::Keyed(_), Value::Array(items)) => (false, items_of(items, place, shape)),
        (Shape::Map | Shape::Set | Shape::Keyed(_), _) => (false, FieldSet::new()),
        _ => (true, FieldSet::new()),
    }
}

fn fields_of(fields: &serde_json::Map<String, Value>, place: Place<'_>) -> FieldSet {
    let mut set = FieldSet::new();
    for (name, value) in fields {
        let child = shape::field(place, name);
        let (leaf, inner) = below(value, child, Shape::of(child, value));
        let holds_nothing = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        let member = leaf || holds_nothing || !shape::names(place, name);
        set.put(PathElement::Field(name.clone()), member, inner);
    }
    set
}

/// Of items with the same identity nothing but the identity is owned.
fn items_of(items: &[Value], place: Place<'_>, shape: Shape<'_>) -> FieldSet {
    let mut found: BTreeMap<PathElement, Option<&Value>> = BTreeMap::new();
    for item in items {
        let Ok(element) = shape::identity(shape, place, item) else { continue };
        found.entry(element).and_modify(|known| *known = None).or_insert(Some(item));
    }
    let mut set = FieldSet::new();
    let child = shape::item(place);
    for (element, item) in found {
        let inner = item.map(|item| below(item, child, Shape::of(child, item)).1).unwrap_or_default();
        set.put(element, true, inner);
    }
    set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: &str, value: &Value, expected: &expect_test::Expect) {
        let place = Some(api::schema::kind("", "v1", kind).unwrap().node());
        expected.assert_eq(&to_field_set(value, place).to_string());
    }

    #[test]
    fn items_keys_and_empty_objects_are_members_and_structs_are_not() {
        check(
            "Pod",
            &json!({
                "metadata": {"labels": {"a": "b"}, "finalizers": ["x", "y", "y"]},
                "spec": {
                    "nodeSelector": {"a": "b"},
                    "securityContext": {},
                    "containers": [{"name": "c", "args": ["1"], "ports": [{"containerPort": 80}]}],
                },
            }),
            &expect_test::expect![[r#"
                .metadata.finalizers[="x"]
                .metadata.finalizers[="y"]
                .metadata.labels.a
                .spec.nodeSelector
                .spec.securityContext
                .spec.containers[name="c"]
                .spec.containers[name="c"].args
                .spec.containers[name="c"].name
                .spec.containers[name="c"].ports[containerPort=80,protocol="TCP"]
                .spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort"#]],
        );
    }

    #[test]
    fn without_a_schema_every_field_is_a_member_and_lists_are_leaves() {
        let value = json!({"spec": {"list": [{"a": 1}], "map": {"x": null}}});
        expect_test::expect![[r"
            .spec
            .spec.list
            .spec.map
            .spec.map.x"]]
        .assert_eq(&to_field_set(&value, None).to_string());
    }
}
