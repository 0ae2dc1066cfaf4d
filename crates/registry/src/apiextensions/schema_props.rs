//! Reading the schemas of a definition. Four of their fields hold a schema or something else, which the table of types
//! cannot say: what stands in them is read here.

use api::schema::SchemaNode;
use apimachinery::strict;
use serde_json::Value;

const PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Reads what is nested in the schemas of all versions. The error is upstream's decoder's.
pub fn read(definition: &mut Value) -> Result<(), String> {
    let versions = definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            nested(schema)?;
        }
    }
    Ok(())
}

/// What a schema that is read itself has below it.
fn nested(schema: &mut Value) -> Result<(), String> {
    let Some(fields) = schema.as_object_mut() else { return Ok(()) };
    for (name, value) in fields.iter_mut() {
        match name.as_str() {
            "additionalProperties" | "additionalItems" => schema_or_bool(value)?,
            "items" => schema_or_list(value)?,
            "dependencies" => each(value, schema_or_texts)?,
            "properties" | "patternProperties" | "definitions" | "allOf" | "anyOf" | "oneOf" => each(value, nested)?,
            "not" => nested(value)?,
            _ => {}
        }
    }
    // What is neither a schema nor a list of them says nothing.
    fields.retain(|name, value| name != "items" || value.is_object() || value.is_array());
    Ok(())
}

fn each(value: &mut Value, act: fn(&mut Value) -> Result<(), String>) -> Result<(), String> {
    match value {
        Value::Object(map) => map.values_mut().try_for_each(act),
        Value::Array(list) => list.iter_mut().try_for_each(act),
        _ => Ok(()),
    }
}

fn schema(value: &mut Value) -> Result<(), String> {
    let node: SchemaNode<'_> = api::schema::definition(PROPS).expect("the tables have it").node();
    strict::read(value, node)?;
    nested(value)
}

fn schema_or_bool(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Object(_) => schema(value),
        Value::Bool(_) => Ok(()),
        _ => Err("boolean or JSON schema expected".into()),
    }
}

fn schema_or_list(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Object(_) => schema(value),
        Value::Array(list) => list.iter_mut().try_for_each(schema),
        _ => Ok(()),
    }
}

fn schema_or_texts(value: &mut Value) -> Result<(), String> {
    let wrong = |item: &&Value| !item.is_string() && !item.is_null();
    match value {
        Value::Object(_) => schema(value),
        Value::Array(list) => match list.iter().find(wrong) {
            Some(item) => {
                Err(format!("json: cannot unmarshal {} into Go value of type string", strict::go_type_of(item)))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_schema(schema: Value) -> Result<Value, String> {
        let mut definition = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
        read(&mut definition)?;
        Ok(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
    }

    #[test]
    fn nested_schemas_are_read_as_schemas() {
        let wrong = |schema: Value| read_schema(schema).unwrap_err();
        let text = "json: cannot unmarshal number into Go struct field JSONSchemaProps.type of type string";
        assert_eq!(wrong(json!({"items": {"type": 1}})), text);
        assert_eq!(wrong(json!({"properties": {"a": {"additionalProperties": {"items": {"type": 1}}}}})), text);
        assert_eq!(wrong(json!({"additionalProperties": "x"})), "boolean or JSON schema expected");
        let text = "json: cannot unmarshal number into Go value of type string";
        assert_eq!(wrong(json!({"dependencies": {"a": ["b", 1]}})), text);
    }

    #[test]
    fn what_says_nothing_is_dropped() {
        assert_eq!(read_schema(json!({"items": "x", "type": "array"})), Ok(json!({"type": "array"})));
        let kept = json!({"additionalProperties": false, "dependencies": {"a": ["b"]}, "items": {"type": "string"}});
        assert_eq!(read_schema(kept.clone()), Ok(kept));
    }
}
