//! Objects in protobuf. What a stored object is on the wire is found out once and shared by all who ask.

use api::proto::Message;
use bytes::Bytes;
use protobuf::EncodeError;
use registry::strategy::Resource;
use serde_json::Value;

use super::Item;
use crate::catalog::ResourceExt;

type Result<T> = std::result::Result<T, EncodeError>;

fn message(resource: &Resource) -> Result<&'static Message> {
    let found = protobuf::message(&resource.api_version(), resource.kind);
    found.ok_or_else(|| EncodeError::NoMessage { kind: resource.kind.to_string() })
}

/// The object's own message. One that is stored in another version than it is served in is encoded anew.
fn raw(resource: &Resource, item: &Item) -> Result<Bytes> {
    let message = message(resource)?;
    if let (Item::Stored(stored), None) = (item, resource.storage) {
        let shared = stored.encoded(|stored| protobuf::raw(message, &stored.value()).ok().map(Bytes::from));
        if let Some(shared) = shared {
            return Ok(shared);
        }
    }
    protobuf::raw(message, &item.value(resource)).map(Bytes::from)
}

pub fn object(resource: &Resource, item: &Item) -> Result<Vec<u8>> {
    Ok(protobuf::envelope(&resource.api_version(), resource.kind, &raw(resource, item)?))
}

pub fn list(resource: &Resource, items: &[Item], metadata: &Value) -> Result<Vec<u8>> {
    let (api_version, kind) = (resource.api_version(), resource.list_kind());
    let message = protobuf::message(&api_version, &kind);
    let list = message.and_then(|message| protobuf::List::new(message, metadata));
    let mut list = list.ok_or_else(|| EncodeError::NoMessage { kind: kind.clone() })?;
    for item in items {
        list.push(&raw(resource, item)?);
    }
    Ok(protobuf::envelope(&api_version, &kind, &list.finish()))
}
