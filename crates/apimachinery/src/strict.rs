//! Decoding against the schema: what upstream's typed decoding refuses, drops and writes differently.
//!
//! [`decode`] is for the body of a request. [`normalize`] is the same on a value that is already parsed, as a patch
//! leaves it. Both leave the object as a round trip through upstream's Go structs would: unknown fields dropped, nulls
//! and empty optional values absent, quantities canonical, structs that Go always writes present.

use std::ops::Range;

use api::schema::{SchemaNode, Type, WhenEmpty};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::field::Path;
use crate::quantity;

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("invalid JSON")]
    Syntax(#[source] serde_json::Error),
    /// The message is upstream's, e.g. `json: cannot unmarshal string into Go struct field …`.
    #[error("{0}")]
    Type(String),
}

/// A decoded object, and what strict validation complains of: `unknown field "spec.foo"`, `duplicate field "spec.a"`.
#[derive(Debug)]
pub struct Decoded {
    pub object: Value,
    pub problems: Vec<String>,
}

/// Decodes a JSON body.
pub fn decode(raw: &[u8], schema: SchemaNode<'_>) -> Result<Decoded, DecodeError> {
    let mut object: Value = serde_json::from_slice(raw).map_err(DecodeError::Syntax)?;
    let mut problems = duplicates(raw);
    let unknown = read(&mut object, schema).map_err(DecodeError::Type)?;
    problems.splice(0..0, unknown);
    Ok(Decoded { object, problems })
}

/// Upstream's message for a strict decoding failure.
pub fn strict_error(kind: &str, version: &str, problems: &[String]) -> String {
    let why = problems.join(", ");
    format!("{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {why}")
}

/// Upstream's message for a body that does not fit the kind.
pub fn type_error(kind: &str, version: &str, why: &str) -> String {
    format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}")
}

/// Drops unknown fields (and answers with their complaints) and gives the object upstream's form in storage.
pub fn normalize(object: &mut Value, schema: SchemaNode<'_>) -> Result<Vec<String>, String> {
    walk(object, schema, false)
}

/// The same for what a client sent: an empty list in a field that is always written stays, so that its writer owns it. In
/// storage it is null.
pub fn read(object: &mut Value, schema: SchemaNode<'_>) -> Result<Vec<String>, String> {
    walk(object, schema, true)
}

/// Numbers that are too large for their fields, as Go's reflection takes them: applies and strategic merges are no JSON for
/// upstream, so nothing refuses them before validation does.
pub fn wrap_integers(value: &mut Value, node: SchemaNode<'_>) {
    match value {
        Value::Number(number) if matches!(node.scalar(), Some(Type::Int32)) => {
            let wide = number.as_i64().filter(|wide| i32::try_from(*wide).is_err());
            if let Some(wide) = wide {
                *value = u32::try_from(wide & 0xffff_ffff).expect("it was masked").cast_signed().into();
            }
        }
        Value::Array(items) => {
            let Some(below) = node.items() else { return };
            items.iter_mut().for_each(|item| wrap_integers(item, below));
        }
        Value::Object(map) => map.iter_mut().for_each(|(key, item)| {
            if let Some(below) = node.items().or_else(|| node.child(key)) {
                wrap_integers(item, below);
            }
        }),
        _ => {}
    }
}

fn walk(object: &mut Value, schema: SchemaNode<'_>, keeps_empty: bool) -> Result<Vec<String>, String> {
    let mut walk = Walk { unknown: Vec::new(), structs: Vec::new(), keys: Vec::new(), keeps_empty };
    walk.value(object, schema, &Path::root())?;
    Ok(walk.unknown)
}

/// The object of the kind with nothing set: what upstream compares a new object with.
pub fn zero(schema: SchemaNode<'_>) -> Value {
    let mut object = Value::Object(Map::new());
    normalize(&mut object, schema).expect("an empty object fits every schema");
    object
}

struct Walk {
    unknown: Vec<String>,
    /// Go names of the structs around the place.
    structs: Vec<&'static str>,
    /// Where the keys of maps stand in the path of the place.
    keys: Vec<Range<usize>>,
    keeps_empty: bool,
}

