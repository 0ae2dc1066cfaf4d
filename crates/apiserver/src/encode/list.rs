//! Lists. A long one is written piece by piece as the client takes it, from the bytes that are stored: what it needs of memory
//! does not depend on its length.

use std::io::Write;
use std::sync::Arc;

use apimachinery::Status;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use super::{Item, Table, binary, columns, json_text, of_type, partial, status, text, wire, write_value, zipped};
use crate::body::{self, Body};
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::negotiate::{Format, Shape};

/// Lists of objects that are smaller than this are written at once, and answered with their length.
const WHOLE_BYTES_MAX: usize = 256 * 1024;
/// About how much is written before the client has taken it.
const PIECE_BYTES: usize = 64 * 1024;
/// What an object is taken for that is not stored as it is shown.
const VALUE_BYTES: usize = 1024;

/// A list in the shape that the client asked for.
pub fn list(call: &Call, resource: &Arc<Resource>, items: Vec<Item>, metadata: &Value) -> Response<Body> {
    let format = call.accept.format;
    match call.shape() {
        Shape::PartialMetadata => return not_of_lists(call, resource),
        Shape::Object if format == Format::Protobuf => {
            return binary(call, StatusCode::OK, wire::list(resource, &items, metadata));
        }
        _ => {}
    }
    let is_long = is_long(&items);
    let pieces = Pieces::new(call, resource, items, metadata);
    match format {
        Format::Json if is_long && !call.accept.pretty => streamed(call, pieces),
        Format::Protobuf => json_text(call, StatusCode::OK, &pieces.whole()),
        Format::Json | Format::Yaml => text(call, StatusCode::OK, pieces.whole()),
    }
}

fn not_of_lists(call: &Call, resource: &Resource) -> Response<Body> {
    let why = format!(
        "you requested PartialObjectMetadata, but the requested object is a list (*{}.{})",
        resource.version,
        resource.list_kind()
    );
    status(call.accept, &Status::failure(406, "NotAcceptable", why))
}

fn is_long(items: &[Item]) -> bool {
    let mut bytes = 0;
    items.iter().any(|item| {
        bytes += match item {
            Item::Stored(stored) => stored.json().len(),
            Item::Value(_) => VALUE_BYTES,
        };
        bytes > WHOLE_BYTES_MAX
    })
}

fn streamed(call: &Call, pieces: Pieces) -> Response<Body> {
    let content_type = Format::Json.content_type();
    let pieces = pieces.chain([Bytes::from_static(b"\n")]);
    if call.accept.gzip {
        let body = body::stream(futures::stream::iter(Zipped::new(pieces)));
        return zipped(of_type(StatusCode::OK, content_type, body));
    }
    of_type(StatusCode::OK, content_type, body::stream(futures::stream::iter(pieces)))
}

/// What becomes of each object.
enum Element {
    Object,
    Row(Table),
    Metadata,
}

/// The text of a list, in pieces.
struct Pieces {
    resource: Arc<Resource>,
    element: Element,
    /// Taken by the first piece.
    head: Vec<u8>,
    items: std::vec::IntoIter<Item>,
    is_first: bool,
    has_ended: bool,
}

impl Pieces {
    fn new(call: &Call, resource: &Arc<Resource>, items: Vec<Item>, metadata: &Value) -> Pieces {
        let (element, head) = match call.shape() {
            Shape::Table => (
                Element::Row(Table::new(call)),
                format!(
                    r#"{{"apiVersion":"meta.k8s.io/v1","columnDefinitions":{},"kind":"Table","metadata":{metadata},"rows":["#,
                    columns(resource)
                ),
            ),
            Shape::PartialMetadata | Shape::PartialMetadataList => (
                Element::Metadata,
                format!(
                    r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadataList","metadata":{metadata},"items":["#
                ),
            ),
            Shape::Object | Shape::AggregatedDiscovery => (
                Element::Object,
                format!(
                    r#"{{"kind":"{}","apiVersion":"{}","metadata":{metadata},"items":["#,
                    resource.list_kind(),
                    resource.api_version()
                ),
            ),
        };
        let items = items.into_iter();
        Pieces { resource: resource.clone(), element, head: head.into_bytes(), items, is_first: true, has_ended: false }
    }

    /// All of it.
    fn whole(mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.items.len() * 1024);
        while !self.has_ended {
            let until = out.len() + PIECE_BYTES;
            self.write(&mut out, until);
        }
        out
    }

    /// Writes until `out` has so many bytes, or to the end.
    fn write(&mut self, out: &mut Vec<u8>, until: usize) {
        out.append(&mut self.head);
        while out.len() < until {
            let Some(item) = self.items.next() else {
                out.extend_from_slice(b"]}");
                self.has_ended = true;
                return;
            };
            if !std::mem::take(&mut self.is_first) {
                out.push(b',');
            }
            self.write_item(&item, out);
        }
    }

    fn write_item(&self, item: &Item, out: &mut Vec<u8>) {
        match &self.element {
            Element::Object => item.write(&self.resource, false, out),
            Element::Row(table) => write_value(&table.row(&self.resource, &item.value(&self.resource)), true, out),
            Element::Metadata => write_value(&partial(&item.value(&self.resource)), true, out),
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        self.write(&mut out, PIECE_BYTES);
        Some(out.into())
    }
}

/// Compresses pieces as they come.
struct Zipped<I> {
    pieces: I,
    /// Absent at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I> Zipped<I> {
    fn new(pieces: I) -> Zipped<I> {
        Zipped { pieces, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Zipped<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut encoder = self.encoder.take()?;
        for piece in self.pieces.by_ref() {
            encoder.write_all(&piece).expect("memory does not fail");
            if encoder.get_ref().len() >= PIECE_BYTES {
                let zipped = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
                return Some(zipped.into());
            }
        }
        Some(encoder.finish().expect("memory does not fail").into())
    }
}
