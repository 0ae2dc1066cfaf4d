//! What rows of tables are made of.

use serde_json::Value;

pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn int(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub fn count(object: &Value, pointer: &str) -> Value {
    let count = match object.pointer(pointer) {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    };
    count.into()
}

pub fn name(object: &Value) -> Value {
    text(object, "/metadata/name").into()
}

/// The text, or something else if it is empty.
pub fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// Names and images of the containers of a pod template.
pub fn containers(object: &Value, pod_spec: &str) -> (String, String) {
    let all = list(object, &format!("{pod_spec}/containers"));
    let join = |field: &str| all.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
    (join("/name"), join("/image"))
}

/// A `LabelSelector` as `kubectl` prints it.
pub fn selector(selector: Option<&Value>) -> String {
    use apimachinery::labels::Selector;
    match Selector::from_label_selector(selector) {
        Ok(selector) if selector.is_everything() || selector == Selector::nothing() => "<none>".into(),
        Ok(selector) => selector.to_string(),
        Err(_) => "<error>".into(),
    }
}

/// RFC 3339 time of creation, for kinds whose column is a date.
pub fn created_at(object: &Value) -> Value {
    text(object, "/metadata/creationTimestamp").into()
}

/// The addresses under which a load balancer is reached, in order, each once.
pub fn load_balancer(object: &Value) -> Vec<&str> {
    let entries = list(object, "/status/loadBalancer/ingress").iter();
    let mut all: Vec<&str> = entries
        .map(|entry| or(text(entry, "/ip"), text(entry, "/hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