impl Walk {
    fn value(&mut self, value: &mut Value, node: SchemaNode<'_>, path: &Path) -> Result<(), String> {
        if node.is_any() {
            return Ok(());
        }
        if node.is_list() {
            return self.list(value, node, path);
        }
        if node.is_map() {
            return self.map(value, node, path);
        }
        match node.scalar() {
            Some(ty) => self.scalar(value, ty, path),
            None => self.object(value, node, path),
        }
    }

    fn object(&mut self, value: &mut Value, node: SchemaNode<'_>, path: &Path) -> Result<(), String> {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        if !value.is_object() {
            return Err(self.mismatch(value, path, &go_type(node)));
        }
        let name = node.static_definition().and_then(|definition| definition.name.rsplit('.').next());
        self.structs.push(name.unwrap_or_default());
        self.fields(value.as_object_mut().expect("was checked above"), node, path)?;
        self.structs.pop();
        Ok(())
    }

    fn fields(&mut self, map: &mut Map<String, Value>, node: SchemaNode<'_>, path: &Path) -> Result<(), String> {
        let names: Vec<String> = map.keys().cloned().collect();
        for name in names {
            let below = path.child(&name);
            let Some(child) = node.child(&name) else {
                map.remove(&name);
                self.unknown.push(format!("unknown field {:?}", below.as_str()));
                continue;
            };
            self.field(map, &name, child, &below)?;
        }
        add_what_is_always_written(map, node);
        Ok(())
    }

    fn field(
        &mut self,
        map: &mut Map<String, Value>,
        name: &str,
        child: SchemaNode<'_>,
        path: &Path,
    ) -> Result<(), String> {
        let slot = map.get_mut(name).expect("the name is one of the keys");
        if slot.is_null() {
            map.remove(name);
            return Ok(());
        }
        self.value(slot, child, path)?;
        let collection = child.is_list() || child.is_map();
        let written = matches!(child.when_empty(), WhenEmpty::Always | WhenEmpty::Null);
        let kept = self.keeps_empty && collection && written && !slot.is_null();
        if kept || resets_owners(slot, path) {
            return Ok(());
        }
        if is_zero(slot) && (collection || child.when_empty() == WhenEmpty::Omit) {
            map.remove(name);
        }
        Ok(())
    }

    fn list(&mut self, value: &mut Value, node: SchemaNode<'_>, path: &Path) -> Result<(), String> {
        let item_node = node.items().expect("a list has items");
        if value.is_null() {
            return Ok(());
        }
        let mistake = (!value.is_array()).then(|| self.mismatch(value, path, &go_type(node)));
        let Some(items) = value.as_array_mut() else { return Err(mistake.unwrap_or_default()) };
        for (index, item) in items.iter_mut().enumerate() {
            self.element(item, item_node, &path.index(index))?;
        }
        Ok(())
    }

    fn map(&mut self, value: &mut Value, node: SchemaNode<'_>, path: &Path) -> Result<(), String> {
        let item_node = node.items().expect("a map has values");
        if value.is_null() {
            return Ok(());
        }
        let mistake = (!value.is_object()).then(|| self.mismatch(value, path, &go_type(node)));
        let Some(map) = value.as_object_mut() else { return Err(mistake.unwrap_or_default()) };
        for (key, item) in map.iter_mut() {
            let below = path.child(key);
            self.keys.push(path.as_str().len()..below.as_str().len());
            self.element(item, item_node, &below)?;
            self.keys.pop();
        }
        Ok(())
    }

    /// An item of a list or a map: null is the zero value.
    fn element(&mut self, item: &mut Value, node: SchemaNode<'_>, path: &Path) -> Result<(), String> {
        if item.is_null() {
            *item = zero_value(node);
        }
        self.value(item, node, path)
    }
}

/// An empty list of managed fields says that they are to be forgotten, which an absent one does not.
fn resets_owners(value: &Value, path: &Path) -> bool {
    path.as_str() == "metadata.managedFields" && value.as_array().is_some_and(Vec::is_empty)
}

fn add_what_is_always_written(map: &mut Map<String, Value>, node: SchemaNode<'_>) {
    for field in node.fields().iter().filter(|field| !map.contains_key(field.name)).collect::<Vec<_>>() {
        let child = node.child(field.name).expect("the field is of this node");
        match field.when_empty {
            WhenEmpty::Always => drop(map.insert(field.name.into(), zero_value(child))),
            WhenEmpty::Null => drop(map.insert(field.name.into(), Value::Null)),
            WhenEmpty::Keep | WhenEmpty::Omit => {}
        }
    }
}

