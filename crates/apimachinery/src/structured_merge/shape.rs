//! What a value is at its place: a leaf, a map, or a list of one of three kinds.

use api::schema::{ListKind, SchemaNode};
use serde_json::Value;

use crate::managed_fields::PathElement;

/// A place in a schema; `None` where there is no schema and the value speaks for itself.
pub type Place<'a> = Option<SchemaNode<'a>>;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    Scalar,
    /// An object whose fields are owned one by one.
    Map,
    /// An object that is owned as a whole.
    AtomicMap,
    /// A list that is owned as a whole.
    AtomicList,
    /// A list of scalars, each its own identity.
    Set,
    /// A list of objects, identified by these fields.
    Keyed(&'a [&'a str]),
}

impl<'a> Shape<'a> {
    /// The shape that the schema declares, or that the value has where nothing is declared. A null that may be anything
    /// counts as a map.
    pub fn of(place: Place<'a>, value: &Value) -> Shape<'a> {
        match place.filter(|node| !deduced(*node)) {
            Some(node) => Self::declared(node),
            None => Self::deduced(value),
        }
    }

    fn declared(node: SchemaNode<'a>) -> Shape<'a> {
        if node.is_list() {
            return match node.list_kind() {
                ListKind::Atomic => Shape::AtomicList,
                ListKind::Set => Shape::Set,
                ListKind::Map => Shape::Keyed(node.list_keys()),
            };
        }
        match node.scalar() {
            Some(_) => Shape::Scalar,
            None if node.atomic() => Shape::AtomicMap,
            None => Shape::Map,
        }
    }

    fn deduced(value: &Value) -> Shape<'a> {
        match value {
            Value::Object(_) | Value::Null => Shape::Map,
            Value::Array(_) => Shape::AtomicList,
            _ => Shape::Scalar,
        }
    }

    pub fn is_list(self) -> bool {
        matches!(self, Shape::AtomicList | Shape::Set | Shape::Keyed(_))
    }

    /// Whether a value has nothing in it for this shape: absent, null, of another shape, or an empty collection.
    pub fn holds_nothing(self, value: Option<&Value>) -> bool {
        match value {
            Some(Value::Object(map)) => self.is_list() || map.is_empty(),
            Some(Value::Array(list)) => !self.is_list() || list.is_empty(),
            _ => true,
        }
    }

    pub fn is_atomic(self) -> bool {
        matches!(self, Shape::Scalar | Shape::AtomicMap | Shape::AtomicList)
    }
}

/// Whether nothing is declared here. A preserving object with declared fields is walked by them.
fn deduced(node: SchemaNode<'_>) -> bool {
    match node {
        SchemaNode::Static { .. } => node.is_any(),
        SchemaNode::Dynamic(_) => node.is_any() && !node.is_list() && !node.is_map() && !node.atomic(),
    }
}

/// The place of a field of an object, or of a value of a map.
pub fn field<'a>(place: Place<'a>, name: &str) -> Place<'a> {
    place?.child(name)
}

/// Whether the schema names the field. Keys of maps are not named.
pub fn names(place: Place<'_>, name: &str) -> bool {
    place.is_some_and(|node| !node.is_map() && node.child(name).is_some())
}

/// The place of the items of a list.
pub fn item(place: Place<'_>) -> Place<'_> {
    place?.items()
}

/// The identity of an item of a set or of a keyed list; `place` is the list's.
pub fn identity(shape: Shape<'_>, place: Place<'_>, value: &Value) -> Result<PathElement, String> {
    match shape {
        Shape::Keyed(keys) => keyed(keys, item(place), value),
        Shape::Set => member(value),
        _ => Err("invalid indexing of non-associative list".into()),
    }
}

fn keyed(keys: &[&str], item: Place<'_>, value: &Value) -> Result<PathElement, String> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let mut key = serde_json::Map::new();
    for name in keys {
        let default = || item.and_then(|item| item.key_default(name));
        match fields.get(*name).cloned().or_else(default) {
            Some(value) => key.insert((*name).into(), value),
            None => {
                return Err(format!(
                    "associative list with keys has an element that omits key field {name:?} (and doesn't have default value)"
                ));
            }
        };
    }
    Ok(PathElement::key(key))
}

fn member(value: &Value) -> Result<PathElement, String> {
    match value {
        Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
        Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
        Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
        value => Ok(PathElement::value_of(value)),
    }
}

#[cfg(test)]
mod tests {
    use api::schema::{DynamicSchema, Type};
    use serde_json::json;

    use super::*;
    use crate::structured_merge::{compare, merge, to_field_set};

    /// `spec` with the keyed list `ports`, the set `tags` and anything else.
    enum Loaded {
        Root,
        Spec,
        Ports,
        Tags,
        Port,
        Scalar(Option<&'static str>),
    }

    fn node(schema: &'static Loaded) -> Place<'static> {
        Some(SchemaNode::Dynamic(schema))
    }

    impl DynamicSchema for Loaded {
        fn child(&self, name: &str) -> Option<SchemaNode<'_>> {
            match (self, name) {
                (Self::Root, "spec") => node(&Self::Spec),
                (Self::Spec, "ports") => node(&Self::Ports),
                (Self::Spec, "tags") => node(&Self::Tags),
                (Self::Port, "protocol") => node(&Self::Scalar(Some("TCP"))),
                (Self::Port, "port") => node(&Self::Scalar(None)),
                _ => None,
            }
        }

        fn items(&self) -> Option<SchemaNode<'_>> {
            match self {
                Self::Ports => node(&Self::Port),
                Self::Tags => node(&Self::Scalar(None)),
                _ => None,
            }
        }

        fn scalar(&self) -> Option<Type> {
            matches!(self, Self::Scalar(_)).then_some(Type::IntOrString)
        }

        fn is_map(&self) -> bool {
            false
        }

        fn is_list(&self) -> bool {
            matches!(self, Self::Ports | Self::Tags)
        }

        fn atomic(&self) -> bool {
            false
        }

        fn list_kind(&self) -> ListKind {
            if matches!(self, Self::Ports) { ListKind::Map } else { ListKind::Set }
        }

        fn list_keys(&self) -> &[&str] {
            &["port", "protocol"]
        }

        fn preserves_unknown_fields(&self) -> bool {
            matches!(self, Self::Spec)
        }

        fn default(&self) -> Option<Value> {
            match self {
                Self::Scalar(default) => default.map(Value::from),
                _ => None,
            }
        }
    }

    #[test]
    fn a_loaded_schema_merges_as_a_static_one_and_undeclared_fields_speak_for_themselves() {
        let place = node(&Loaded::Root);
        let lower = json!({"spec": {"ports": [{"port": 1}], "tags": ["a"], "free": {"x": [1], "y": 1}}});
        let upper = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "tags": ["b"], "free": {"x": [2]}}});
        let merged = merge(&lower, &upper, place);
        assert_eq!(
            merged,
            json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "tags": ["a", "b"], "free": {"x": [2], "y": 1}}})
        );
        expect_test::expect![[r#"
            .spec.free
            .spec.free.x
            .spec.ports[port=1,protocol="TCP"]
            .spec.ports[port=1,protocol="TCP"].port
            .spec.ports[port=1,protocol="TCP"].protocol
            .spec.tags[="b"]"#]]
        .assert_eq(&to_field_set(&upper, place).to_string());
        assert_eq!(compare(&lower, &merged, place).modified.to_string(), ".spec.free.x");
    }
}
