//! Values against a schema, with the words of upstream's OpenAPI validator.

pub mod formats;
mod limits;
pub use limits::go_print as go_text;
mod outcome;
pub mod pattern;
#[cfg(test)]
mod tests;
mod value;

use apimachinery::field::{ErrorList, Path};
use serde_json::Value;

use crate::structural::{Correlated, Structural};

/// A path that is not there prints like this. Upstream's clients see it.
pub const NO_PATH: &str = "<nil>";

/// Judges a new value.
pub fn validate(value: &Value, schema: &Structural, path: &Path) -> ErrorList {
    value::Judge { before: None, nested: false }.judge(value, schema, "").into_errors(path)
}

/// Judges a change: what did not change may be as wrong as it was.
pub fn validate_update(value: &Value, old: Option<&Value>, schema: &Structural, path: &Path) -> ErrorList {
    let before = old.map(|old| Correlated::new(value, old, schema));
    value::Judge { before, nested: false }.judge(value, schema, "").into_errors(path)
}
