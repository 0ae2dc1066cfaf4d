//! Lists. A long one is written piece by piece as the client takes it, from the bytes that are stored: what it needs of memory
//! does not depend on its length.

use std::io::Write;
use std::sync::Arc;

use apimachinery::Status;
use apimachinery::yaml::Listing;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use super::indent::Indenter;
use super::{Item, Table, columns, compressed, not_encoded, of_type, partial, status, wire, write_value, zipped};
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

/// What can be written piece by piece.
pub trait Pieces: Send + Sync + 'static {
    /// Writes until `out` has so many bytes, or to the end: then nothing is left.
    fn write(&mut self, out: &mut Vec<u8>, until: usize) -> bool;
}

/// A list in the shape that the client asked for.
pub fn list(call: &Call, resource: &Arc<Resource>, items: Vec<Item>, metadata: &Value) -> Response<Body> {
    let is_long = is_long(&items);
    let wire = match (call.accept.format, call.shape()) {
        (_, Shape::PartialMetadata) => return not_of_lists(call, resource),
        (Format::Protobuf, Shape::PartialMetadataList) => wire::List::metadata(resource, &items, metadata),
        (Format::Protobuf, _) => wire::List::objects(resource, &items, metadata),
        _ => return written(call, is_long, Text::new(call, resource, items, metadata)),
    };
    wire.map_or_else(|error| not_encoded(call, &error), |list| written(call, is_long, list))
}

fn written(call: &Call, is_long: bool, mut pieces: impl Pieces) -> Response<Body> {
    let content_type = call.accept.format.content_type();
    if !is_long {
        let mut whole = Vec::new();
        while pieces.write(&mut whole, usize::MAX) {}
        return compressed(call, StatusCode::OK, whole);
    }
    let pieces = Streamed(Some(pieces));
    if call.accept.gzip {
        let body = body::stream(futures::stream::iter(Zipped::new(pieces)));
        return zipped(of_type(StatusCode::OK, content_type, body));
    }
    of_type(StatusCode::OK, content_type, body::stream(futures::stream::iter(pieces)))
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

/// What becomes of each object.
enum Element {
    Object,
    Row(Table),
    Metadata,
}

/// The text of a list.
struct Text {
    resource: Arc<Resource>,
    element: Element,
    items: std::vec::IntoIter<Item>,
    /// Empty once it is written.
    head: Vec<u8>,
    between: &'static [u8],
    tail: Vec<u8>,
    is_first: bool,
    is_yaml: bool,
    indenter: Option<Indenter>,
}

impl Text {
    fn new(call: &Call, resource: &Arc<Resource>, items: Vec<Item>, metadata: &Value) -> Text {
        let (element, head) = match call.shape() {
            Shape::Table => (
                Element::Row(Table::new(call)),
                format!(
                    r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"columnDefinitions":{},"rows":["#,
                    columns(resource)
                ),
            ),
            Shape::PartialMetadata | Shape::PartialMetadataList => (
                Element::Metadata,
                format!(
                    r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"items":["#
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
        let (items, resource) = (items.into_iter(), resource.clone());
        let accept = call.accept;
        let end = if items.len() == 0 && is_null_when_empty(&element, &resource) { "null}" } else { "]}" };
        let head = if end == "]}" { head } else { head.trim_end_matches('[').to_owned() };
        let (head, between, tail): (_, &[u8], _) = match accept.format {
            Format::Yaml => yaml_around(&head, end, &element, items.len()),
            _ if accept.pretty => (head, b",", end.to_owned()),
            _ => (head, b",", format!("{end}\n")),
        };
        let (head, tail) = (head.into_bytes(), tail.into_bytes());
        let is_yaml = accept.format == Format::Yaml;
        let indenter = (accept.pretty && !is_yaml).then(Indenter::default);
        Text { resource, element, items, head, between, tail, is_first: true, is_yaml, indenter }
    }

    /// The next item with what stands before it; without one, the end.
    fn write_next(&mut self, item: Option<&Item>, out: &mut Vec<u8>) {
        out.append(&mut self.head);
        let Some(item) = item else {
            out.append(&mut self.tail);
            return;
        };
        if !std::mem::take(&mut self.is_first) {
            out.extend_from_slice(self.between);
        }
        if self.is_yaml {
            let mut json = Vec::new();
            self.write_item(item, &mut json);
            let value = serde_json::from_slice(&json).expect("the server wrote this JSON itself");
            out.extend_from_slice(Listing::item(&value).as_bytes());
        } else {
            self.write_item(item, out);
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

/// A Go list that was never filled: rows are, where a kind has a printer of its own.
fn is_null_when_empty(element: &Element, resource: &Resource) -> bool {
    let has_printer = || !resource.strategy.columns().iter().any(|column| column.name == "Created At");
    match element {
        Element::Object => false,
        Element::Metadata => true,
        Element::Row(_) => resource.custom.is_some() || !has_printer(),
    }
}

/// The same around the items as in JSON, in YAML, whose keys are in order.
fn yaml_around(head: &str, end: &str, element: &Element, items: usize) -> (String, &'static [u8], String) {
    let empty: Value = serde_json::from_str(&format!("{head}{end}")).expect("the server wrote this JSON itself");
    if items == 0 {
        return (apimachinery::yaml::to_yaml(&empty), b"", String::new());
    }
    let key = if matches!(element, Element::Row(_)) { "rows" } else { "items" };
    let listing = Listing::new(empty.as_object().expect("a list is an object"), key);
    (listing.before, b"", listing.after)
}

impl Pieces for Text {
    fn write(&mut self, out: &mut Vec<u8>, until: usize) -> bool {
        while out.len() < until {
            let item = self.items.next();
            if let Some(mut indenter) = self.indenter.take() {
                let mut text = Vec::new();
                self.write_next(item.as_ref(), &mut text);
                indenter.write(&text, out);
                self.indenter = Some(indenter);
            } else {
                self.write_next(item.as_ref(), out);
            }
            if item.is_none() {
                return false;
            }
        }
        true
    }
}

/// Piece by piece, as the client takes them.
struct Streamed<P>(Option<P>);

impl<P: Pieces> Iterator for Streamed<P> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let pieces = self.0.as_mut()?;
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        if !pieces.write(&mut out, PIECE_BYTES) {
            self.0 = None;
        }
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
