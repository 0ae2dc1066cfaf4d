//! The machinery of the API, pure and synchronous: names of things, selectors, quantities, `Status`, validation of
//! metadata, strict decoding, patches and managed fields.
//!
//! Objects are `serde_json::Value`: exactly what the client sent, whatever the version. What a field is, is asked of
//! `api::schema`.
//!
//! Must not know: HTTP, storage, clocks (a time is passed in), the strategies of kinds.
//! Start at [`status::Status`] and [`object`]; patches and managed fields are in [`patch`] and [`managed_fields`],
//! the merge behind server-side apply in [`structured_merge`].

pub mod field;
pub mod fields;
pub mod gvk;
pub mod labels;
pub mod managed_fields;
pub mod names;
pub mod nodes;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod status;
pub mod strict;
pub mod structured_merge;
pub mod table;
pub mod time;
pub mod validation;
pub mod yaml;

pub use gvk::{GroupKind, GroupResource, Gvk, Gvr, ObjectKey};
pub use quantity::Quantity;
pub use status::Status;
