//! What the standard library lacks. Nothing yet that more than one crate needs.
