//! From a request body to an object of the expected kind.

use api::schema::SchemaNode;
use apimachinery::strict::{self, DecodeError};
use apimachinery::{Gvk, Status};
use bytes::Bytes;
use http::HeaderMap;
use protobuf::DecodeError as DecodeProtobuf;
use registry::strategy::Resource;
use serde_json::Value;

use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::negotiate::{BodyFormat, body_format};
use crate::options::FieldValidation;
use crate::unicode;

/// The kind that an endpoint takes, and its fields.
pub struct Expected<'a> {
    pub gvk: Gvk,
    pub node: SchemaNode<'a>,
    /// Where the kind came at run time.
    custom: Option<&'a Resource>,
    /// An older apiVersion with the same fields that is taken too; empty when there is none.
    or_version: &'static str,
}

impl<'a> Expected<'a> {
    pub fn of(resource: &'a Resource) -> Self {
        Self {
            gvk: resource.gvk(),
            node: resource.schema.node(),
            custom: Some(resource).filter(|resource| resource.custom.is_some()),
            or_version: "",
        }
    }
}

impl Expected<'static> {
    /// A built-in kind that has no resource of its own.
    pub fn kind(group: &str, version: &str, kind: &str) -> Self {
        let definition = api::schema::kind(group, version, kind).expect("a built-in kind is in the schema tables");
        Self { gvk: Gvk::new(group, version, kind), node: definition.node(), custom: None, or_version: "" }
    }

    pub fn or_version(self, or_version: &'static str) -> Self {
        Self { or_version, ..self }
    }
}

/// Any body as JSON, without a schema. `expected`: apiVersion and kind where protobuf does not say.
pub fn parse(headers: &HeaderMap, body: &[u8], expected: (&str, &str)) -> Result<Value, Status> {
    let (json, _) = to_json(headers, body, expected)?;
    serde_json::from_slice(&json).map_err(|error| cannot_parse(&error))
}

/// JSON text of a body in any format, and what is to be complained of that it shows no more.
fn to_json(headers: &HeaderMap, body: &[u8], expected: (&str, &str)) -> Result<(Bytes, Option<String>), Status> {
    match body_format(headers)? {
        BodyFormat::Json => Ok((unicode::repaired(body), None)),
        BodyFormat::Yaml => yaml_to_json(body),
        BodyFormat::Protobuf => {
            let object = protobuf::decode(body, expected).map_err(|error| unreadable(body, expected, &error))?;
            Ok((object.to_string().into(), None))
        }
    }
}

/// How much of a body that nobody understands is shown.
const SUMMARY_BYTES: usize = 30;

fn unreadable(body: &[u8], expected: (&str, &str), error: &DecodeProtobuf) -> Status {
    if let Some((api_version, kind)) = protobuf::kind_of(body, expected) {
        let (_, version) = apimachinery::gvk::split_api_version(api_version);
        let wanted = expected.1;
        return Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {wanted}: {error}"));
    }
    let shown = &body[..body.len().min(SUMMARY_BYTES)];
    let mut summary: String = match shown {
        [] => "<empty>".into(),
        [b'{', ..] => String::from_utf8_lossy(shown).into_owned(),
        _ => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    summary.push_str(if body.len() > SUMMARY_BYTES { " ..." } else { "" });
    let wanted = expected.1;
    Status::bad_request(format!("the object provided is unrecognized (must be of type {wanted}): {error} ({summary})"))
}

/// Of keys that stand there twice the last counts.
fn yaml_to_json(body: &[u8]) -> Result<(Bytes, Option<String>), Status> {
    let (value, duplicates) = yaml_with_duplicates(body).map_err(Status::bad_request)?;
    Ok((value.to_string().into(), duplicates.map(|why| format!("yaml: unmarshal errors:\n  {why}"))))
}

/// What upstream's parser says of a key that stands there twice.
fn repeated(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), location } => {
            format!("line {}: key {key:?} already set in map", location.line())
        }
        other => other.to_string(),
    }
}

