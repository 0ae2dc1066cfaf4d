//! What the kinds look like.

use std::collections::BTreeSet;

use api::docs::{self, Description};
use api::schema::published::{self, Folded, Said};
use api::schema::{self, Definition, Field, SchemaNode, Type, WhenEmpty};
use apiextensions::openapi;
use registry::strategy::Resource;
use serde_json::{Map, Value, json};

use super::Dialect;
use super::route::Route;

/// What the schemas of custom resources refer to.
const METADATA: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];

/// The definitions that the operations reach.
pub fn of(routes: &[Route], resources: &[&Resource], dialect: Dialect) -> Map<String, Value> {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = routes.iter().flat_map(Route::definitions).collect();
    if resources.iter().any(|resource| resource.custom.is_some()) {
        open.extend(METADATA);
    }
    while let Some(name) = open.pop() {
        if let Some(definition) = schema::definition(name).filter(|_| reached.insert(name)) {
            let fields = definition.fields().iter();
            open.extend(fields.filter_map(|field| refers(field.ty, published::field(name, field.name))));
        } else if published::folded(name).is_some() {
            reached.insert(name);
        }
    }
    let built_in = reached.into_iter().map(|name| (name.to_string(), definition(name, dialect)));
    built_in.chain(resources.iter().flat_map(|resource| defined(resource, dialect))).collect()
}

/// What a definition says of its kind, and the kind's list.
fn defined(resource: &Resource, dialect: Dialect) -> Map<String, Value> {
    let Some(custom) = &resource.custom else { return Map::new() };
    let mut definition: Value = serde_json::from_slice(&custom.source).expect("the server wrote this JSON itself");
    // Unless the accepted names are others than the wanted ones.
    definition["spec"]["names"] = definition["status"]["acceptedNames"].take();
    let dialect = match dialect {
        Dialect::V2 => openapi::Dialect::V2,
        Dialect::V3 => openapi::Dialect::V3,
    };
    openapi::schemas(&definition, resource.version, dialect)
}

