//! Kind and metadata of objects, the outer one and those that lie in fields.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::strict;
use apimachinery::validation::{self, object_meta};
use serde_json::{Map, Value, json};

use super::Structural;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Why an object cannot be taken at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The object's own metadata; the message is that of typed decoding.
    #[error("{0}")]
    Metadata(String),
    #[error("{0}")]
    Embedded(FieldError),
}

/// Gives metadata the form of a round trip through upstream's type, and answers with the paths of what it does not know.
/// What lies in storage was admitted once: with `drop_malformed`, fields of a wrong type go away.
pub fn coerce(object: &mut Value, schema: &Structural, drop_malformed: bool) -> Result<Vec<String>, Malformed> {
    let mut unknown = Vec::new();
    if let Some(metadata) = object.get_mut("metadata") {
        unknown = round_trip(metadata, drop_malformed).map_err(Malformed::Metadata)?;
        unknown.iter_mut().for_each(|path| *path = format!("metadata.{path}"));
    }
    let mut walk = Walk { drop_malformed, unknown: Vec::new() };
    walk.below(object, schema, &Path::root()).map_err(Malformed::Embedded)?;
    walk.unknown.sort();
    unknown.append(&mut walk.unknown);
    Ok(unknown)
}

struct Walk {
    drop_malformed: bool,
    unknown: Vec<String>,
}

impl Walk {
    fn below(&mut self, value: &mut Value, schema: &Structural, path: &Path) -> Result<(), FieldError> {
        match value {
            Value::Object(map) => {
                if schema.embedded {
                    self.embedded(map, path)?;
                }
                for (name, child) in map {
                    if let Some(property) = schema.property(name) {
                        self.below(child, property, &path.child(name))?;
                    } else if let Some(additional) = schema.additional_schema() {
                        self.below(child, additional, &path.key(name))?;
                    }
                }
                Ok(())
            }
            Value::Array(items) => {
                let Some(schema) = &schema.items else { return Ok(()) };
                let mut items = items.iter_mut().enumerate();
                items.try_for_each(|(index, item)| self.below(item, schema, &path.index(index)))
            }
            _ => Ok(()),
        }
    }

    fn embedded(&mut self, map: &mut Map<String, Value>, path: &Path) -> Result<(), FieldError> {
        for name in ["apiVersion", "kind"] {
            match map.get(name) {
                None | Some(Value::String(_)) => {}
                Some(_) if self.drop_malformed => drop(map.remove(name)),
                Some(other) => return Err(FieldError::invalid(&path.child(name), other.clone(), "must be a string")),
            }
        }
        let Some(metadata) = map.get_mut("metadata") else { return Ok(()) };
        let path = path.child("metadata");
        match round_trip(metadata, self.drop_malformed) {
            Ok(unknown) => self.unknown.extend(unknown.iter().map(|name| format!("{path}.{name}"))),
            Err(_) if self.drop_malformed => {}
            Err(why) => return Err(FieldError::invalid(&path, metadata.clone(), why)),
        }
        Ok(())
    }
}

/// Paths of unknown fields, or the complaint of typed decoding.
fn round_trip(metadata: &mut Value, drop_malformed: bool) -> Result<Vec<String>, String> {
    let mut whole = metadata.clone();
    let complaints = match normalize(&mut whole) {
        Ok(complaints) => complaints,
        Err(why) if !drop_malformed => return Err(why),
        Err(_) => field_by_field(metadata, &mut whole)?,
    };
    if let Some(map) = whole.as_object_mut()
        && map.get("creationTimestamp").is_some_and(Value::is_null)
    {
        map.remove("creationTimestamp");
    }
    *metadata = whole;
    let name = |complaint: &String| complaint.split('"').nth(1).map(str::to_owned);
    Ok(complaints.iter().filter_map(name).collect())
}

fn normalize(metadata: &mut Value) -> Result<Vec<String>, String> {
    let definition = api::schema::definition(OBJECT_META).expect("every kind has metadata");
    strict::normalize(metadata, definition.node())
}

/// Keeps the fields that can be read.
fn field_by_field(metadata: &Value, whole: &mut Value) -> Result<Vec<String>, String> {
    let Some(fields) = metadata.as_object() else { return Err("invalid metadata: expected object".into()) };
    let (mut kept, mut complaints) = (Map::new(), Vec::new());
    for (name, value) in fields {
        let mut alone = json!({ name.as_str(): value });
        if let Ok(unknown) = normalize(&mut alone) {
            complaints.extend(unknown);
            kept.extend(alone.as_object_mut().map(std::mem::take).unwrap_or_default());
        }
    }
    *whole = Value::Object(kept);
    Ok(complaints)
}

