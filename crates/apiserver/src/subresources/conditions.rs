//! Conditions that the server itself puts into a status.

use apimachinery::object;
use serde_json::{Value, json};

/// Sets the condition of its type; the time of its last transition stays while its status is what it was.
pub fn set(object: &mut Value, mut condition: Value, now: &str) {
    let conditions = object::child_mut(object, "status").entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else { return };
    let own = list.iter_mut().find(|own| own["type"] == condition["type"]);
    let since = own.as_ref().filter(|own| own["status"] == condition["status"]).map(|own| &own["lastTransitionTime"]);
    condition["lastTransitionTime"] = since.filter(|time| !time.is_null()).cloned().unwrap_or_else(|| now.into());
    match own {
        Some(own) => *own = condition,
        None => list.push(condition),
    }
}