/// The definition that a type names.
fn refers(ty: Type, said: Option<&'static Said>) -> Option<&'static str> {
    match ty {
        Type::Object(index) => Some(schema::by_index(index).name),
        Type::List(inner) | Type::Map(inner) => refers(*inner, said),
        Type::Any => said.map(|said| said.refers),
        ty => published::definition_of(ty),
    }
}

fn definition(name: &str, dialect: Dialect) -> Value {
    match schema::definition(name) {
        Some(definition) => object(definition, dialect),
        None => published::folded(name).map_or(Value::Null, |folded| value(folded, dialect)),
    }
}

fn value(folded: Folded, dialect: Dialect) -> Value {
    match (folded, dialect) {
        (Folded::Quantity, Dialect::V2) => json!({"type": "string"}),
        (Folded::Quantity, Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        (Folded::IntOrString, Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        (Folded::IntOrString, Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        (Folded::Time, _) => json!({"type": "string", "format": "date-time"}),
        (Folded::Object, _) => json!({"type": "object"}),
        (Folded::Anything, _) => json!({}),
    }
}

fn object(definition: &'static Definition, dialect: Dialect) -> Value {
    let fields = definition.fields().iter();
    let description = docs::of(definition.name);
    let properties: Map<String, Value> =
        fields.map(|field| (field.name.into(), property(field, definition, &description, dialect))).collect();
    let mut value = json!({"type": "object"});
    if let Some(about) = description.definition() {
        value["description"] = about.into();
    }
    if !properties.is_empty() {
        value["properties"] = properties.into();
    }
    if !definition.required.is_empty() {
        value["required"] = json!(definition.required);
    }
    if definition.atomic {
        value["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(unions) = published::unions(definition.name) {
        value["x-kubernetes-unions"] = serde_json::from_str(unions).expect("the generator wrote JSON");
    }
    let kinds = schema::kinds_of(definition);
    let kinds: Vec<Value> =
        kinds.map(|(group, version, kind)| json!({"group": group, "version": version, "kind": kind})).collect();
    if !kinds.is_empty() {
        value["x-kubernetes-group-version-kind"] = kinds.into();
    }
    value
}

/// A field with what readers and merges must know of it.
fn property(field: &'static Field, owner: &'static Definition, description: &Description, dialect: Dialect) -> Value {
    let said = published::field(owner.name, field.name);
    let mut value = type_of(field.ty, said, dialect);
    if let Some(about) = description.field(field.name) {
        value["description"] = about.into();
    }
    if dialect == Dialect::V3
        && let Some(default) = default_of(field, said)
    {
        value["default"] = default;
    }
    if let Some(node) = owner.node().child(field.name) {
        merging(&mut value, node);
    }
    wrapped(value, dialect)
}

/// What Go makes of an absent field, if that is anything.
fn default_of(field: &Field, said: Option<&Said>) -> Option<Value> {
    if let Some(said) = said.filter(|said| !said.default.is_empty()) {
        return Some(serde_json::from_str(said.default).expect("the generator wrote JSON"));
    }
    match (field.ty, field.when_empty) {
        (Type::Object(_), WhenEmpty::Keep | WhenEmpty::Null) => None,
        (Type::Object(_), _) | (_, WhenEmpty::Always) => zero(field.ty),
        _ => None,
    }
}

fn zero(ty: Type) -> Option<Value> {
    match ty {
        Type::Object(_) => Some(json!({})),
        Type::String => Some("".into()),
        Type::Int32 | Type::Int64 | Type::Double => Some(0.into()),
        Type::Bool => Some(false.into()),
        _ => None,
    }
}

fn merging(value: &mut Value, node: SchemaNode<'_>) {
    // To OpenAPI, bytes are a list of them.
    match (node.declared(), node.is_list() || node.scalar() == Some(Type::Bytes)) {
        (Some(kind), true) => value["x-kubernetes-list-type"] = kind.into(),
        (Some(kind), false) => value["x-kubernetes-map-type"] = kind.into(),
        (None, _) => {}
    }
    if !node.list_keys().is_empty() {
        value["x-kubernetes-list-map-keys"] = json!(node.list_keys());
    }
    let strategies: Vec<&str> =
        [("merge", node.patch_merge()), ("replace", node.patch_replace()), ("retainKeys", node.patch_retain_keys())]
            .into_iter()
            .filter_map(|(name, given)| given.then_some(name))
            .collect();
    if !strategies.is_empty() {
        value["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    if !node.patch_merge_key().is_empty() {
        value["x-kubernetes-patch-merge-key"] = node.patch_merge_key().into();
    }
}

fn type_of(ty: Type, said: Option<&'static Said>, dialect: Dialect) -> Value {
    let mut value = match ty {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::List(inner) => json!({"type": "array", "items": member(*inner, said, dialect)}),
        Type::Map(inner) => json!({"type": "object", "additionalProperties": member(*inner, said, dialect)}),
        ty => match refers(ty, said) {
            Some(name) => json!({"$ref": dialect.reference(name)}),
            None => json!({}),
        },
    };
    if let Some(said) = said.filter(|said| ty == Type::String && !said.values.is_empty()) {
        value["enum"] = json!(said.values);
    }
    value
}

/// The items of a list, the values of a map.
fn member(ty: Type, said: Option<&'static Said>, dialect: Dialect) -> Value {
    let mut value = type_of(ty, said, dialect);
    if dialect == Dialect::V3
        && let Some(zero) = zero(ty)
    {
        value["default"] = zero;
    }
    wrapped(value, dialect)
}

/// Nothing stands beside a reference in version 3.
fn wrapped(mut value: Value, dialect: Dialect) -> Value {
    let Some(fields) = value.as_object_mut().filter(|fields| dialect == Dialect::V3 && fields.len() > 1) else {
        return value;
    };
    if let Some(reference) = fields.remove("$ref") {
        fields.insert("allOf".into(), json!([{"$ref": reference}]));
    }
    value
}
