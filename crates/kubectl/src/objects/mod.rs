//! Objects of the server and of files, whatever their kind.

mod call;
mod catalog;
mod download;
mod glob;
mod info;
mod manifest;
mod selection;
mod watch;

pub use call::Call;
pub use catalog::{Catalog, Mapping};
pub use info::{Info, Patch, Write};
pub use manifest::{Document, FILENAME_FLAGS, Files, decode_documents, members_of};
pub use selection::{Asked, Matching, NOTHING, SELECTOR_FLAGS, Selection, check_type, members, other_namespace};
pub use watch::Watcher;