/// The rules for kind and metadata of objects in fields. With `embedded`, those of the object itself too.
pub fn check_metadata(value: &Value, schema: &Structural, path: &Path, embedded: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    match value {
        Value::Object(map) => {
            if embedded || schema.embedded {
                check_embedded(value, path, &mut errors);
            }
            for (name, child) in map {
                if let Some(property) = schema.property(name) {
                    errors.append(check_metadata(child, property, &path.child(name), false));
                } else if let Some(additional) = schema.additional_schema() {
                    errors.append(check_metadata(child, additional, &path.key(name), false));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let Some(schema) = &schema.items else { break };
                errors.append(check_metadata(item, schema, &path.index(index), false));
            }
        }
        _ => {}
    }
    errors
}

fn check_embedded(object: &Value, path: &Path, errors: &mut ErrorList) {
    check_text(object, "apiVersion", path, errors, |version| {
        let odd = version.matches('/').count() > 1;
        odd.then(|| format!("unexpected GroupVersion string: {version}"))
    });
    check_text(object, "kind", path, errors, |kind| {
        let wrong = validation::is_dns1035_label(&kind.to_lowercase());
        (!wrong.is_empty()).then(|| format!("may have mixed case, but should otherwise match: {}", wrong.join(",")))
    });
    if let Some(metadata) = object.get("metadata") {
        check_object_meta(metadata, path, errors);
    }
}

fn check_text(object: &Value, name: &str, path: &Path, errors: &mut ErrorList, rule: impl Fn(&str) -> Option<String>) {
    let path = path.child(name);
    match object.get(name) {
        None => errors.required(&path, ""),
        Some(Value::String(text)) if text.is_empty() => errors.invalid(&path, "", "must not be empty"),
        Some(Value::String(text)) => errors.extend(rule(text).map(|why| FieldError::invalid(&path, text.clone(), why))),
        Some(other) => errors.invalid(&path, other.clone(), "must be a string"),
    }
}

fn check_object_meta(metadata: &Value, path: &Path, errors: &mut ErrorList) {
    let mut typed = metadata.clone();
    if let Err(why) = normalize(&mut typed) {
        errors.invalid(&path.child("metadata"), metadata.clone(), why);
        return;
    }
    if typed["name"].as_str().unwrap_or_default().is_empty() {
        typed["name"] = "fakename".into();
    }
    let namespaced = typed["namespace"].as_str().is_some_and(|namespace| !namespace.is_empty());
    let segment = |name: &str, _prefix: bool| validation::is_path_segment_name(name);
    for mut error in object_meta::validate(&json!({ "metadata": typed }), namespaced, &segment) {
        error.field = path.child(&error.field).to_string();
        errors.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Structural {
        Structural::compile(&json!({"type": "object", "properties": {"e": {"type": "object",
            "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}))
        .unwrap()
    }

    #[test]
    fn unknown_metadata_goes_and_is_named() {
        let mut object = json!({"metadata": {"name": "a", "odd": 1}, "e": {"metadata": {"bogus": 1, "name": "x"}}});
        let unknown = coerce(&mut object, &schema(), false).unwrap();
        assert_eq!(unknown, ["metadata.odd", "e.metadata.bogus"]);
        assert_eq!(object, json!({"metadata": {"name": "a"}, "e": {"metadata": {"name": "x"}}}));
    }

    #[test]
    fn malformed_metadata_is_refused_from_clients_and_dropped_from_storage() {
        let object = json!({"e": {"kind": 5, "metadata": {"name": 5, "labels": {"a": "b"}}}});
        let refused = coerce(&mut object.clone(), &schema(), false).unwrap_err();
        assert_eq!(refused.to_string(), "e.kind: Invalid value: 5: must be a string");
        let mut stored = object;
        coerce(&mut stored, &schema(), true).unwrap();
        assert_eq!(stored, json!({"e": {"metadata": {"labels": {"a": "b"}}}}));
    }

    #[test]
    fn embedded_objects_need_a_kind() {
        let errors = check_metadata(&json!({"e": {"x": 1}}), &schema(), &Path::root(), false);
        assert_eq!(errors.to_string(), "[e.apiVersion: Required value, e.kind: Required value]");
    }
}
