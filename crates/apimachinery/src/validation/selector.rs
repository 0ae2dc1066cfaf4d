//! Validation of `LabelSelector` objects.

use serde_json::Value;

use super::{is_label_value, is_qualified_name};
use crate::field::{ErrorList, Path};

/// The rules of a `LabelSelector`; an absent one is valid.
pub fn label_selector(selector: &Value, path: &Path) -> ErrorList {
    let mut errors = super::object_meta::labels(&selector["matchLabels"], &path.child("matchLabels"));
    errors.append(label_selector_requirements(&selector["matchExpressions"], &path.child("matchExpressions")));
    errors
}

pub fn label_selector_requirements(expressions: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (index, expression) in expressions.as_array().into_iter().flatten().enumerate() {
        errors.append(requirement(expression, &path.index(index)));
    }
    errors
}

fn requirement(expression: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    match expression["operator"].as_str().unwrap_or_default() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors
                .forbidden(&path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    let key = expression["key"].as_str().unwrap_or_default();
    errors.invalid_all(&path.child("key"), key, is_qualified_name(key));
    for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
        errors.invalid_all(&path.child("values").index(index), value, is_label_value(value));
    }
    errors
}
