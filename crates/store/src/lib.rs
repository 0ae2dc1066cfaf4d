//! A revisioned key-value store with watch: one commit log, one read model.
//!
//! Every write is validated against the newest state, committed to the [`engine::Engine`] together with all writes
//! that wait (one fsync), and then published to the read model and to the event log that watchers read. There is no
//! cache that follows from afar: the read model *is* the state, so a read needs no disk and is never stale.
//!
//! Must not know: HTTP, kinds, selectors; an object is its JSON text and a [`Header`] that the caller computes.
//! Start at [`Store`].

mod draft;
pub mod engine;
mod event_log;
mod key;
mod labels;
mod object;
mod recent;
mod snapshot;
mod store;
mod writer;

pub use draft::Draft;
pub use event_log::{Compacted, Event, Lagged, Watcher};
pub use key::{Key, Prefix};
pub use object::{Header, Indexer, Object, Revision};
pub use snapshot::Snapshot;
pub use store::{OpenError, Options, Step, Store, UpdateError};
pub use writer::{Companion, WriteError};
