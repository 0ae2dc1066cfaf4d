//! CustomResourceDefinitions, as pure functions: the rules for a definition, the schemas that it holds, and what follows
//! from them for every object of the new kind.
//!
//! A definition is JSON, as it is stored. [`structural::Structural`] is a schema compiled for use; the verbs on it
//! (prune, default, coerce, validate) are functions over `serde_json::Value`. Names and conditions are planned in
//! [`status`], OpenAPI is published by [`openapi`].
//!
//! Must not know: HTTP, the store, clocks, strategies (they stand in `registry::apiextensions` and call this).
//! Start at [`structural`] and [`definition`].

pub mod checks;
pub mod columns;
pub mod conversion;
pub mod definition;
mod field_path;
mod json;
pub mod json_path;
pub mod openapi;
pub mod rules;
pub mod status;
pub mod structural;
