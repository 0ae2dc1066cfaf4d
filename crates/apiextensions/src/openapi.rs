//! What OpenAPI publishes of a definition: the kind and its list.
//!
//! Version 3 says what the schema says. Version 2 cannot say junctors, null, and objects of which only a part is known;
//! clients break on what it cannot say, so that is left out.

use api::docs;
use serde_json::{Map, Value, json};

use crate::definition::form;
use crate::json::{entries, field, flag, list, text};

/// Which OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }

    /// Version 3 wraps what has a reference and something beside it.
    fn described(self, name: &str, description: Option<&str>) -> Value {
        let reference = self.reference(name);
        match self {
            Self::V2 => json!({"description": description, "$ref": reference}),
            Self::V3 => json!({"description": description, "allOf": [{"$ref": reference}]}),
        }
    }
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// What is described of every kind, and of every list.
const ANY: &str = "Kind";
const ANY_LIST: &str = "KindList";

/// The name of the definition of a kind: `com.example.v1.Widget`.
pub fn model_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// The schemas of a version by their names: the kind and its list.
pub fn schemas(definition: &Value, version: &str, dialect: Dialect) -> Map<String, Value> {
    let spec = &definition["spec"];
    let (group, names) = (text(spec, "group"), &spec["names"]);
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    let mut all = Map::new();
    all.insert(model_name(group, version, kind), with_kind(object(definition, version, dialect), group, version, kind));
    let list = list_schema(group, version, names, dialect);
    all.insert(model_name(group, version, list_kind), with_kind(list, group, version, list_kind));
    if let Some(fields) = selectable_fields(definition, version) {
        all.values_mut().for_each(|schema| schema["x-kubernetes-selectable-fields"] = fields.clone());
    }
    all
}

fn with_kind(mut schema: Value, group: &str, version: &str, kind: &str) -> Value {
    schema["x-kubernetes-group-version-kind"] = json!([{"group": group, "version": version, "kind": kind}]);
    schema
}

fn selectable_fields(definition: &Value, version: &str) -> Option<Value> {
    let versions = list(&definition["spec"], "versions");
    let found = versions.iter().find(|candidate| text(candidate, "name") == version)?;
    let paths = list(found, "selectableFields").iter().map(|selectable| text(selectable, "jsonPath"));
    let fields: Vec<Value> = paths.map(|path| json!({"fieldPath": path.trim_start_matches('.')})).collect();
    (!fields.is_empty()).then(|| fields.into())
}

fn object(definition: &Value, version: &str, dialect: Dialect) -> Value {
    let Some(schema) = form::schema_of(definition, version) else { return json!({"type": "object"}) };
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields") || form::preserves_unknown_fields(definition);
    if dialect == Dialect::V2 && open {
        return json!({"type": "object"});
    }
    let mut published = publish(schema, dialect);
    let properties = properties_of(&mut published);
    type_meta(properties);
    properties.insert("metadata".into(), object_meta(dialect));
    published
}

fn properties_of(schema: &mut Value) -> &mut Map<String, Value> {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    schema["properties"].as_object_mut().expect("it was made one above")
}

fn type_meta(properties: &mut Map<String, Value>) {
    for name in ["apiVersion", "kind"] {
        properties.insert(name.into(), json!({"description": docs::field(ANY, name), "type": "string"}));
    }
}

fn object_meta(dialect: Dialect) -> Value {
    dialect.described(&format!("{META}.ObjectMeta"), docs::field(ANY, "metadata"))
}

fn list_schema(group: &str, version: &str, names: &Value, dialect: Dialect) -> Value {
    let kind = text(names, "kind");
    let mut properties = Map::new();
    type_meta(&mut properties);
    let items = json!({
        "description": docs::field(ANY_LIST, "items"),
        "type": "array",
        "items": {"$ref": dialect.reference(&model_name(group, version, kind))},
    });
    properties.insert("items".into(), items);
    let metadata = dialect.described(&format!("{META}.ListMeta"), docs::field(ANY_LIST, "metadata"));
    properties.insert("metadata".into(), metadata);
    json!({
        "description": format!("List of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": properties,
    })
}

/// A schema as it is published.
fn publish(schema: &Value, dialect: Dialect) -> Value {
    let mut published = Map::new();
    for (name, value) in schema.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let value = match name.as_str() {
            "properties" => entries(schema, name)
                .map(|(name, child)| (name.to_owned(), publish(child, dialect)))
                .collect::<Map<_, _>>()
                .into(),
            "items" | "not" => publish(value, dialect),
            "additionalProperties" if value.is_object() => publish(value, dialect),
            "allOf" | "anyOf" | "oneOf" => list(schema, name).iter().map(|branch| publish(branch, dialect)).collect(),
            _ => value.clone(),
        };
        published.insert(name.clone(), value);
    }
    if dialect == Dialect::V2 {
        keep_what_v2_can_say(schema, &mut published);
    }
    let mut published = Value::Object(published);
    embedded(schema, dialect, &mut published);
    published
}

