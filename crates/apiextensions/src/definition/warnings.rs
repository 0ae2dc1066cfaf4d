//! What is let in, but does less than it seems to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::form::Form;
use super::visit;
use crate::checks::formats;
use crate::json::{field, text};
use crate::structural::Type;

/// Texts for the `Warning` header: what the old definition was warned of is not told again.
pub fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known: Vec<String> = old.map(all).unwrap_or_default();
    all(new).into_iter().filter(|warning| !known.contains(warning)).collect()
}

fn all(definition: &Value) -> Vec<String> {
    let form = Form::of(definition);
    let (mut formats, mut sets) = (Vec::new(), BTreeSet::new());
    for schema in form.schemas() {
        visit::any(schema, &mut |schema| {
            formats.extend(unknown_format(schema));
            sets.extend(set_of_compounds(schema));
            false
        });
    }
    formats.into_iter().chain(sets).collect()
}

fn unknown_format(schema: &Value) -> Option<String> {
    let format = text(schema, "format");
    let known = format.is_empty() || formats::is_supported(format, Type::of(text(schema, "type")));
    (!known).then(|| format!("unrecognized format {}", apimachinery::status::quote(format)))
}

fn set_of_compounds(schema: &Value) -> Option<String> {
    let ty = text(field(schema, "items")?, "type");
    let odd = text(schema, "x-kubernetes-list-type") == "set" && ["object", "array"].contains(&ty);
    odd.then(|| {
        format!(
            "x-kubernetes-list-type: set for items of type {ty:?} is not supported by server-side apply or CEL \
             validation rules"
        )
    })
}
