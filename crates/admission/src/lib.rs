//! The admission chain
