//! What the standard library lacks
