//! Who owns which field: `metadata.managedFields`.
//!
//! [`FieldSet`] is a set of paths, in memory and as `FieldsV1`; [`compare`] says which paths differ between two objects
//! of a kind; [`update`] keeps the entries on a write that is not an apply. Server-side apply is built from the same.

mod compare;
mod entries;
mod field_set;

pub use compare::{Comparison, compare};
pub use entries::{Entry, Manager, decode, encode, same_but_for_times, update};
pub use field_set::{FieldSet, PathElement};
