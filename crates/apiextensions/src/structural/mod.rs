//! Structural schemas: what an `openAPIV3Schema` becomes so that every request can be judged by it.
//!
//! A [`Structural`] is compiled once for a version of a definition. It keeps neither descriptions nor examples (they stay
//! in the stored definition, where OpenAPI finds them), shares the names of its fields, and has no parts for what a place
//! does not say. Start at [`Structural::compile`]; what is done with a schema has one module a verb.

mod compile;
mod correlate;
mod defaulting;
mod intern;
mod lists;
mod metadata;
mod prune;
mod schema;
pub use schema::Root;

use std::sync::Arc;

use serde_json::Value;

pub use compile::Unsupported;
pub use correlate::{Correlated, MapList};
pub use defaulting::{default, drop_nulls_without_defaults};
pub use lists::check_lists;
pub use metadata::{Malformed, check_metadata, coerce};
pub use prune::prune;

/// One place of a schema.
#[derive(Debug, Default, PartialEq)]
pub struct Structural {
    pub ty: Type,
    pub list: List,
    pub nullable: bool,
    pub int_or_string: bool,
    pub preserves_unknown: bool,
    pub embedded: bool,
    /// Merged, compared and replaced as a whole.
    pub atomic_map: bool,
    /// In alphabetical order.
    pub properties: Box<[(Arc<str>, Structural)]>,
    pub items: Option<Box<Structural>>,
    pub additional: Additional,
    pub default: Option<Box<Value>>,
    /// In the order in which they are judged.
    pub constraints: Box<[Constraint]>,
    pub extra: Option<Box<Extra>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    #[default]
    Unsaid,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum List {
    #[default]
    Atomic,
    Set,
    Map,
}

#[derive(Debug, Default, PartialEq)]
pub enum Additional {
    #[default]
    Unsaid,
    Bool(bool),
    Schema(Box<Structural>),
}

/// What few places have.
#[derive(Debug, Default, PartialEq)]
pub struct Extra {
    /// Kept for the life of the process: few and short.
    pub list_keys: Box<[&'static str]>,
    pub rules: Box<[Rule]>,
}

/// An entry of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub rule: Box<str>,
    pub message: Box<str>,
    pub message_expression: Box<str>,
    pub reason: Box<str>,
    pub field_path: Box<str>,
    pub optional_old_self: bool,
}

/// What is asked of a value beside its type.
#[derive(Debug, PartialEq)]
pub enum Constraint {
    AnyOf(Box<[Structural]>),
    OneOf(Box<[Structural]>),
    AllOf(Box<[Structural]>),
    Not(Box<Structural>),
    MaxLength(i64),
    MinLength(i64),
    Pattern(Arc<str>),
    Format(Box<str>),
    MultipleOf(f64),
    Minimum { limit: f64, exclusive: bool },
    Maximum { limit: f64, exclusive: bool },
    MinItems(i64),
    MaxItems(i64),
    UniqueItems,
    Enum(Box<[Value]>),
    MinProperties(i64),
    MaxProperties(i64),
    Required(Box<[Arc<str>]>),
}

impl Structural {
    pub fn property(&self, name: &str) -> Option<&Structural> {
        let found = self.properties.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.properties[found].1)
    }

    /// The schema of all fields that are not properties.
    pub fn additional_schema(&self) -> Option<&Structural> {
        match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// The schema of a field, by whichever way it has one.
    pub fn field(&self, name: &str) -> Option<&Structural> {
        self.property(name).or_else(|| self.additional_schema())
    }

    pub fn list_keys(&self) -> &[&'static str] {
        self.extra.as_ref().map(|extra| &*extra.list_keys).unwrap_or_default()
    }

    pub fn rules(&self) -> &[Rule] {
        self.extra.as_ref().map(|extra| &*extra.rules).unwrap_or_default()
    }

    pub fn all_of(&self) -> &[Structural] {
        let found = self.constraints.iter().find_map(|constraint| match constraint {
            Constraint::AllOf(all) => Some(&**all),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// The schemas right below, without those of junctors.
    pub fn children(&self) -> impl Iterator<Item = &Structural> {
        let named = self.properties.iter().map(|(_, child)| child);
        named.chain(self.items.as_deref()).chain(self.additional_schema())
    }
}

impl Type {
    pub fn of(name: &str) -> Self {
        match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => Self::Unsaid,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// The fields of an object that say what it is.
pub(crate) fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

#[cfg(test)]
mod tests {
    use api::schema::{DynamicSchema, ListKind};
    use serde_json::json;

    use super::*;

    /// The bytes that a schema takes, without what the allocator adds.
    fn bytes_below(schema: &Structural) -> usize {
        let properties = std::mem::size_of_val(&*schema.properties);
        let constraints = std::mem::size_of_val(&*schema.constraints);
        let boxed = schema.items.iter().count() + usize::from(schema.additional_schema().is_some());
        let own = properties + constraints + boxed * size_of::<Structural>();
        own + schema.children().map(bytes_below).sum::<usize>()
    }

    #[test]
    fn a_thousand_fields_take_less_than_two_hundred_kilobytes() {
        let field = json!({"type": "string", "description": "x".repeat(200), "maxLength": 63});
        let group: serde_json::Map<String, Value> = (0..40).map(|i| (format!("field{i}"), field.clone())).collect();
        let group = json!({"type": "object", "description": "y".repeat(200), "properties": group});
        let groups: serde_json::Map<String, Value> = (0..25).map(|i| (format!("group{i}"), group.clone())).collect();
        let schema = Structural::compile(&json!({"type": "object", "properties": groups})).unwrap();
        let bytes = bytes_below(&schema);
        assert!(bytes < 200_000, "{bytes}");
    }

    #[test]
    fn merges_see_lists_maps_and_metadata() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}});
        let root = Root(Structural::compile(&schema).unwrap());
        let spec = root.child("spec").unwrap();
        let list = spec.child("m").unwrap();
        assert_eq!((list.list_kind(), list.list_keys()), (ListKind::Map, ["k"].as_slice()));
        assert!(spec.child("labels").unwrap().is_map());
        assert!(spec.child("any").unwrap().is_any());
        assert!(root.child("metadata").unwrap().child("labels").unwrap().is_map());
    }

    #[test]
    fn below_a_schema_that_preserves_unknown_fields_all_are_declared() {
        use api::schema::SchemaNode;
        use apimachinery::structured_merge::{Duplicates, validate};
        let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let schema = |open: bool| {
            let mut schema = json!({"type": "object", "properties": {"spec": closed}});
            if open {
                schema["x-kubernetes-preserve-unknown-fields"] = true.into();
            }
            schema
        };
        let fits = |open: bool, value: &Value| {
            let root = Root(Structural::compile(&schema(open)).unwrap());
            validate(value, Some(SchemaNode::Dynamic(&root)), Duplicates::Refused)
                .map_err(|problems| problems.to_string())
        };
        let unknown = json!({"spec": {"a": "1", "b": {"c": 2}}});
        assert_eq!(fits(false, &unknown).unwrap_err(), ".spec.b: field not declared in schema");
        assert!(fits(true, &unknown).is_ok());
    }
}
