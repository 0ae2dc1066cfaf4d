//! Names of the new kind.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::is_dns1035_label;
use serde_json::Value;

use crate::json::{list, text};

/// Well-formed, where given.
pub fn validate(names: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for name in ["plural", "singular"] {
        label(text(names, name), &path.child(name), &mut errors);
    }
    for name in ["kind", "listKind"] {
        let value = text(names, name);
        let wrong = if value.is_empty() { Vec::new() } else { is_dns1035_label(&value.to_lowercase()) };
        if !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&path.child(name), value, detail);
        }
    }
    elements(names, "shortNames", path, &mut errors);
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        errors.invalid(&path.child("listKind"), kind, "kind and listKind may not be the same");
    }
    elements(names, "categories", path, &mut errors);
    errors
}

fn label(value: &str, path: &Path, errors: &mut ErrorList) {
    let wrong = if value.is_empty() { Vec::new() } else { is_dns1035_label(value) };
    if !wrong.is_empty() {
        errors.invalid(path, value, wrong.join(","));
    }
}

fn elements(names: &Value, field: &str, path: &Path, errors: &mut ErrorList) {
    for (index, value) in list(names, field).iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let wrong = is_dns1035_label(value);
        if !wrong.is_empty() {
            errors.invalid(&path.child(field).index(index), value, wrong.join(","));
        }
    }
}
