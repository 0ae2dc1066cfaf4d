//! Objects in protobuf. What a stored object is on the wire is found out once and shared by all who ask.

use api::proto::Message;
use bytes::Bytes;
use protobuf::EncodeError;
use registry::strategy::Resource;
use serde_json::Value;

use super::list::Pieces;
use super::{Item, partial};
use crate::catalog::ResourceExt;

const META: &str = "meta.k8s.io/v1";

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

/// The messages of a list's items, which are shared with all who list them, and what stands around them.
pub struct List {
    around: protobuf::List,
    items: std::vec::IntoIter<Bytes>,
    is_first: bool,
}

impl List {
    pub fn objects(resource: &Resource, items: &[Item], metadata: &Value) -> Result<List> {
        let raws = items.iter().map(|item| raw(resource, item)).collect::<Result<_>>()?;
        List::new(&resource.api_version(), &resource.list_kind(), raws, metadata)
    }

    /// Only the metadata of the objects.
    pub fn metadata(resource: &Resource, items: &[Item], metadata: &Value) -> Result<List> {
        let message = protobuf::message(META, "PartialObjectMetadata").expect("a message of the schema's");
        let raw = |item: &Item| protobuf::raw(message, &partial(&item.value(resource))).map(Bytes::from);
        let raws = items.iter().map(raw).collect::<Result<_>>()?;
        List::new(META, "PartialObjectMetadataList", raws, metadata)
    }

    fn new(api_version: &str, kind: &str, raws: Vec<Bytes>, metadata: &Value) -> Result<List> {
        let around = protobuf::List::new(api_version, kind, metadata, raws.iter().map(Bytes::len))?;
        Ok(List { around, items: raws.into_iter(), is_first: true })
    }
}

impl Pieces for List {
    fn write(&mut self, out: &mut Vec<u8>, until: usize) -> bool {
        if std::mem::take(&mut self.is_first) {
            out.append(&mut self.around.take_head());
        }
        while out.len() < until {
            let Some(raw) = self.items.next() else {
                out.extend_from_slice(self.around.tail());
                return false;
            };
            self.around.item(&raw, out);
        }
        true
    }
}
