//! From one version of a kind to another.
//!
//! With the strategy `None` only `apiVersion` changes. With a webhook the API server asks it; what is pure about that stands
//! here: [`request`] is what it is asked, [`accept`] judges what it answers.

use apimachinery::field::{ErrorList, Path};
use apimachinery::status::quote;
use apimachinery::validation::object_meta;
use serde_json::{Map, Value, json};

use crate::json::{field, list, text};

/// How a definition converts.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// Versions differ in their name only.
    None,
    /// `spec.conversion.webhook`: its client and the review versions that it understands.
    Webhook(Value),
}

impl Conversion {
    pub fn of(definition: &Value) -> Self {
        let conversion = &definition["spec"]["conversion"];
        match text(conversion, "strategy") {
            "Webhook" => Self::Webhook(conversion["webhook"].clone()),
            _ => Self::None,
        }
    }
}

/// Why an answer is not taken. The message follows `conversion webhook for <kind> `; upstream
/// words it for single objects, in which it reads its storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("failed: {0}")]
    Review(String),
    #[error("returned {found} objects, expected {expected}")]
    Count { found: usize, expected: usize },
    #[error("returned invalid object at index 0: {0}")]
    Kind(String),
    #[error("returned invalid object: {0}")]
    Object(String),
    #[error("returned invalid metadata: {0}")]
    Metadata(String),
}

/// Only the version's name changes.
pub fn rename(object: &mut Value, api_version: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), api_version.into());
    }
}

/// The version of ConversionReview to talk in: the first that both sides know.
pub fn review_version(webhook: &Value) -> Option<&'static str> {
    let understood = list(webhook, "conversionReviewVersions").iter().filter_map(Value::as_str);
    understood.filter_map(|version| ["v1", "v1beta1"].into_iter().find(|known| *known == version)).next()
}

/// The body of the call. Objects that have the version already are not sent.
pub fn request(review: &str, uid: &str, desired: &str, objects: &[Value]) -> Value {
    let to_convert: Vec<&Value> = objects.iter().filter(|object| needs(object, desired)).collect();
    json!({
        "apiVersion": format!("apiextensions.k8s.io/{review}"),
        "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": to_convert},
        "response": null,
    })
}

pub fn needs(object: &Value, desired: &str) -> bool {
    text(object, "apiVersion") != desired
}

/// Takes the converted objects out of an answer, in place of those that were sent.
pub fn accept(review: &str, uid: &str, desired: &str, objects: &mut [Value], answer: &Value) -> Result<(), Refused> {
    let converted = response(review, uid, answer).map_err(Refused::Review)?;
    let waiting: Vec<&mut Value> = objects.iter_mut().filter(|object| needs(object, desired)).collect();
    if converted.len() != waiting.len() {
        return Err(Refused::Count { found: converted.len(), expected: waiting.len() });
    }
    for (original, converted) in waiting.into_iter().zip(converted) {
        same_kind(original, converted, desired).map_err(Refused::Kind)?;
        same_object(original, converted).map_err(Refused::Object)?;
        *original = with_metadata_of(original, converted).map_err(Refused::Metadata)?;
    }
    Ok(())
}

fn response<'a>(review: &str, uid: &str, answer: &'a Value) -> Result<&'a [Value], String> {
    if review == "v1" {
        let (version, kind) = (text(answer, "apiVersion"), text(answer, "kind"));
        if (version, kind) != ("apiextensions.k8s.io/v1", "ConversionReview") {
            let found = format!("{version}, Kind={kind}");
            return Err(format!(
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {found}"
            ));
        }
    }
    let response = field(answer, "response").ok_or("no response provided")?;
    if review == "v1" && text(response, "uid") != uid {
        return Err(format!("expected response.uid={}, got {}", quote(uid), quote(text(response, "uid"))));
    }
    let result = &response["result"];
    match (text(result, "status"), text(result, "message")) {
        ("Success", _) => Ok(list(response, "convertedObjects")),
        (status, "") => Err(format!("response.result.status was '{status}', not 'Success'")),
        (_, message) => Err(message.into()),
    }
}

