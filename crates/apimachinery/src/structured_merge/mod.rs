//! Objects as trees that several people own: which fields a value has, how two values differ, how one is laid over the
//! other, and how fields are taken out again.
//!
//! Everything is asked of a value and its [`Place`] in a schema. A place without a schema is *deduced*: objects are
//! walked field by field, lists are atomic. Start at [`shape::Shape`], which says what a value is at its place.

mod compare;
mod extract;
mod field_set;
#[cfg(test)]
mod laws;
mod merge;
mod named;
mod reconcile;
mod shape;
mod validate;

pub use compare::{Comparison, compare};
pub use extract::{extract_items, remove_items};
pub use field_set::to_field_set;
pub use merge::merge;
pub use named::with_named_fields;
pub use reconcile::reconcile;
pub use shape::Place;
pub use validate::{Duplicates, Problem, Problems, validate};
