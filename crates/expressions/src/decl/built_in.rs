//! The declared type of a built-in kind, for the type check of policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::schema::{Definition, ListKind, SchemaNode, Type as Scalar};

use super::{DeclType, ListSemantics, escape};
use crate::types::{Field, ObjectType, Type};

/// The type of objects of a definition. A definition inside itself is any value.
pub fn built_in(definition: &'static Definition) -> DeclType {
    convert(&SchemaNode::definition(definition), &mut Vec::new(), "object")
}

fn convert(node: &SchemaNode<'_>, open: &mut Vec<&'static str>, name: &str) -> DeclType {
    if let Some(definition) = node.static_definition().filter(|_| node.is_object()) {
        return object(node, definition, open, name);
    }
    let element = |open: &mut Vec<_>| node.items().map_or_else(DeclType::dynamic, |items| convert(&items, open, name));
    if node.is_list() {
        return DeclType { list: semantics(node), ..DeclType::list_of(element(open)) };
    }
    if node.is_map() {
        return DeclType::map_of(element(open));
    }
    DeclType::simple(node.scalar().map_or(Type::Dyn, scalar))
}

fn scalar(ty: Scalar) -> Type {
    match ty {
        Scalar::String => Type::String,
        Scalar::Bytes => Type::Bytes,
        Scalar::Int32 | Scalar::Int64 => Type::Int,
        Scalar::Double => Type::Double,
        Scalar::Bool => Type::Bool,
        Scalar::Time | Scalar::MicroTime => Type::Timestamp,
        _ => Type::Dyn,
    }
}

fn semantics(node: &SchemaNode<'_>) -> ListSemantics {
    match node.list_kind() {
        ListKind::Set => ListSemantics::Set,
        ListKind::Map => ListSemantics::Map(node.list_keys().iter().map(|key| (*key).to_owned()).collect()),
        ListKind::Atomic => ListSemantics::Atomic,
    }
}

fn object(
    node: &SchemaNode<'_>,
    definition: &'static Definition,
    open: &mut Vec<&'static str>,
    name: &str,
) -> DeclType {
    if open.contains(&definition.name) {
        return DeclType::dynamic();
    }
    open.push(definition.name);
    let mut fields = BTreeMap::new();
    for field in node.fields() {
        let (Some(child), Some(escaped)) = (node.child(field.name), escape(field.name)) else { continue };
        let decl = Arc::new(convert(&child, open, &format!("{name}.{}", field.name)));
        fields.insert(escaped, Field { json_name: field.name.into(), decl });
    }
    open.pop();
    let ty = ObjectType { name: definition.name.into(), fields, constructible: false };
    DeclType { min_serialized_size: 2, ..DeclType::simple(Type::Object(Arc::new(ty))) }
}
