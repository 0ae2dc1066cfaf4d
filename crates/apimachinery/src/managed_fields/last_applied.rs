//! From client-side apply to server-side apply, for `kubectl` alone.

use serde_json::Value;

use super::field_set::FieldSet;
use crate::object;
use crate::structured_merge::{Duplicates, Place, compare, to_field_set, validate};

/// Where client-side apply remembers its configuration.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager whose configuration the annotation is.
const KUBECTL: &str = "kubectl";
/// All annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    object::annotation(object, ANNOTATION).filter(|text| !text.is_empty())
}

/// The fields that `kubectl` may take although somebody owns them: it set them by client-side apply, and they still have
/// that value.
pub fn takeable(manager: &str, live: &Value, api_version: &str, place: Place<'_>) -> Option<FieldSet> {
    if manager != KUBECTL {
        return None;
    }
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    let fits = object::api_version(&last) == api_version && validate(&last, place, Duplicates::Refused).is_ok();
    if !fits {
        return None;
    }
    let mut fields = to_field_set(&last, place);
    let comparison = compare(&last, live, place);
    for differing in [&comparison.modified, &comparison.added, &comparison.removed] {
        fields.subtract(differing);
    }
    Some(fields)
}

/// Keeps the annotation the same as the configuration that `kubectl` has applied.
pub fn follow(manager: &str, object: &mut Value, config: &Value) {
    if manager != KUBECTL || annotation(object).is_none() {
        return;
    }
    let text = configuration(config);
    let others = object::annotations(object).into_iter().flatten().filter(|(key, _)| *key != ANNOTATION);
    let others: usize = others.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if others + ANNOTATION.len() + text.len() > ANNOTATIONS_BYTES_MAX {
        let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        annotations.and_then(|annotations| annotations.remove(ANNOTATION));
    } else {
        object::set_annotation(object, ANNOTATION, &text);
    }
}

/// The configuration as Go's encoder writes it, without the annotation itself.
fn configuration(config: &Value) -> String {
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = config.to_string();
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e") + "\n"
}
