//! The v2 document as gnostic's `openapi.v2.Document`: protobuf, written from the same value as the JSON.
//!
//! Numbers are those of gnostic's `OpenAPIv2.proto`. Maps are repeated pairs of a name (1) and a value (2), and what no
//! field holds is YAML text; JSON is YAML.

use serde_json::Value;

use protobuf::Writer;

/// Encodes a whole document.
pub fn document(value: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    text(&mut out, 1, &value["swagger"]);
    out.message(2, |info| {
        text(info, 1, &value["info"]["title"]);
        text(info, 2, &value["info"]["version"]);
    });
    out.message(8, |paths| named(paths, 2, &value["paths"], path_item));
    out.message(9, |definitions| named(definitions, 1, &value["definitions"], schema));
    out.message(10, |parameters| named(parameters, 1, &value["parameters"], parameter));
    items(&value["security"]).for_each(|own| {
        out.message(12, |out| named(out, 1, own, |out, scopes| items(scopes).for_each(|scope| text(out, 1, scope))));
    });
    out.message(13, |schemes| {
        named(schemes, 1, &value["securityDefinitions"], |out, own| out.message(2, |out| api_key(out, own)));
    });
    out.finish()
}

fn api_key(out: &mut Writer, scheme: &Value) {
    for (number, name) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
        text(out, number, &scheme[name]);
    }
}

fn path_item(out: &mut Writer, item: &Value) {
    let methods = [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];
    for (number, method) in methods {
        if let Some(own) = item.get(method) {
            out.message(number, |out| operation(out, own));
        }
    }
    items(&item["parameters"]).for_each(|own| out.message(9, |out| parameters_item(out, own)));
}

fn operation(out: &mut Writer, operation: &Value) {
    items(&operation["tags"]).for_each(|tag| text(out, 1, tag));
    text(out, 3, &operation["description"]);
    text(out, 5, &operation["operationId"]);
    items(&operation["produces"]).for_each(|media| text(out, 6, media));
    items(&operation["consumes"]).for_each(|media| text(out, 7, media));
    items(&operation["parameters"]).for_each(|own| out.message(8, |out| parameters_item(out, own)));
    out.message(9, |out| named(out, 1, &operation["responses"], |out, own| out.message(1, |out| response(out, own))));
    items(&operation["schemes"]).for_each(|scheme| text(out, 10, scheme));
    extensions(out, 13, operation);
}

/// A parameter, or where it stands.
fn parameters_item(out: &mut Writer, own: &Value) {
    match own.get("$ref") {
        Some(reference) => out.message(2, |out| text(out, 1, reference)),
        None => out.message(1, |out| parameter(out, own)),
    }
}

/// The body, or a NonBodyParameter.
fn parameter(out: &mut Writer, parameter: &Value) {
    match parameter["in"].as_str() {
        Some("body") => out.message(1, |out| body_parameter(out, parameter)),
        Some("path") => out.message(2, |out| out.message(4, |out| path_parameter(out, parameter))),
        _ => out.message(2, |out| out.message(3, |out| query_parameter(out, parameter))),
    }
}

fn body_parameter(out: &mut Writer, parameter: &Value) {
    text(out, 1, &parameter["description"]);
    text(out, 2, &parameter["name"]);
    text(out, 3, &parameter["in"]);
    flag(out, 4, &parameter["required"]);
    out.message(5, |out| schema(out, &parameter["schema"]));
}

fn query_parameter(out: &mut Writer, parameter: &Value) {
    text(out, 2, &parameter["in"]);
    text(out, 4, &parameter["name"]);
    text(out, 6, &parameter["type"]);
    flag(out, 20, &parameter["uniqueItems"]);
}

fn path_parameter(out: &mut Writer, parameter: &Value) {
    flag(out, 1, &parameter["required"]);
    text(out, 2, &parameter["in"]);
    text(out, 4, &parameter["name"]);
    text(out, 5, &parameter["type"]);
    flag(out, 19, &parameter["uniqueItems"]);
}

fn response(out: &mut Writer, response: &Value) {
    text(out, 1, &response["description"]);
    if let Some(own) = response.get("schema") {
        out.message(2, |out| out.message(1, |out| schema(out, own)));
    }
}

