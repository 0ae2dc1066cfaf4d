//! Validation of the numbers in a status.

use apimachinery::field::ErrorList;
use serde_json::Value;

use crate::at::At;

/// None of these may be negative.
pub fn not_negative(status: &At<'_>, fields: &[&str], errors: &mut ErrorList) {
    fields.iter().for_each(|field| status.at(field).not_negative(errors));
}

/// None of these may be more than `all`, which is named `shown`.
pub fn at_most(status: &At<'_>, fields: &[&str], all: &str, shown: &str, errors: &mut ErrorList) {
    let all = status.at(all).int().unwrap_or_default();
    for at in fields.iter().map(|field| status.at(field)).filter(|at| at.int().is_some_and(|count| count > all)) {
        at.invalid(errors, &format!("cannot be greater than {shown}"));
    }
}

/// What counts collisions of names never goes back.
pub fn collisions(status: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let now = status.at("collisionCount");
    now.not_negative(errors);
    let before = old.pointer("/status/collisionCount").and_then(Value::as_i64);
    if before.is_some_and(|before| now.int().is_none_or(|now| now < before)) {
        errors.invalid(&now.path, now.int().unwrap_or_default(), "cannot be decremented");
    }
}

/// The status of replica sets and replication controllers.
pub fn replicas(status: &At<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    not_negative(status, &["replicas", "observedGeneration", "terminatingReplicas"], &mut errors);
    not_negative(status, &parts, &mut errors);
    at_most(status, &parts, "replicas", "status.replicas", &mut errors);
    at_most(status, &["availableReplicas"], "readyReplicas", "readyReplicas", &mut errors);
    errors
}
