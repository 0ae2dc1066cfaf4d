//! Where a variable's value comes from when it is not written down.

use apimachinery::quantity::Quantity;
use serde_json::Value;

use crate::objects::Info;
use crate::session::Session;

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

/// `configmap a, key b`.
pub fn described(source: &Value) -> String {
    let keyed = |what: &str, from: &Value| format!("{what} {}, key {}", text(from, "name"), text(from, "key"));
    if source["configMapKeyRef"].is_object() {
        return keyed("configmap", &source["configMapKeyRef"]);
    }
    if source["secretKeyRef"].is_object() {
        return keyed("secret", &source["secretKeyRef"]);
    }
    if source["fieldRef"].is_object() {
        return format!("field path {}", text(&source["fieldRef"], "fieldPath"));
    }
    let field = &source["resourceFieldRef"];
    if !field.is_object() {
        return "invalid valueFrom".to_owned();
    }
    let container = text(field, "containerName");
    let slash = if container.is_empty() { "" } else { "/" };
    format!("resource field {container}{slash}{}", text(field, "resource"))
}

/// Looks values up for one object; what was read is kept.
pub struct Lookup<'a> {
    session: &'a Session,
    info: &'a Info,
    read: Vec<Info>,
}

impl<'a> Lookup<'a> {
    pub fn new(session: &'a Session, info: &'a Info) -> Self {
        Self { session, info, read: Vec::new() }
    }

    pub async fn value(&mut self, source: &Value, container: &Value) -> Result<String, String> {
        if source["secretKeyRef"].is_object() {
            let encoded = self.key("secrets", "secret", &source["secretKeyRef"]).await?;
            return decoded(&encoded);
        }
        if source["configMapKeyRef"].is_object() {
            return self.key("configmaps", "config map", &source["configMapKeyRef"]).await;
        }
        if source["fieldRef"].is_object() {
            return field(&self.info.object, text(&source["fieldRef"], "fieldPath"));
        }
        match &source["resourceFieldRef"] {
            Value::Object(_) => resource(&source["resourceFieldRef"], container),
            _ => Err("invalid valueFrom".to_owned()),
        }
    }

    async fn key(&mut self, resource: &str, what: &str, reference: &Value) -> Result<String, String> {
        let (name, key) = (text(reference, "name"), text(reference, "key"));
        let known = self.read.iter().position(|info| info.mapping.resource == resource && info.name == name);
        let index = match known {
            Some(index) => index,
            None => self.fetch(resource, name).await?,
        };
        match self.read[index].object["data"][key].as_str() {
            Some(value) => Ok(value.to_owned()),
            None => Err(format!("key {key} not found in {what} {name}")),
        }
    }

    async fn fetch(&mut self, resource: &str, name: &str) -> Result<usize, String> {
        let catalog = self.session.catalog().await.map_err(|failure| failure.bare())?;
        let mapping = catalog.resource(resource).map_err(|failure| failure.bare())?;
        let mut info = Info::new(&mapping, &self.session.namespace(), name);
        let client = self.session.client().map_err(|failure| failure.bare())?;
        info.refresh(client).await.map_err(|failure| failure.bare())?;
        self.read.push(info);
        Ok(self.read.len() - 1)
    }
}

fn decoded(encoded: &str) -> Result<String, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn field(object: &Value, path: &str) -> Result<String, String> {
    let subscript = path.strip_suffix("']").and_then(|path| path.split_once("['")).filter(|(path, _)| !path.is_empty());
    if let Some((parent, key)) = subscript {
        let (name, checked) = match parent {
            "metadata.annotations" => ("annotations", key.to_lowercase()),
            "metadata.labels" => ("labels", key.to_owned()),
            _ => return Err(format!("fieldPath {parent:?} does not support subscript")),
        };
        let wrong = apimachinery::validation::is_qualified_name(&checked);
        if !wrong.is_empty() {
            return Err(format!("invalid key subscript in {path}: {}", wrong.join(";")));
        }
        return Ok(text(&object["metadata"][name], key).to_owned());
    }
    match path {
        "metadata.annotations" => Ok(formatted(&object["metadata"]["annotations"])),
        "metadata.labels" => Ok(formatted(&object["metadata"]["labels"])),
        "metadata.name" | "metadata.namespace" | "metadata.uid" => {
            Ok(text(&object["metadata"], &path["metadata.".len()..]).to_owned())
        }
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

fn formatted(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten();
    let lines: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={:?}", value.as_str().unwrap_or_default())).collect();
    lines.join("\n")
}

/// A limit or a request of the container, in units of the divisor, rounded up.
fn resource(reference: &Value, container: &Value) -> Result<String, String> {
    let path = text(reference, "resource");
    let (list, name) = path.split_once('.').unwrap_or((path, ""));
    let is_known = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    if !["limits", "requests"].contains(&list) || !is_known {
        return Err(format!("Unsupported container resource : {path}"));
    }
    let quantity = Quantity::of(&container["resources"][list][name]);
    let mut divisor = Quantity::of(&reference["divisor"]);
    if divisor.is_zero() {
        divisor = Quantity::from_units(1, divisor.format());
    }
    let (dividend, divisor) = match name {
        "cpu" => (quantity.milli_value(), divisor.milli_value()),
        _ => (quantity.value(), divisor.value()),
    };
    let (dividend, divisor) = (i128::from(dividend), i128::from(divisor.max(1)));
    Ok(((dividend + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_and_resources_are_looked_up() {
        let object = json!({"metadata": {"name": "n", "labels": {"a": "b", "c": "d"}}});
        assert_eq!(field(&object, "metadata.name"), Ok("n".into()));
        assert_eq!(field(&object, "metadata.labels"), Ok("a=\"b\"\nc=\"d\"".into()));
        assert_eq!(field(&object, "metadata.labels['c']"), Ok("d".into()));
        assert_eq!(field(&object, "spec.x"), Err("unsupported fieldPath: spec.x".into()));
        let container = json!({"resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}});
        let of = |path: &str, divisor: &str| resource(&json!({"resource": path, "divisor": divisor}), &container);
        assert_eq!(of("limits.cpu", "0"), Ok("2".into()));
        assert_eq!(of("limits.memory", "1Mi"), Ok("64".into()));
        assert_eq!(of("limits.x", "0"), Err("Unsupported container resource : limits.x".into()));
    }
}
