//! What the kinds look like.

use std::collections::{BTreeMap, BTreeSet};

use api::docs::{self, Description};
use api::schema::{self, Definition, Field, ListKind, SchemaNode, Type};
use apiextensions::openapi;
use registry::strategy::Resource;
use serde_json::{Map, Value, json};

use super::Dialect;
use super::paths::kind_of;

/// What the schemas of custom resources refer to.
const METADATA: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];

/// The definitions that the resources reach, with their kinds.
pub fn of(resources: &[&Resource], dialect: Dialect) -> Value {
    let mut reached: BTreeSet<&'static str> = BTreeSet::new();
    let mut open: Vec<&'static Definition> = Vec::new();
    let mut kinds: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    if resources.iter().any(|resource| resource.custom.is_some()) {
        open.extend(METADATA.iter().filter_map(|name| schema::definition(name)));
    }
    for resource in resources {
        if let Some(definition) = resource.schema.node().static_definition() {
            let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
            kinds.entry(definition.name).or_default().push(kind);
            open.push(definition);
        }
        let subs = resource.subresources.iter();
        open.extend(
            subs.map(|sub| kind_of(resource, sub))
                .filter_map(|(group, version, kind)| schema::kind(group, version, kind)),
        );
    }
    while let Some(definition) = open.pop() {
        if reached.insert(definition.name) {
            definition.fields().iter().for_each(|field| reach(field.ty, &mut open));
        }
    }
    let all = reached.into_iter().filter_map(schema::definition);
    let built_in = all.map(|d| (d.name.to_string(), schema_of(d, kinds.get(d.name), dialect)));
    built_in.chain(resources.iter().flat_map(|resource| defined(resource, dialect))).collect::<Map<_, _>>().into()
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

fn reach(ty: Type, open: &mut Vec<&'static Definition>) {
    match ty {
        Type::Object(index) => open.push(schema::by_index(index)),
        Type::List(inner) | Type::Map(inner) => reach(*inner, open),
        _ => {}
    }
}

fn schema_of(definition: &'static Definition, kinds: Option<&Vec<Value>>, dialect: Dialect) -> Value {
    let node = definition.node();
    let description = docs::of(definition.name);
    let fields = definition.fields().iter();
    let properties: Map<String, Value> =
        fields.map(|field| (field.name.into(), property(field, node, &description, dialect))).collect();
    let mut value = json!({"type": "object", "properties": properties});
    if let Some(about) = description.definition() {
        value["description"] = about.into();
    }
    if !definition.required.is_empty() {
        value["required"] = json!(definition.required);
    }
    if definition.atomic {
        value["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(kinds) = kinds {
        value["x-kubernetes-group-version-kind"] = json!(kinds);
    }
    value
}

/// A field with what people and merges must know of it.
fn property(field: &Field, parent: SchemaNode<'_>, description: &Description, dialect: Dialect) -> Value {
    let mut value = type_of(field.ty, dialect);
    if let Some(about) = description.field(field.name) {
        value["description"] = about.into();
    }
    let Some(node) = parent.child(field.name) else { return value };
    if node.is_list() {
        list_extensions(&mut value, node);
    } else if node.atomic() && matches!(field.ty, Type::Map(_)) {
        value["x-kubernetes-map-type"] = "atomic".into();
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
    value
}

fn list_extensions(value: &mut Value, node: SchemaNode<'_>) {
    match node.list_kind() {
        ListKind::Map => {
            value["x-kubernetes-list-type"] = "map".into();
            value["x-kubernetes-list-map-keys"] = json!(node.list_keys());
        }
        ListKind::Set => value["x-kubernetes-list-type"] = "set".into(),
        ListKind::Atomic => value["x-kubernetes-list-type"] = "atomic".into(),
    }
}

fn type_of(ty: Type, dialect: Dialect) -> Value {
    let is_v2 = dialect == Dialect::V2;
    match ty {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Quantity if is_v2 => json!({"type": "string"}),
        Type::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Type::Time | Type::MicroTime => json!({"type": "string", "format": "date-time"}),
        Type::IntOrString if is_v2 => json!({"type": "string", "format": "int-or-string"}),
        Type::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Type::Any => json!({"type": "object"}),
        Type::Object(index) => reference(schema::by_index(index).name, dialect),
        Type::List(inner) => json!({"type": "array", "items": type_of(*inner, dialect)}),
        Type::Map(inner) => json!({"type": "object", "additionalProperties": type_of(*inner, dialect)}),
    }
}

fn reference(name: &str, dialect: Dialect) -> Value {
    match dialect {
        Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Dialect::V3 => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
    }
}
