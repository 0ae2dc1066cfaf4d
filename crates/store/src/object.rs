//! Stored objects.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::Key;

/// The store's one clock: counts committed writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is asked of an object without parsing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Fields that selectors use, beside name and namespace.
    pub fields: Box<[(&'static str, Box<str>)]>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

impl Header {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| **name == *key).map(|(_, value)| &**value)
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| &**value)
    }
}

/// Computes headers when objects are read back from an engine.
pub trait Indexer: Send + Sync + 'static {
    fn header(&self, key: &Key, value: &Value) -> Header;
}

/// An object at one revision. It never changes.
pub struct Object {
    pub revision: Revision,
    pub header: Arc<Header>,
    json: Bytes,
    /// Where the digits of `metadata.resourceVersion` stand in `json`.
    version_at: usize,
    /// Another encoding of the same object, made when it is first asked for.
    encoded: OnceLock<Option<Bytes>>,
}

impl Object {
    pub(crate) fn new(revision: Revision, header: Arc<Header>, json: Bytes, version_at: usize) -> Self {
        Self { revision, header, json, version_at, encoded: OnceLock::new() }
    }

    /// The canonical JSON text, `metadata.resourceVersion` included. Shared, not copied.
    pub fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// The object's other encoding, by whoever asks first; all that follow share it. `None` when it has none.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Option<Bytes>) -> Option<Bytes> {
        self.encoded.get_or_init(|| encode(self)).clone()
    }

    /// The object parsed anew.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("the store wrote this JSON itself")
    }

    pub(crate) fn version_at(&self) -> usize {
        self.version_at
    }

    /// The same object under another revision: the last state of a deleted object.
    pub(crate) fn at_revision(&self, revision: Revision) -> Self {
        let digits = self.version_digits();
        let mut json = Vec::with_capacity(self.json.len() + 4);
        json.extend_from_slice(&self.json[..self.version_at]);
        json.extend_from_slice(revision.to_string().as_bytes());
        json.extend_from_slice(&self.json[self.version_at + digits..]);
        Self::new(revision, self.header.clone(), json.into(), self.version_at)
    }

    fn version_digits(&self) -> usize {
        self.json[self.version_at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.header.name, self.revision)
    }
}