fn zero_value(node: SchemaNode<'_>) -> Value {
    match node.scalar() {
        _ if node.is_list() || node.is_map() => Value::Null,
        None => zero(node),
        Some(Type::String | Type::Bytes) => "".into(),
        Some(Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString) => 0.into(),
        Some(Type::Bool) => false.into(),
        Some(Type::Quantity) => "0".into(),
        Some(_) => Value::Null,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

impl Walk {
    fn scalar(&self, value: &mut Value, ty: Type, path: &Path) -> Result<(), String> {
        let fits = match (ty, &*value) {
            (Type::String, Value::String(_)) | (Type::Bool, Value::Bool(_)) | (Type::Any, _) => true,
            (Type::IntOrString, Value::String(_)) | (Type::Double, Value::Number(_)) => true,
            // An entry of a map; as a field it would be absent.
            (Type::Time | Type::MicroTime, Value::Null) => true,
            (Type::Int32 | Type::IntOrString, Value::Number(number)) => {
                number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
            }
            (Type::Int64, Value::Number(number)) => number.as_i64().is_some(),
            (Type::Bytes, Value::String(text)) => return base64(text),
            (Type::Time | Type::MicroTime, Value::String(text)) => {
                *value = time(text, ty)?.into();
                true
            }
            (Type::Quantity, _) => {
                *value = quantity_form(value)?.into();
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.mismatch(value, path, go_scalar(ty))) }
    }

    /// Go's decoder names the fields of structs alone, neither keys of maps nor indexes.
    fn of_structs(&self, path: &Path) -> String {
        let mut text = path.as_str().to_owned();
        for key in self.keys.iter().rev() {
            text.replace_range(key.clone(), "");
        }
        text.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
    }

    /// The message of Go's JSON decoder.
    fn mismatch(&self, value: &Value, path: &Path, go_type: &str) -> String {
        let found = match value {
            Value::Number(number) if go_type.starts_with("int") => format!("number {number}"),
            other => go_type_of(other).to_owned(),
        };
        match self.structs.last() {
            Some(name) => {
                let field = self.of_structs(path);
                format!("json: cannot unmarshal {found} into Go struct field {name}.{field} of type {go_type}")
            }
            None => format!("json: cannot unmarshal {found} into Go value of type {go_type}"),
        }
    }
}

/// What Go's decoder calls a value.
pub fn go_type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_scalar(ty: Type) -> &'static str {
    match ty {
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Double => "float64",
        Type::Bool => "bool",
        Type::IntOrString => "intstr.IntOrString",
        Type::Time => "v1.Time",
        Type::MicroTime => "v1.MicroTime",
        Type::Bytes => "[]uint8",
        _ => "string",
    }
}

/// `v1.PodSpec`, `[]v1.Container`, `map[string]string`.
fn go_type(node: SchemaNode<'_>) -> String {
    if node.is_list() || node.is_map() {
        let item = node.items().map(go_type).unwrap_or_default();
        return format!("{}{item}", if node.is_list() { "[]" } else { "map[string]" });
    }
    match node.scalar() {
        Some(ty) => go_scalar(ty).to_owned(),
        None => {
            let name = node.static_definition().map_or("", |definition| definition.name);
            let mut parts = name.rsplit('.');
            let (kind, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{version}.{kind}")
        }
    }
}

fn base64(text: &str) -> Result<(), String> {
    use base64::Engine as _;
    let stripped: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    match base64::engine::general_purpose::STANDARD.decode(&stripped) {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _)) => Err(format!("illegal base64 data at input byte {at}")),
        Err(_) => Err(format!("illegal base64 data at input byte {}", stripped.len() / 4 * 4)),
    }
}