fn same_kind(original: &Value, converted: &Value, desired: &str) -> Result<(), String> {
    let version = text(converted, "apiVersion");
    if version != desired {
        return Err(format!("invalid groupVersion (expected {desired}, received {version})"));
    }
    let (expected, found) = (text(original, "kind"), text(converted, "kind"));
    if expected != found {
        return Err(format!("invalid kind (expected {expected}, received {found})"));
    }
    Ok(())
}

fn same_object(original: &Value, converted: &Value) -> Result<(), String> {
    for (name, label) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (before, after) = (text(&original["metadata"], name), text(&converted["metadata"], name));
        if before != after {
            return Err(format!("must have the same {label}: {before} != {after}"));
        }
    }
    Ok(())
}

/// A webhook may change labels and annotations, nothing else of the metadata.
fn with_metadata_of(original: &Value, converted: &Value) -> Result<Value, String> {
    let answered = converted.get("metadata").ok_or("missing metadata in converted object")?;
    let answered = answered.as_object().ok_or("invalid metadata of type string in converted object")?;
    let mut metadata = original.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for name in ["labels", "annotations"] {
        match answered.get(name) {
            None | Some(Value::Null) => drop(metadata.remove(name)),
            Some(Value::Object(map)) => {
                if metadata.get(name).and_then(Value::as_object) != Some(map) {
                    check_map(name, map)?;
                }
                metadata.insert(name.into(), Value::Object(map.clone()));
            }
            Some(_) => return Err(format!("invalid metadata.{name} of type string in converted object")),
        }
    }
    let mut taken = converted.clone();
    taken["metadata"] = Value::Object(metadata);
    Ok(taken)
}

fn check_map(name: &str, map: &Map<String, Value>) -> Result<(), String> {
    if let Some((key, _)) = map.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("metadata.{name}[{key}] must be a string in converted object"));
    }
    let map = Value::Object(map.clone());
    let errors: ErrorList = match name {
        "labels" => object_meta::labels(&map, &Path::new("metadata.labels")),
        _ => object_meta::annotations(&map, &Path::new("metadata.annotation")),
    };
    if errors.is_empty() { Ok(()) } else { Err(errors.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"apiVersion": version, "kind": "W", "metadata": {"name": "a", "uid": "1", "generation": 2}, "spec": {}})
    }

    fn answer(converted: Value) -> Value {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": [converted]}})
    }

    #[test]
    fn only_what_is_of_another_version_is_sent_and_replaced() {
        let mut objects = vec![object("g/v2"), object("g/v1")];
        let asked = request("v1", "u", "g/v2", &objects);
        assert_eq!(asked["request"]["objects"].as_array().unwrap().len(), 1);
        let mut converted = object("g/v2");
        converted["spec"] = json!({"new": 1});
        converted["metadata"]["labels"] = json!({"a": "b"});
        converted["metadata"]["generation"] = 99.into();
        accept("v1", "u", "g/v2", &mut objects, &answer(converted)).unwrap();
        assert_eq!(objects[1]["spec"], json!({"new": 1}));
        assert_eq!(objects[1]["metadata"], json!({"name": "a", "uid": "1", "generation": 2, "labels": {"a": "b"}}));
    }

    #[test]
    fn answers_that_are_about_something_else_are_refused() {
        let refused =
            |answer: Value| accept("v1", "u", "g/v2", &mut [object("g/v1")], &answer).unwrap_err().to_string();
        let mut other = object("g/v2");
        other["metadata"]["uid"] = "2".into();
        assert_eq!(refused(answer(other)), "returned invalid object: must have the same UID: 1 != 2");
        let version = "invalid groupVersion (expected g/v2, received g/v3)";
        assert_eq!(refused(answer(object("g/v3"))), format!("returned invalid object at index 0: {version}"));
        let mut failed = answer(object("g/v2"));
        failed["response"]["result"] = json!({"status": "Failed", "message": "no"});
        assert_eq!(refused(failed), "failed: no");
    }
}
