//! The declared type of a structural schema, as CustomResourceDefinitions have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{DeclType, ListSemantics, escape};
use crate::limits::{MAX_DEPTH, MAX_REQUEST_BYTES};
use crate::types::{Field, ObjectType, Type};

const STRING_MAX: u64 = MAX_REQUEST_BYTES - 2;
const DURATION_MAX: u64 = 32;
const DATE_TIME_MAX: u64 = 32;
const DATE_MAX: u64 = 12;

/// The type of data under an OpenAPI v3 schema in JSON, or `None` if the schema does not expose any to expressions.
///
/// `resource_root` says that the schema is the root of a resource, whose type and names are always visible.
pub fn structural(schema: &Json, resource_root: bool) -> Option<DeclType> {
    convert(schema, resource_root, "selfType", 0)
}

fn convert(schema: &Json, root: bool, name: &str, depth: usize) -> Option<DeclType> {
    if depth > MAX_DEPTH {
        return None;
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        return Some(DeclType { max_elements: string_max(schema, STRING_MAX), ..DeclType::dynamic() });
    }
    let ty = schema.get("type").and_then(Json::as_str).unwrap_or_default();
    match ty {
        "array" => array(schema, name, depth),
        _ if root || ty == "object" => {
            match schema.get("additionalProperties").filter(|props| props.is_object() && !root) {
                Some(values) => map(schema, values, name, depth),
                None => Some(object(schema, root, name, depth)),
            }
        }
        "string" => Some(string(schema)),
        "boolean" => Some(sized(Type::Bool, 4, 0)),
        "number" => Some(sized(Type::Double, 1, 0)),
        "integer" => Some(sized(Type::Int, 1, 0)),
        _ => None,
    }
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// A limit that the schema gives; negative is zero.
fn limit(schema: &Json, name: &str) -> Option<u64> {
    let value = schema.get(name)?.as_i64()?;
    Some(u64::try_from(value).unwrap_or(0))
}

fn sized(ty: Type, min_serialized_size: u64, max_elements: u64) -> DeclType {
    DeclType { min_serialized_size, max_elements, ..DeclType::simple(ty) }
}

fn array(schema: &Json, name: &str, depth: usize) -> Option<DeclType> {
    let items = schema.get("items")?;
    let element = convert(items, flag(items, "x-kubernetes-embedded-resource"), &format!("{name}.@idx"), depth + 1)?;
    let by_size = (MAX_REQUEST_BYTES - 2) / (element.min_serialized_size + 1);
    let max_elements = limit(schema, "maxItems").unwrap_or(by_size);
    Some(DeclType { max_elements, list: list_semantics(schema), ..DeclType::list_of(element) })
}

fn list_semantics(schema: &Json) -> ListSemantics {
    match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
        Some("set") => ListSemantics::Set,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array).into_iter().flatten();
            ListSemantics::Map(keys.filter_map(Json::as_str).map(str::to_owned).collect())
        }
        _ => ListSemantics::Atomic,
    }
}

fn map(schema: &Json, values: &Json, name: &str, depth: usize) -> Option<DeclType> {
    let element = convert(values, flag(values, "x-kubernetes-embedded-resource"), &format!("{name}.@elem"), depth + 1)?;
    let by_size = (MAX_REQUEST_BYTES - 2) / (element.min_serialized_size + 6);
    let max_elements = limit(schema, "maxProperties").unwrap_or(by_size);
    Some(DeclType { max_elements, ..DeclType::map_of(element) })
}

fn object(schema: &Json, root: bool, name: &str, depth: usize) -> DeclType {
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let mut fields = BTreeMap::new();
    let mut size = 2;
    for (property, value) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        if root && matches!(property.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let embedded = flag(value, "x-kubernetes-embedded-resource");
        let Some(decl) = convert(value, embedded, &format!("{name}.{property}"), depth + 1) else { continue };
        if required.contains(&property.as_str()) && value.get("default").is_none_or(Json::is_null) {
            size += property.len() as u64 + decl.min_serialized_size + 4;
        }
        add_field(&mut fields, property, decl);
    }
    if root {
        add_type_and_names(&mut fields, name);
    }
    let ty = Type::Object(Arc::new(ObjectType { name: name.into(), fields, constructible: false }));
    sized(ty, size, 0)
}

fn add_field(fields: &mut BTreeMap<String, Field>, property: &str, decl: DeclType) {
    if let Some(escaped) = escape(property) {
        fields.insert(escaped, Field { json_name: property.into(), decl: Arc::new(decl) });
    }
}

fn add_type_and_names(fields: &mut BTreeMap<String, Field>, name: &str) {
    let string = || sized(Type::String, 2, STRING_MAX);
    let mut names = BTreeMap::new();
    add_field(&mut names, "name", string());
    add_field(&mut names, "generateName", string());
    let metadata = ObjectType { name: format!("{name}.metadata"), fields: names, constructible: false };
    add_field(fields, "apiVersion", string());
    add_field(fields, "kind", string());
    add_field(fields, "metadata", sized(Type::Object(Arc::new(metadata)), 2, 0));
}

/// `maxLength` counts characters of up to four bytes.
fn string_max(schema: &Json, otherwise: u64) -> u64 {
    limit(schema, "maxLength").map_or(otherwise, |length| length.saturating_mul(4))
}

fn string(schema: &Json) -> DeclType {
    match schema.get("format").and_then(Json::as_str).unwrap_or_default() {
        "byte" => sized(Type::Bytes, 2, limit(schema, "maxLength").unwrap_or(STRING_MAX)),
        "duration" => sized(Type::Duration, 3, DURATION_MAX),
        "date" => sized(Type::Timestamp, DATE_MAX, DATE_MAX),
        "date-time" => sized(Type::Timestamp, 21, DATE_TIME_MAX),
        _ => sized(Type::String, 2, string_max(schema, enum_max(schema))),
    }
}

fn enum_max(schema: &Json) -> u64 {
    let values = schema.get("enum").and_then(Json::as_array).filter(|values| !values.is_empty());
    let longest =
        |values: &Vec<Json>| values.iter().filter_map(Json::as_str).map(|value| value.len() as u64).max().unwrap_or(0);
    values.map_or(STRING_MAX, longest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_root_always_shows_its_type_and_names() {
        let decl =
            structural(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}), true).expect("exposed");
        assert!(decl.field("kind").is_some() && decl.field("spec").is_some());
        assert!(decl.field("metadata").expect("always there").field("labels").is_none());
    }

    #[test]
    fn sizes_follow_the_limits_of_the_schema() {
        let schema = json!({"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}});
        let decl = structural(&schema, false).expect("exposed");
        assert_eq!((decl.max_elements, decl.element.expect("items").max_elements), (5, 40));
        let open = structural(&json!({"type": "array", "items": {"type": "string"}}), false).expect("exposed");
        assert_eq!(open.max_elements, (MAX_REQUEST_BYTES - 2) / 3);
    }

    #[test]
    fn unknown_data_is_not_exposed() {
        assert!(structural(&json!({"x-kubernetes-preserve-unknown-fields": true}), false).is_none());
    }
}