fn schema(out: &mut Writer, schema_value: &Value) {
    text(out, 1, &schema_value["$ref"]);
    text(out, 2, &schema_value["format"]);
    text(out, 4, &schema_value["description"]);
    items(&schema_value["required"]).for_each(|name| text(out, 19, name));
    items(&schema_value["enum"]).for_each(|own| out.message(20, |out| out.bytes(2, own.to_string().as_bytes())));
    if let Some(own) = schema_value.get("additionalProperties") {
        out.message(21, |out| out.message(1, |out| schema(out, own)));
    }
    if let Some(kind) = schema_value.get("type") {
        out.message(22, |out| text(out, 1, kind));
    }
    if let Some(own) = schema_value.get("items") {
        out.message(23, |out| out.message(1, |out| schema(out, own)));
    }
    if let Some(own) = schema_value.get("properties") {
        out.message(25, |out| named(out, 1, own, schema));
    }
    extensions(out, 31, schema_value);
}

/// A map as repeated pairs.
fn named(out: &mut Writer, number: u32, map: &Value, mut value: impl FnMut(&mut Writer, &Value)) {
    for (name, own) in map.as_object().into_iter().flatten() {
        out.message(number, |out| {
            out.bytes(1, name.as_bytes());
            out.message(2, |out| value(out, own));
        });
    }
}

fn extensions(out: &mut Writer, number: u32, owner: &Value) {
    for (name, value) in owner.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        out.message(number, |out| {
            out.bytes(1, name.as_bytes());
            out.message(2, |out| out.bytes(2, value.to_string().as_bytes()));
        });
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(out: &mut Writer, number: u32, value: &Value) {
    if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
        out.bytes(number, text.as_bytes());
    }
}

fn flag(out: &mut Writer, number: u32, value: &Value) {
    if value == true {
        out.varint_field(number, 1);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;
    use protobuf::{Payload, Reader};

    /// The wire as numbers and texts; a payload that reads as a message is shown as one.
    fn show(message: &[u8]) -> String {
        let mut shown = Vec::new();
        for field in Reader::new(message) {
            let (number, payload) = field.unwrap();
            shown.push(match payload {
                Payload::Bytes(bytes) if bytes.first().is_some_and(|byte| *byte >= b' ' && byte.is_ascii()) => {
                    match std::str::from_utf8(bytes) {
                        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("{number}:{text}"),
                        _ => format!("{number}({})", show(bytes)),
                    }
                }
                Payload::Bytes(bytes) => format!("{number}({})", show(bytes)),
                Payload::Varint(value) => format!("{number}={value}"),
                other => panic!("unexpected {other:?}"),
            });
        }
        shown.join(" ")
    }

    #[test]
    fn a_schema_has_its_properties_and_extensions() {
        let mut out = Writer::default();
        let value = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "array", "items": {"$ref": "#/definitions/A"}, "x-kubernetes-list-type": "map"},
            "b": {"type": "object", "additionalProperties": {"type": "integer", "format": "int32"}},
        }});
        schema(&mut out, &value);
        expect![[r#"19:a 22(1:object) 25(1(1:a 2(22(1:array) 23(1(1:#/definitions/A)) 31(1:x-kubernetes-list-type 2(2:"map")))) 1(1:b 2(21(1(2:int32 22(1:integer))) 22(1:object))))"#]].assert_eq(&show(&out.finish()));
    }

    #[test]
    fn an_operation_has_its_query_parameters_and_kind() {
        let mut out = Writer::default();
        let value = json!({
            "operationId": "patchPod",
            "parameters": [{"$ref": "#/parameters/p"}, {"name": "dryRun", "in": "query", "type": "string", "uniqueItems": true}],
            "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/A"}}},
            "tags": ["core_v1"], "schemes": ["https"],
            "x-kubernetes-action": "patch",
        });
        operation(&mut out, &value);
        expect![[r#"1:core_v1 5:patchPod 8(2(1:#/parameters/p)) 8(1(2(3(2:query 4:dryRun 6:string 20=1)))) 9(1(1:200 2(1(1:OK 2(1(1:#/definitions/A)))))) 10:https 13(1:x-kubernetes-action 2(2:"patch"))"#]].assert_eq(&show(&out.finish()));
    }
}
