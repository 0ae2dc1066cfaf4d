//! From objects to responses: JSON, YAML and protobuf, Tables, metadata only, compression.

mod indent;
mod list;
mod wire;

use std::sync::Arc;

use apimachinery::{Status, object, strict};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use protobuf::EncodeError;
use registry::strategy::Resource;
use serde_json::{Map, Value, json};
use store::Object;

use crate::body::{Body, full};
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::negotiate::{Accept, Format, Shape};

pub use list::list;

/// Answers above this size are compressed where the client takes it.
const GZIP_BYTES_MIN: usize = 128 * 1024;

/// An object to be shown: as it is stored, or made for this answer.
#[derive(Clone)]
pub enum Item {
    Stored(Arc<Object>),
    Value(Value),
}

impl From<Arc<Object>> for Item {
    fn from(object: Arc<Object>) -> Self {
        Item::Stored(object)
    }
}

impl Item {
    /// The object as it is served, with apiVersion and kind.
    pub fn value(&self, resource: &Resource) -> Value {
        match self {
            Item::Stored(stored) => served(resource, stored),
            Item::Value(value) => value.clone(),
        }
    }

    /// Appends the JSON text; stored bytes are copied. `kind`: with apiVersion and kind, which lists leave out.
    pub fn write(&self, resource: &Resource, kind: bool, out: &mut Vec<u8>) {
        match self {
            Item::Stored(stored) if reads_as_stored(resource, stored) => splice(resource, kind, &stored.json(), out),
            Item::Stored(stored) => write_value(&served(resource, stored), kind || resource.custom.is_some(), out),
            Item::Value(value) => write_value(value, kind || resource.custom.is_some(), out),
        }
    }
}

/// The stored object as a working value: in the served version, with apiVersion and kind.
pub fn served(resource: &Resource, stored: &Object) -> Value {
    let mut value = stored.value();
    set_kind(resource, &mut value);
    if !reads_as_stored(resource, stored) {
        value = resource.strategy.from_storage(value);
        set_kind(resource, &mut value);
    }
    value
}

/// Whether the stored text is what clients get, besides kind and version.
fn reads_as_stored(resource: &Resource, stored: &Object) -> bool {
    match &resource.custom {
        None => resource.storage.is_none(),
        Some(custom) => {
            custom.storage_version == resource.version
                && stored.revision.0 >= custom.settled
                && stored_version(&stored.json()) == Some(resource.version)
        }
    }
}

/// The `apiVersion` of a stored custom object.
pub fn stored_api_version(stored: &Object) -> String {
    match stored_prefix(&stored.json()) {
        Some(api_version) => api_version.into(),
        None => object::api_version(&stored.value()).into(),
    }
}

fn stored_version(json: &[u8]) -> Option<&str> {
    stored_prefix(json)?.rsplit('/').next()
}

