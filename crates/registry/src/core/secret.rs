//! Secrets.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::table;
use apimachinery::validation::is_config_map_key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::config_map::{self, immutable_data};
use crate::at::At;
use crate::cells::{count, name, text};
use crate::defaults::{object, remove, set};
use crate::keys;
use crate::strategy::{Column, Strategy};

pub struct Secret;

const SIZE_MAX: usize = 1024 * 1024;

impl Strategy for Secret {
    fn default(&self, secret: &mut Value) {
        set(secret, "type", "Opaque");
        let plain = secret.get("stringData").and_then(Value::as_object).cloned().unwrap_or_default();
        if !plain.is_empty() {
            let Some(data) = object(secret, "data") else { return };
            for (key, value) in plain {
                data[key] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
            }
        }
        remove(secret, "stringData");
    }

    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(object);
        let data = root.at("data");
        let mut size = 0;
        for (key, at) in data.entries() {
            errors.invalid_all(&at.path, key, is_config_map_key(key));
            size += config_map::decoded_len(at.text());
        }
        if size > SIZE_MAX {
            errors.push(FieldError::too_long(&data.path, SIZE_MAX));
        }
        by_type(&root, &data, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        At::root(new).at("type").immutable(&mut errors, &old["type"]);
        errors.append(immutable_data(new, old, &["data"]));
        errors.append(self.validate(new));
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Type"), Column::text("Data"), Column::AGE] }
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        tls_warning(new).into_iter().collect()
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        vec![name(object), text(object, "/type").into(), count(object, "/data"), table::age(object, now)]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", text(object, "/type").to_owned())]
    }
}

/// What upstream's library says of a certificate and a key that do not belong together.
fn tls_warning(secret: &Value) -> Option<String> {
    if text(secret, "/type") != "kubernetes.io/tls" {
        return None;
    }
    let decoded = |key: &str| {
        let bytes = STANDARD.decode(secret["data"][key].as_str().unwrap_or_default()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    keys::pair_problem(&decoded("tls.crt"), &decoded("tls.key"))
}

fn by_type(root: &At<'_>, data: &At<'_>, errors: &mut ErrorList) {
    let require = |errors: &mut ErrorList, key: &str| {
        if data.value.get(key).is_none() {
            errors.required(&data.path.key(key), "");
        }
    };
    match root.at("type").text() {
        "kubernetes.io/service-account-token" => {
            let path = Path::new("metadata.annotations").key("kubernetes.io/service-account.name");
            if text(root.value, "/metadata/annotations/kubernetes.io~1service-account.name").is_empty() {
                errors.required(&path, "");
            }
        }
        "kubernetes.io/dockercfg" => json_key(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json_key(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if data.value.get("username").is_none() && data.value.get("password").is_none() => {
            require(errors, "username");
            require(errors, "password");
        }
        "kubernetes.io/ssh-auth" if text(data.value, "/ssh-privatekey").is_empty() => {
            errors.required(&data.path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].iter().for_each(|key| require(errors, key)),
        _ => {}
    }
}

fn json_key(data: &At<'_>, key: &str, errors: &mut ErrorList) {
    let path = data.path.key(key);
    let Some(value) = data.value.get(key).and_then(Value::as_str) else {
        errors.required(&path, "");
        return;
    };
    let decoded = STANDARD.decode(value).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Option<serde_json::Map<String, Value>>>(&decoded) {
        errors.invalid(&path, "<secret contents redacted>", error.to_string());
    }
}
