//! `kind.group/name`, alone or with what was done.

use serde_json::Value;

/// `deployment.apps/web`.
pub fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]).to_lowercase());
    let name = text(&object["metadata"]["name"]);
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// `deployment.apps/web created`.
pub fn operation(object: &Value, done: &str) -> String {
    format!("{} {done}\n", title(object))
}