fn keep_what_v2_can_say(schema: &Value, published: &mut Map<String, Value>) {
    let mut drop_all = |names: &[&str]| names.iter().for_each(|name| drop(published.remove(*name)));
    drop_all(&["allOf", "anyOf", "oneOf", "not"]);
    if flag(schema, "nullable") {
        drop_all(&["type", "nullable", "items", "properties"]);
    }
    if flag(schema, "x-kubernetes-preserve-unknown-fields") {
        drop_all(&["items", "properties"]);
        if text(schema, "type") == "object" {
            drop_all(&["type"]);
        }
    }
    if text(schema, "type") == "array" && !published.contains_key("items") {
        published.remove("type");
    }
    let nullable = |name: &str| field(&schema["properties"], name).is_some_and(|property| flag(property, "nullable"));
    let additional_nullable =
        field(schema, "additionalProperties").is_some_and(|additional| flag(additional, "nullable"));
    let required: Vec<Value> = list(schema, "required").to_vec();
    let kept: Vec<Value> = required.into_iter().filter(|name| !name.as_str().is_some_and(nullable)).collect();
    if kept.is_empty() || additional_nullable {
        published.remove("required");
    } else {
        published.insert("required".into(), kept.into());
    }
}

/// An object in a field has a kind and metadata too.
fn embedded(schema: &Value, dialect: Dialect, published: &mut Value) {
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields") && dialect == Dialect::V2;
    if !flag(schema, "x-kubernetes-embedded-resource") || open {
        return;
    }
    let properties = properties_of(published);
    type_meta(properties);
    properties.insert("metadata".into(), object_meta(dialect));
    let mut required = list(published, "required").to_vec();
    for name in ["kind", "apiVersion"] {
        if !required.iter().any(|known| known == name) {
            required.push(name.into());
        }
    }
    published["required"] = required.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({"spec": {"group": "example.com", "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets"},
            "versions": [{"name": "v1", "selectableFields": [{"jsonPath": ".spec.a"}], "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {
                    "spec": {"type": "object", "required": ["n", "a"], "properties": {
                        "a": {"type": "string", "anyOf": [{"minLength": 1}]},
                        "n": {"type": "string", "nullable": true},
                        "e": {"type": "object", "x-kubernetes-embedded-resource": true,
                            "x-kubernetes-preserve-unknown-fields": true}}}}}}}]}})
    }

    #[test]
    fn version_2_leaves_out_what_it_cannot_say() {
        let all = schemas(&definition(), "v1", Dialect::V2);
        let widget = &all["com.example.v1.Widget"];
        let spec = &widget["properties"]["spec"];
        assert_eq!(spec["required"], json!(["a"]));
        assert_eq!(spec["properties"]["a"], json!({"type": "string"}));
        assert_eq!(spec["properties"]["n"], json!({}));
        assert_eq!(widget["properties"]["metadata"]["$ref"], format!("#/definitions/{META}.ObjectMeta"));
        let list = &all["com.example.v1.WidgetList"];
        assert_eq!(list["required"], json!(["items"]));
        for described in [&widget["properties"], &list["properties"]] {
            assert!(["apiVersion", "kind", "metadata"].iter().all(|name| described[name]["description"].is_string()));
        }
        assert!(list["properties"]["items"]["description"].is_string());
    }

    #[test]
    fn version_3_says_what_the_schema_says() {
        let all = schemas(&definition(), "v1", Dialect::V3);
        let widget = &all["com.example.v1.Widget"];
        let spec = &widget["properties"]["spec"];
        assert_eq!(spec["properties"]["n"], json!({"type": "string", "nullable": true}));
        assert_eq!(spec["properties"]["e"]["required"], json!(["kind", "apiVersion"]));
        assert_eq!(widget["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.a"}]));
        let kind = json!([{"group": "example.com", "version": "v1", "kind": "Widget"}]);
        assert_eq!(widget["x-kubernetes-group-version-kind"], kind);
    }
}
