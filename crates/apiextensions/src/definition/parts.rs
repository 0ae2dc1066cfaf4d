//! Rules for subresources, printer columns and selectable fields.

use apimachinery::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use crate::field_path;
use crate::json::{field, text};
use crate::structural::{Structural, Type};

const SELECTABLE_MAX: usize = 8;
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "string"];

pub fn subresources(subresources: Option<&Value>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(scale) = subresources.and_then(|found| field(found, "scale")) else { return errors };
    let path = path.child("scale");
    for (name, prefix) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let (value, at) = (text(scale, name), path.child(name));
        if value.is_empty() {
            errors.required(&at, "");
        } else {
            let detail = format!("should be a json path under {}", prefix.trim_end_matches('.'));
            under(value, &at, &[prefix], &detail, &mut errors);
        }
    }
    let selector = text(scale, "labelSelectorPath");
    if !selector.is_empty() {
        let detail = "should be a json path under either .spec or .status";
        under(selector, &path.child("labelSelectorPath"), &[".spec.", ".status."], detail, &mut errors);
    }
    errors
}

fn under(value: &str, path: &Path, prefixes: &[&str], detail: &str, errors: &mut ErrorList) {
    if !simple_json_path(value, path, errors) {
        return;
    }
    if !prefixes.iter().any(|prefix| value.starts_with(prefix)) {
        errors.invalid(path, value, detail);
    }
}

fn simple_json_path(value: &str, path: &Path, errors: &mut ErrorList) -> bool {
    let good = value.starts_with('.');
    if !good {
        errors.invalid(path, value, "must be a simple json path starting with .");
    }
    good
}

pub fn column(column: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if text(column, "name").is_empty() {
        errors.required(&path.child("name"), "");
    }
    let (kind, types) = (text(column, "type"), format!("must be one of {}", COLUMN_TYPES.join(",")));
    if kind.is_empty() {
        errors.required(&path.child("type"), &types);
    } else if !COLUMN_TYPES.contains(&kind) {
        errors.invalid(&path.child("type"), kind, types);
    }
    let format = text(column, "format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        errors.invalid(&path.child("format"), format, format!("must be one of {}", COLUMN_FORMATS.join(",")));
    }
    let (json_path, at) = (text(column, "jsonPath"), path.child("JSONPath"));
    if json_path.is_empty() {
        errors.required(&at, "");
    } else {
        simple_json_path(json_path, &at, &mut errors);
    }
    errors
}

/// `grandfathered` says that there were too many of them before, and that they are the same.
pub fn selectable(fields: &[Value], schema: &Structural, path: &Path, grandfathered: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut known: Vec<String> = Vec::new();
    for (index, selectable) in fields.iter().enumerate() {
        let (json_path, at) = (text(selectable, "jsonPath"), path.index(index).child("jsonPath"));
        if json_path.is_empty() {
            errors.required(&at, "");
            continue;
        }
        match field_path::resolve(json_path, schema, false) {
            Err(why) => errors.invalid(&at, json_path, format!("is an invalid path: {why}")),
            Ok(found) => {
                let again = known.contains(&found.path);
                errors.extend(misplaced(json_path, &found, &at));
                if again {
                    errors.duplicate(&at, json_path);
                } else {
                    known.push(found.path);
                }
            }
        }
    }
    if known.len() > SELECTABLE_MAX && !grandfathered {
        errors.push(FieldError::too_many(path, known.len(), SELECTABLE_MAX));
    }
    errors
}

pub fn too_many(fields: &[Value]) -> bool {
    fields.len() > SELECTABLE_MAX
}

fn misplaced(json_path: &str, found: &field_path::Found<'_>, at: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if found.path.split(['.', '[']).next() == Some("metadata") {
        errors.push(FieldError::invalid(at, json_path, "must not point to fields in metadata"));
    }
    if !matches!(found.schema.ty, Type::String | Type::Boolean | Type::Integer) {
        let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                      formats are allowed.";
        errors.push(FieldError::invalid(at, json_path, detail));
    }
    errors
}
