//! Kubernetes objects in protobuf, byte for byte as Go writes them: from JSON to the wire and back, driven by
//! [`api::proto`]'s tables.
//!
//! An object on the wire is an *envelope*: a magic number, then a message `Unknown` that holds apiVersion, kind and the
//! object's own message (*raw*). Lists hold raw messages, events of a watch hold whole envelopes.
//!
//! Must not know: HTTP, requests, which kinds are served. Start at [`encode`] and [`decode`].

mod decode;
mod encode;
mod envelope;
mod list;
mod wire;

pub use decode::DecodeError;
pub use encode::EncodeError;
pub use envelope::{MAGIC, envelope, event_frame};
pub use list::List;
pub use wire::{Payload, Reader, Writer};

use api::proto::Message;
use serde_json::Value;

/// The media type of an object in protobuf.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The message of a kind; `None` when the kind has no protobuf form.
pub fn message(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = apimachinery::gvk::split_api_version(api_version);
    // Options stand in every group, but are declared once.
    let options = || kind.ends_with("Options").then(|| api::proto::kind("", "v1", kind)).flatten();
    api::proto::kind(group, version, kind).or_else(options)
}

/// The object in its envelope, by its own apiVersion and kind. Discovery documents of old have none: they are `v1`.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (if text("apiVersion").is_empty() { "v1" } else { text("apiVersion") }, text("kind"));
    let message = message(api_version, kind).ok_or_else(|| EncodeError::NoMessage { kind: kind.to_owned() })?;
    Ok(envelope(api_version, kind, &raw(message, object)?))
}

/// The object's own message, without an envelope.
pub fn raw(message: &'static Message, object: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::default();
    encode::object(message, object, &mut out)?;
    Ok(out.finish())
}

/// apiVersion and kind of an envelope, if it is one.
pub fn kind_of<'a>(body: &'a [u8], expected: (&'a str, &'a str)) -> Option<(&'a str, &'a str)> {
    Some(envelope::Envelope::open(body).ok()?.kind_or(expected))
}

/// The object of an envelope, with its apiVersion and kind. What the envelope leaves open is as expected.
pub fn decode(body: &[u8], expected: (&str, &str)) -> Result<Value, DecodeError> {
    let found = envelope::Envelope::open(body)?;
    let (api_version, kind) = found.kind_or(expected);
    let message = message(api_version, kind)
        .ok_or_else(|| DecodeError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() })?;
    let mut object = decode::object(message, found.raw)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}