/// A configuration to apply: YAML, of which JSON is a part. With the complaint about keys that stand there twice, of
/// which the last counts.
pub fn configuration(body: &[u8]) -> Result<(Value, Option<String>), Status> {
    let refused = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
    let (value, duplicates) = match serde_json::from_slice::<Value>(body) {
        Ok(value) => (value, strict::duplicates(body).into_iter().next()),
        Err(_) => yaml_with_duplicates(body).map_err(&refused)?,
    };
    let duplicates = duplicates.map(|why| format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {why}"));
    match value {
        Value::Object(_) => Ok((value, duplicates)),
        Value::Null => Ok((Value::Object(serde_json::Map::new()), duplicates)),
        other => {
            let found = if other.is_array() { "array" } else { "string" };
            let why = format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
            Err(refused(format!("error unmarshaling JSON: while decoding JSON: {why}")))
        }
    }
}

fn yaml_with_duplicates(body: &[u8]) -> Result<(Value, Option<String>), String> {
    use serde_saphyr::options::DuplicateKeyPolicy;
    let text = std::str::from_utf8(body).map_err(|error| format!("yaml: {error}"))?;
    if text.trim().is_empty() {
        return Ok((Value::Null, None));
    }
    let error = match serde_saphyr::from_str(text) {
        Ok(value) => return Ok((value, None)),
        Err(error) => error,
    };
    let last_wins = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    match serde_saphyr::from_str_with_options(text, last_wins) {
        Ok(value) => Ok((value, Some(repeated(&error)))),
        Err(error) => Err(format!("error converting YAML to JSON: yaml: {error}")),
    }
}

fn cannot_parse(error: &serde_json::Error) -> Status {
    Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
}

/// Decodes an object that the endpoint takes, with complaints as the client wants them.
pub fn object(call: &Call, body: &[u8], expected: &Expected<'_>, validation: FieldValidation) -> Result<Value, Status> {
    let (json, duplicates) = to_json(&call.headers, body, (&expected.gvk.api_version(), &expected.gvk.kind))?;
    if json.iter().all(u8::is_ascii_whitespace) {
        return Err(Status::bad_request("the request body is empty: an object is required"));
    }
    // Go decodes null into a value as nothing at all.
    let json = if json.trim_ascii() == b"null" { Bytes::from_static(b"{}") } else { json };
    typed(call, &json, expected, duplicates.into_iter().collect(), validation)
}

/// Decodes JSON text against a definition. `problems` stand before its own.
fn typed(
    call: &Call,
    json: &[u8],
    expected: &Expected<'_>,
    mut problems: Vec<String>,
    validation: FieldValidation,
) -> Result<Value, Status> {
    if let Some(resource) = expected.custom {
        return custom(call, json, resource, problems, validation);
    }
    let kind = expected.gvk.kind.as_str();
    check_kind(json, expected)?;
    let decoded = strict::decode(json, expected.node).map_err(|error| decode_error(&error, &expected.gvk))?;
    let mut object = decoded.object;
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), expected.gvk.api_version().into());
        map.insert("kind".into(), kind.into());
    }
    problems.extend(decoded.problems);
    complain(call, &expected.gvk, problems, validation)?;
    Ok(object)
}

/// Custom objects must say what they are.
fn custom(
    call: &Call,
    json: &[u8],
    resource: &Resource,
    mut problems: Vec<String>,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(json).map_err(|error| cannot_parse(&error))?;
    if apimachinery::object::kind(&object).is_empty() {
        let text = String::from_utf8_lossy(json);
        return Err(Status::bad_request(format!("Object 'Kind' is missing in '{}'", text.trim())));
    }
    let (given, expected) = (apimachinery::object::api_version(&object).to_string(), resource.api_version());
    if given != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({expected})"
        )));
    }
    problems.extend(strict::duplicates(json));
    let decoded = resource.strategy.decode(&mut object, resource.schema.node());
    problems.extend(decoded.map_err(Status::bad_request)?);
    complain(call, &resource.gvk(), problems, validation)?;
    Ok(object)
}

fn decode_error(error: &DecodeError, gvk: &Gvk) -> Status {
    Status::bad_request(strict::type_error(&gvk.kind, &gvk.version, &error.to_string()))
}

pub fn complain(call: &Call, gvk: &Gvk, problems: Vec<String>, validation: FieldValidation) -> Result<(), Status> {
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            Err(Status::bad_request(strict::strict_error(&gvk.kind, &gvk.version, &problems)))
        }
        FieldValidation::Warn => {
            problems.into_iter().for_each(|problem| call.warn(problem));
            Ok(())
        }
        _ => Ok(()),
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

/// An absent version or kind is taken for the expected one; another one is refused.
fn check_kind(json: &[u8], wanted: &Expected<'_>) -> Result<(), Status> {
    let meta: TypeMeta = match serde_json::from_slice::<Value>(json) {
        Ok(value @ Value::Object(_)) => serde_json::from_value(value).map_err(|error| cannot_parse(&error))?,
        Ok(_) => {
            let why = "json: cannot unmarshal into Go value of type struct { APIVersion string; Kind string }";
            return Err(Status::bad_request(format!("couldn't get version/kind; json parse error: {why}")));
        }
        Err(error) => return Err(cannot_parse(&error)),
    };
    let (api_version, kind) = (wanted.gvk.api_version(), wanted.gvk.kind.as_str());
    let given_version = meta.api_version.filter(|v| !v.is_empty()).unwrap_or_else(|| api_version.clone());
    let given_kind = meta.kind.filter(|k| !k.is_empty()).unwrap_or_else(|| kind.to_string());
    if given_kind == kind && (given_version == api_version || given_version == wanted.or_version) {
        return Ok(());
    }
    let (group, version) = apimachinery::gvk::split_api_version(&given_version);
    if api::schema::kind(group, version, &given_kind).is_none() {
        let why = format!("no kind {given_kind:?} is registered for version {given_version:?} in scheme");
        return Err(Status::bad_request(why));
    }
    if given_version != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )));
    }
    let why = format!(
        "{given_kind} in version {version:?} cannot be handled as a {kind}: converting ({group}/{version}.{given_kind}) to ({group}/{version}.{kind}): unknown conversion"
    );
    Err(Status::bad_request(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_there_twice_is_named_with_its_line() {
        let body = b"a: 1\nspec:\n  foo: x\n  foo: z\n";
        let (value, complaint) = yaml_with_duplicates(body).unwrap();
        assert_eq!(
            (value["spec"]["foo"].as_str(), complaint.as_deref()),
            (Some("z"), Some("line 4: key \"foo\" already set in map"))
        );
    }
}
