//! What is let in, but does less than it seems to.

use serde_json::Value;

use super::form::Form;
use super::visit;
use crate::checks::formats;
use crate::json::text;
use crate::structural::Type;

/// Texts for the `Warning` header: what the old definition was warned of is not told again.
pub fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known: Vec<String> = old.map(all).unwrap_or_default();
    all(new).into_iter().filter(|warning| !known.contains(warning)).collect()
}

fn all(definition: &Value) -> Vec<String> {
    let form = Form::of(definition);
    let mut formats = Vec::new();
    for schema in form.schemas() {
        visit::any(schema, &mut |schema| {
            formats.extend(unknown_format(schema));
            false
        });
    }
    formats
}

fn unknown_format(schema: &Value) -> Option<String> {
    let format = text(schema, "format");
    let known = format.is_empty() || formats::is_supported(format, Type::of(text(schema, "type")));
    (!known).then(|| format!("unrecognized format {}", apimachinery::status::quote(format)))
}
