//! Documents about what is served. Each is made when somebody first asks for it, and stays while the catalog does.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::openapi::Swagger;

/// A text and its digest, which clients compare.
#[derive(Clone)]
pub struct Document {
    pub text: Bytes,
    pub hash: String,
}

impl Document {
    pub fn new(value: &Value) -> Document {
        let text = value.to_string();
        let hash = hexadecimal(&Sha256::digest(text.as_bytes()));
        Document { text: text.into(), hash }
    }

    pub fn etag(&self) -> String {
        format!("\"{}\"", self.hash)
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A document whose hash is known before its text.
pub struct Page {
    pub hash: String,
    text: OnceLock<Bytes>,
}

impl Page {
    pub fn now(value: &Value) -> Page {
        let Document { text, hash } = Document::new(value);
        Page { hash, text: text.into() }
    }

    pub fn later(digest: &[u8]) -> Page {
        Page { hash: hexadecimal(digest), text: OnceLock::new() }
    }

    pub fn text(&self, make: impl FnOnce() -> Value) -> Bytes {
        self.text.get_or_init(|| make().to_string().into()).clone()
    }

    pub fn etag(&self) -> String {
        format!("\"{}\"", self.hash)
    }
}

/// All documents about one catalog.
#[derive(Default)]
pub struct Documents {
    aggregated_core: OnceLock<Document>,
    aggregated_groups: OnceLock<Document>,
    openapi: OnceLock<BTreeMap<String, Arc<Page>>>,
    /// The last one, and what others had said when it was made.
    swagger: Mutex<Option<(String, Arc<Swagger>)>>,
}

impl Documents {
    /// Aggregated discovery of the core group, or of the named ones.
    pub fn aggregated(&self, core: bool, make: impl FnOnce() -> Value) -> &Document {
        let place = if core { &self.aggregated_core } else { &self.aggregated_groups };
        place.get_or_init(|| Document::new(&make()))
    }

    /// OpenAPI v3: one document for each group and version, by its path.
    pub fn openapi(&self, make: impl FnOnce() -> BTreeMap<String, Arc<Page>>) -> &BTreeMap<String, Arc<Page>> {
        self.openapi.get_or_init(make)
    }

    /// OpenAPI v2; another one when others say something else.
    pub fn swagger(&self, others: &str, make: impl FnOnce() -> Swagger) -> Arc<Swagger> {
        let mut kept = self.swagger.lock();
        match &*kept {
            Some((known, swagger)) if known == others => swagger.clone(),
            _ => {
                let swagger = Arc::new(make());
                *kept = Some((others.to_owned(), swagger.clone()));
                swagger
            }
        }
    }
}