fn time(text: &str, ty: Type) -> Result<String, String> {
    let form = if ty == Type::Time { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
    let time = crate::time::parse(text)
        .ok_or_else(|| format!("parsing time {text:?} as {form:?}: cannot parse {text:?} as \"2006\""))?;
    Ok(if ty == Type::Time { crate::time::format(time) } else { crate::time::format_micro(time) })
}

fn quantity_form(value: &Value) -> Result<String, String> {
    match quantity::canonical(value) {
        Some(Ok(text)) => Ok(text),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(quantity::ParseError::Format.to_string()),
    }
}

/// The complaints about keys that an object has twice, in the order of the text.
pub fn duplicates(raw: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let search = Duplicates { path: Path::root(), found: &mut found };
    // What is no JSON has been refused before; here it only ends the search.
    let _ = serde::de::DeserializeSeed::deserialize(search, &mut deserializer);
    found
}

struct Duplicates<'a> {
    path: Path,
    found: &'a mut Vec<String>,
}

impl<'de> serde::de::DeserializeSeed<'de> for Duplicates<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Duplicates<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = self.path.child(&key);
            let complaint = format!("duplicate field {:?}", path.as_str());
            if !seen.insert(key) && !self.found.contains(&complaint) {
                self.found.push(complaint);
            }
            access.next_value_seed(Duplicates { path, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut index = 0;
        while access.next_element_seed(Duplicates { path: self.path.index(index), found: self.found })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(group: &str, kind: &str) -> SchemaNode<'static> {
        api::schema::kind(group, "v1", kind).unwrap().node()
    }

    #[test]
    fn numbers_that_are_too_large_wrap_where_upstream_has_no_json() {
        let schema = api::schema::kind("apps", "v1", "Deployment").expect("it is a kind").node();
        let mut object = json!({"spec": {"replicas": 2_147_483_648_i64, "minReadySeconds": 7}});
        wrap_integers(&mut object, schema);
        assert_eq!(object, json!({"spec": {"replicas": -2_147_483_648_i64, "minReadySeconds": 7}}));
    }

    #[test]
    fn unknown_and_duplicate_fields_are_named() {
        let raw = br#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1,"replicas":2,"foo":1,
            "template":{"spec":{"containers":[{"name":"c","bogus":true}]}}}}"#;
        let decoded = decode(raw, schema("apps", "Deployment")).unwrap();
        assert_eq!(
            decoded.problems,
            [
                r#"unknown field "spec.foo""#,
                r#"unknown field "spec.template.spec.containers[0].bogus""#,
                r#"duplicate field "spec.replicas""#,
            ]
        );
        assert_eq!(decoded.object["spec"]["replicas"], 2);
        assert!(decoded.object["spec"].get("foo").is_none());
    }

    #[test]
    fn a_wrong_type_is_told_as_go_tells_it() {
        let raw = br#"{"spec":{"replicas":"three"}}"#;
        let error = decode(raw, schema("apps", "Deployment")).unwrap_err();
        let expected = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
        assert_eq!(error.to_string(), expected);
        let refused = |raw: &[u8], kind: &str| decode(raw, schema("", kind)).unwrap_err().to_string();
        assert_eq!(
            refused(br#"{"data":{"a":"x","b.c":5}}"#, "ConfigMap"),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        );
        assert_eq!(
            refused(br#"{"spec":{"containers":[{"name":"a"},{"name":7}]}}"#, "Pod"),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string"
        );
    }

    #[test]
    fn an_object_has_the_form_of_a_round_trip() {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "labels": {}, "annotations": null},
            "spec": {"ports": [{"port": 80, "nodePort": 0}], "clusterIP": ""},
        });
        assert!(normalize(&mut service, schema("", "Service")).unwrap().is_empty());
        assert_eq!(
            service,
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
                "spec": {"ports": [{"port": 80, "targetPort": 0}]}, "status": {"loadBalancer": {}},
            })
        );
        let mut role = json!({"metadata": {"name": "x"}, "rules": []});
        normalize(&mut role, schema("rbac.authorization.k8s.io", "Role")).unwrap();
        assert_eq!(role, json!({"metadata": {"name": "x"}, "rules": null}));
    }

    #[test]
    fn quantities_become_canonical() {
        let mut quota = json!({"spec": {"hard": {"cpu": 1.5, "memory": "1024Mi"}}});
        normalize(&mut quota, schema("", "ResourceQuota")).unwrap();
        assert_eq!(quota["spec"]["hard"], json!({"cpu": "1500m", "memory": "1Gi"}));
    }
}