/// The `apiVersion` that the text of a custom object begins with. It stands first as the keys are in order, unless somebody
/// has a field that sorts before it.
fn stored_prefix(json: &[u8]) -> Option<&str> {
    let rest = json.strip_prefix(br#"{"apiVersion":""#)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

pub fn set_kind(resource: &Resource, value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".into(), resource.api_version().into());
        map.insert("kind".into(), resource.kind.into());
    }
}

/// Stored text has neither apiVersion nor kind: they are put in front. Of custom objects only the kind is missing.
fn splice(resource: &Resource, kind: bool, json: &[u8], out: &mut Vec<u8>) {
    if resource.custom.is_some() {
        out.extend_from_slice(format!(r#"{{"kind":"{}","#, resource.kind).as_bytes());
        out.extend_from_slice(&json[1..]);
        return;
    }
    if !kind {
        out.extend_from_slice(json);
        return;
    }
    let head = format!(r#"{{"kind":"{}","apiVersion":"{}""#, resource.kind, resource.api_version());
    out.extend_from_slice(head.as_bytes());
    if json.len() > 2 {
        out.push(b',');
    }
    out.extend_from_slice(&json[1..]);
}

fn write_value(value: &Value, kind: bool, out: &mut Vec<u8>) {
    if kind {
        serde_json::to_writer(out, value).expect("a value is JSON and memory does not fail");
        return;
    }
    let mut bare = value.clone();
    if let Some(map) = bare.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    serde_json::to_writer(out, &bare).expect("a value is JSON and memory does not fail");
}

/// One object in the shape that the client asked for.
pub fn object(call: &Call, code: StatusCode, resource: &Resource, item: &Item) -> Response<Body> {
    match call.shape() {
        _ if call.shape() == Shape::Object && call.accept.format == Format::Protobuf => {
            binary(call, code, wire::object(resource, item))
        }
        Shape::Object | Shape::AggregatedDiscovery => {
            let mut out = Vec::with_capacity(2048);
            item.write(resource, true, &mut out);
            text(call, code, out)
        }
        Shape::Table => {
            let value = item.value(resource);
            let version = object::resource_version(&value).to_string();
            value_response(call, code, &Table::new(call).whole(resource, &[value], json!({"resourceVersion": version})))
        }
        Shape::PartialMetadata => value_response(call, code, &partial(&item.value(resource))),
        Shape::PartialMetadataList => not_of_one(call, resource),
    }
}

fn not_of_one(call: &Call, resource: &Resource) -> Response<Body> {
    let why = format!(
        "you requested PartialObjectMetadataList, but the requested object is not a list (*{}.{})",
        resource.version, resource.kind
    );
    status(call.accept, &Status::failure(406, "NotAcceptable", why))
}

/// Any JSON value. In protobuf only those that say their kind, and have a message.
pub fn value_response(call: &Call, code: StatusCode, value: &Value) -> Response<Body> {
    match call.accept.format {
        Format::Protobuf => binary(call, code, protobuf::encode(value)),
        Format::Json | Format::Yaml => text(call, code, value.to_string().into_bytes()),
    }
}

/// A JSON document that has no other form.
pub fn json_response(call: &Call, value: &Value) -> Response<Body> {
    let accept = Accept { format: Format::Json, ..call.accept };
    plain(StatusCode::OK, Format::Json.content_type(), format_json(accept, value.to_string().into_bytes()).into())
}

/// What the wire looks like, or why there is no such thing: then the answer is a failure.
fn binary(call: &Call, code: StatusCode, encoded: Result<Vec<u8>, EncodeError>) -> Response<Body> {
    encoded.map_or_else(|error| not_encoded(call, &error), |bytes| compressed(call, code, bytes))
}

fn not_encoded(call: &Call, error: &EncodeError) -> Response<Body> {
    let failure = match error {
        EncodeError::NoMessage { .. } => Status::failure(406, "NotAcceptable", error.to_string()),
        EncodeError::Mismatch { .. } => Status::internal(error),
    };
    status(call.accept, &failure)
}

/// Only the metadata of an object.
pub fn partial(value: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": value.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// Builds Tables of one resource.
pub struct Table {
    include: Include,
    now: i64,
}

enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Table {
    pub fn new(call: &Call) -> Table {
        let include = match call.query.text("includeObject") {
            "None" => Include::Nothing,
            "Object" => Include::Object,
            _ => Include::Metadata,
        };
        Table { include, now: call.now.as_second() }
    }

    pub fn whole(&self, resource: &Resource, values: &[Value], metadata: Value) -> Value {
        let mut table = self.rows(resource, values, metadata);
        table["columnDefinitions"] = columns(resource);
        table
    }

    /// Without column definitions: what a watch sends after its first event.
    pub fn rows(&self, resource: &Resource, values: &[Value], metadata: Value) -> Value {
        let mut values: Vec<&Value> = values.iter().collect();
        resource.strategy.order_rows(&mut values);
        let rows: Vec<Value> = values.into_iter().map(|value| self.row(resource, value)).collect();
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": null,
            "rows": rows,
        })
    }

    fn row(&self, resource: &Resource, value: &Value) -> Value {
        let cells = resource.strategy.row(value, self.now);
        let object = match self.include {
            Include::Nothing => Value::Null,
            Include::Metadata => partial(value),
            Include::Object => value.clone(),
        };
        let mut row = json!({"cells": cells, "object": object});
        if let Some(condition) = completed(resource, value) {
            row["conditions"] = json!([condition]);
        }
        row
    }
}

fn columns(resource: &Resource) -> Value {
    let columns = resource.strategy.columns().iter();
    let definitions = columns.map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    definitions.collect()
}

/// Clients hide or dim the rows of what has come to its end.
fn completed(resource: &Resource, value: &Value) -> Option<Value> {
    if (resource.group, resource.kind) != ("", "Pod") {
        return None;
    }
    let (reason, message) = match value.pointer("/status/phase")?.as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
}

/// The object of a bookmark: the kind with nothing in it but a version.
pub fn bookmark(resource: &Resource, version: u64, end_of_initial: bool) -> Value {
    let mut value = strict::zero(resource.schema.node());
    set_kind(resource, &mut value);
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), version.to_string().into());
    metadata.insert("creationTimestamp".into(), Value::Null);
    if end_of_initial {
        metadata.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
    }
    value["metadata"] = Value::Object(metadata);
    value
}

/// An event of a watch in protobuf. What cannot be encoded is told as an error.
pub fn frame(kind: &str, object: &Value) -> Vec<u8> {
    match protobuf::encode(object) {
        Ok(envelope) => protobuf::event_frame(kind, &envelope),
        Err(error) => error_frame(&error),
    }
}

/// The same for an object of the resource: its encoding is shared with other watches.
pub fn item_frame(kind: &str, resource: &Resource, item: &Item) -> Vec<u8> {
    match wire::object(resource, item) {
        Ok(envelope) => protobuf::event_frame(kind, &envelope),
        Err(error) => error_frame(&error),
    }
}

fn error_frame(error: &EncodeError) -> Vec<u8> {
    let status = protobuf::encode(&Status::internal(error).to_value());
    protobuf::event_frame("ERROR", &status.unwrap_or_default())
}

/// A failure, or the success of a deletion.
pub fn status(accept: Accept, status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::OK);
    let value = status.to_value();
    let text = match accept.format {
        Format::Protobuf => protobuf::encode(&value).unwrap_or_default(),
        Format::Json | Format::Yaml => format_json(accept, value.to_string().into_bytes()),
    };
    let mut response = plain(code, accept.format.content_type(), text.into());
    if let seconds @ 1.. = status.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A document that is kept as JSON.
pub fn json_text(call: &Call, code: StatusCode, json: &[u8]) -> Response<Body> {
    match call.accept.format {
        Format::Protobuf => {
            value_response(call, code, &serde_json::from_slice(json).expect("the server wrote this JSON itself"))
        }
        Format::Json | Format::Yaml => text(call, code, json.to_vec()),
    }
}

pub fn text(call: &Call, code: StatusCode, json: Vec<u8>) -> Response<Body> {
    compressed(call, code, format_json(call.accept, json))
}

fn compressed(call: &Call, code: StatusCode, text: Vec<u8>) -> Response<Body> {
    let content_type = call.accept.format.content_type();
    if call.accept.gzip && text.len() >= GZIP_BYTES_MIN {
        return zipped(plain(code, content_type, gzip(&text).into()));
    }
    plain(code, content_type, text.into())
}

/// Says of a body that it is compressed.
fn zipped(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// From JSON as it is kept to what the client asked for.
fn format_json(accept: Accept, mut json: Vec<u8>) -> Vec<u8> {
    match accept.format {
        Format::Yaml => {
            let value: Value = serde_json::from_slice(&json).expect("the server wrote this JSON itself");
            apimachinery::yaml::to_yaml(&value).into_bytes()
        }
        _ if accept.pretty => {
            let mut lines = Vec::with_capacity(json.len() * 2);
            indent::Indenter::default().write(&json, &mut lines);
            lines
        }
        _ => {
            json.push(b'\n');
            json
        }
    }
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(text.len() / 8), flate2::Compression::fast());
    encoder.write_all(text).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

/// The client has it already.
pub fn not_modified() -> Response<Body> {
    let mut response = Response::new(crate::body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// A response with a body of any type.
pub fn plain(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    of_type(code, content_type, full(body))
}

fn of_type(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
