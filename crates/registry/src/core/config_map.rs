//! ConfigMaps.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::table;
use apimachinery::validation::is_config_map_key;
use serde_json::Value;

use crate::at::At;
use crate::cells::name;
use crate::strategy::{Column, Strategy};

pub struct ConfigMap;

const SIZE_MAX: usize = 1024 * 1024;

impl Strategy for ConfigMap {
    fn validate(&self, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(object);
        let (data, binary) = (root.at("data"), root.at("binaryData"));
        let mut size = 0;
        for (key, at) in data.entries() {
            errors.invalid_all(&at.path, key, is_config_map_key(key));
            if binary.at(key).present() {
                errors.invalid(&at.path, key, "duplicate of key present in binaryData");
            }
            size += at.text().len();
        }
        for (key, at) in binary.entries() {
            errors.invalid_all(&at.path, key, is_config_map_key(key));
            size += decoded_len(at.text());
        }
        if size > SIZE_MAX {
            errors.push(FieldError::too_long(&Path::new("[]"), SIZE_MAX));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = immutable_data(new, old, &["data", "binaryData"]);
        errors.append(self.validate(new));
        errors
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::text("Data"), Column::AGE] }
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        let entries = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
        vec![name(object), (entries("data") + entries("binaryData")).into(), table::age(object, now)]
    }
}

/// How many bytes a base64 text stands for.
pub fn decoded_len(text: &str) -> usize {
    let padding = text.len() - text.trim_end_matches('=').len();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// What `immutable: true` forbids, for config maps and secrets.
pub fn immutable_data(new: &Value, old: &Value, fields: &[&str]) -> ErrorList {
    let mut errors = ErrorList::new();
    if old["immutable"] != true {
        return errors;
    }
    if new["immutable"] != true {
        errors.forbidden(&Path::new("immutable"), "field is immutable when `immutable` is set");
    }
    for field in fields.iter().filter(|field| new[**field] != old[**field]) {
        errors.forbidden(&Path::new(field), "field is immutable when `immutable` is set");
    }
    errors
}
