//! Which paths differ between two objects of a kind.

use std::collections::BTreeMap;

use api::schema::{ListKind, SchemaNode};
use serde_json::Value;

use super::field_set::{FieldSet, PathElement};

/// The paths that a change touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

/// Compares two objects. Atomic values are one path; items of keyed lists are compared by key.
pub fn compare(old: &Value, new: &Value, schema: SchemaNode<'_>) -> Comparison {
    let mut walk = Walk { comparison: Comparison::default(), path: Vec::new() };
    walk.below(Some(old), Some(new), Some(schema));
    walk.comparison
}

struct Walk {
    comparison: Comparison,
    path: Vec<PathElement>,
}

fn empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// A node without a schema holds anything: it is walked by its shape, and its lists are atomic.
type Schema<'a> = Option<SchemaNode<'a>>;

impl Walk {
    fn visit(&mut self, element: PathElement, old: Option<&Value>, new: Option<&Value>, schema: Schema<'_>) {
        self.path.push(element);
        if self.is_leaf(old, new, schema) {
            self.leaf(old, new);
        } else {
            self.presence(old, new);
            self.below(old, new, schema);
        }
        self.path.pop();
    }

    fn is_leaf(&self, old: Option<&Value>, new: Option<&Value>, schema: Schema<'_>) -> bool {
        if empty(old) && empty(new) {
            return true;
        }
        let shape = new.filter(|value| !value.is_null()).or(old).unwrap_or(&Value::Null);
        match shape {
            Value::Object(_) => schema.is_some_and(|node| node.atomic() || node.is_list()),
            Value::Array(_) => schema.is_none_or(|node| node.list_kind() == ListKind::Atomic),
            _ => true,
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        if self.presence(old, new) && old != new {
            self.comparison.modified.insert(&self.path);
        }
    }

    /// Notes what only one side has. `true` if both have it.
    fn presence(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (None, Some(_)) => self.comparison.added.insert(&self.path),
            (Some(_), None) => self.comparison.removed.insert(&self.path),
            _ => return true,
        }
        false
    }

    fn below(&mut self, old: Option<&Value>, new: Option<&Value>, schema: Schema<'_>) {
        let lists = [old, new].iter().any(|side| side.is_some_and(Value::is_array));
        if lists { self.items(old, new, schema) } else { self.fields(old, new, schema) }
    }

    fn fields(&mut self, old: Option<&Value>, new: Option<&Value>, schema: Schema<'_>) {
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let names = old.into_iter().flat_map(|map| map.keys()).chain(new.into_iter().flat_map(|map| map.keys()));
        let names: std::collections::BTreeSet<&String> = names.collect();
        for name in names {
            let schema = schema.filter(|node| !node.is_any()).and_then(|node| node.child(name));
            let (old, new) = (old.and_then(|map| map.get(name)), new.and_then(|map| map.get(name)));
            self.visit(PathElement::Field(name.clone()), old, new, schema);
        }
    }

    fn items(&mut self, old: Option<&Value>, new: Option<&Value>, schema: Schema<'_>) {
        let Some(node) = schema else { return };
        let (old, new) = (by_identity(old, node), by_identity(new, node));
        let elements: std::collections::BTreeSet<&PathElement> = old.keys().chain(new.keys()).collect();
        for element in elements {
            let (old, new) = (old.get(element).copied(), new.get(element).copied());
            self.visit(element.clone(), old, new, node.items());
        }
    }
}

/// Of items with the same identity the first counts.
fn by_identity<'a>(list: Option<&'a Value>, node: SchemaNode<'_>) -> BTreeMap<PathElement, &'a Value> {
    let mut found = BTreeMap::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        let element = match node.list_kind() {
            ListKind::Map => PathElement::key_of(item, node.list_keys()),
            ListKind::Set | ListKind::Atomic => PathElement::value_of(item),
        };
        found.entry(element).or_insert(item);
    }
    found
}
