//! Fields of structs that stand in a set only through what lies below them.

use super::shape::{self, Place};
use crate::managed_fields::{FieldSet, PathElement};

/// The set with every named field that lies on the way to a member. Keys of maps and items are members only when
/// somebody says so.
pub fn with_named_fields(set: &FieldSet, place: Place<'_>) -> FieldSet {
    let mut out = FieldSet::new();
    for element in set.members() {
        out.put(element.clone(), true, FieldSet::new());
    }
    for (element, below) in set.children() {
        let (named, child) = match element {
            PathElement::Field(name) => (shape::names(place, name), shape::field(place, name)),
            PathElement::Key(_) => (false, shape::item(place)),
            _ => (false, None),
        };
        out.put(element.clone(), named, with_named_fields(below, child));
    }
    out
}
