//! Where commits are made durable.

mod memory;
mod redb;

pub use memory::Memory;
pub use redb::Redb;

use bytes::Bytes;

use crate::{Key, Revision};

/// One object as an engine keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub revision: Revision,
    pub json: Bytes,
    /// Where the revision's digits stand in `json`.
    pub version_at: usize,
}

/// One commit as an engine keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub revision: Revision,
    pub key: Key,
    pub old: Option<Stored>,
    /// `Ok` the new state, `Err` the last state of a deleted object under the deletion's revision.
    pub new: Result<Stored, Stored>,
}

/// What an engine holds when it is opened.
#[derive(Debug, Default)]
pub struct Loaded {
    pub revision: Revision,
    /// Watches may begin here or later.
    pub floor: Revision,
    pub objects: Vec<(Key, Stored)>,
    /// Every commit after `floor`, in order.
    pub log: Vec<Record>,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{operation} the database {path}")]
    Database {
        operation: &'static str,
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the database {path} is damaged: {what}")]
    Damaged { path: String, what: String },
}

/// Keeps commits. Used by one thread.
pub trait Engine: Send {
    fn load(&mut self) -> Result<Loaded, EngineError>;

    /// Makes all records durable, or none. Forgets log records up to and with `floor`.
    fn commit(&mut self, records: &[Record], floor: Revision) -> Result<(), EngineError>;

    /// After a failed commit: gets ready for the next, and tells the newest revision that is durable.
    fn recover(&mut self) -> Result<Revision, EngineError>;
}
