//! A value together with where it lies: what validation walks with.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::quantity::Quantity;
use apimachinery::validation::{is_dns1123_subdomain, regex_error};
use serde_json::Value;

static NULL: Value = Value::Null;

/// A value, null if there is none, and its path.
#[derive(Clone)]
pub struct At<'a> {
    pub value: &'a Value,
    pub path: Path,
}

impl<'a> At<'a> {
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: Path::root() }
    }

    pub fn at(&self, name: &str) -> At<'a> {
        At { value: self.value.get(name).unwrap_or(&NULL), path: self.path.child(name) }
    }

    /// Along a path of names: `spec.template.spec`.
    pub fn to(&self, names: &str) -> At<'a> {
        names.split('.').fold(self.clone(), |at, name| at.at(name))
    }

    pub fn items(&self) -> Vec<At<'a>> {
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(|(index, value)| At { value, path: self.path.index(index) }).collect()
    }

    /// The entries of a map; their paths are `map[key]`.
    pub fn entries(&self) -> Vec<(&'a str, At<'a>)> {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), At { value, path: self.path.key(key) })).collect()
    }

    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub fn is_true(&self) -> bool {
        self.value == true
    }

    pub fn quantity(&self) -> Option<Quantity> {
        self.value.as_str().map(|_| Quantity::of(self.value))
    }

    pub fn present(&self) -> bool {
        !self.value.is_null()
    }

    /// Null, empty string, empty list or empty map.
    pub fn empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        }
    }

    pub fn required(&self, errors: &mut ErrorList, detail: &str) -> bool {
        if self.empty() {
            errors.required(&self.path, detail);
        }
        !self.empty()
    }

    /// Must be one of these; absent is not judged.
    pub fn one_of(&self, errors: &mut ErrorList, supported: &[&str]) {
        if self.present() && !supported.contains(&self.text()) {
            errors.not_supported(&self.path, self.text(), supported);
        }
    }

    /// Must be there and one of these.
    pub fn required_one_of(&self, errors: &mut ErrorList, supported: &[&str]) {
        if self.required(errors, "") {
            self.one_of(errors, supported);
        }
    }

    /// Of a pointer: empty text is a value, and a wrong one.
    pub fn present_one_of(&self, errors: &mut ErrorList, supported: &[&str]) {
        if self.present() {
            self.one_of(errors, supported);
        } else {
            errors.required(&self.path, "");
        }
    }

    pub fn not_negative(&self, errors: &mut ErrorList) {
        self.at_least(errors, 0);
    }

    pub fn at_least(&self, errors: &mut ErrorList, min: i64) {
        if let Some(value) = self.int().filter(|value| *value < min) {
            errors.invalid(&self.path, value, format!("must be greater than or equal to {min}"));
        }
    }

    pub fn in_range(&self, errors: &mut ErrorList, min: i64, max: i64) {
        if let Some(value) = self.int().filter(|value| !(min..=max).contains(value)) {
            errors.invalid(&self.path, value, apimachinery::validation::range_error(min, max));
        }
    }

    /// Judged by a rule of `apimachinery::validation`.
    pub fn follows(&self, errors: &mut ErrorList, rule: impl Fn(&str) -> Vec<String>) {
        errors.invalid_all(&self.path, self.text(), rule(self.text()));
    }

    /// Must be `example.com/path`.
    pub fn domain_prefixed_path(&self, errors: &mut ErrorList) {
        if !self.required(errors, "") {
            return;
        }
        let parts = self.text().split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty());
        let Some((host, path)) = parts else {
            return self.invalid(errors, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        };
        errors.invalid_all(&self.path, host, is_dns1123_subdomain(host));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
        if !path.bytes().all(fits) {
            errors.invalid(&self.path, path, regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]));
        }
    }

    pub fn invalid(&self, errors: &mut ErrorList, detail: &str) {
        errors.push(FieldError::invalid(&self.path, self.value.clone(), detail).maybe_absent());
    }

    /// `field is immutable` unless equal to what lies in `old`.
    pub fn immutable(&self, errors: &mut ErrorList, old: &Value) {
        errors.append(apimachinery::validation::object_meta::immutable(self.value, old, &self.path));
    }
}

/// A duplicate for each value that came before.
pub fn duplicates<'a>(errors: &mut ErrorList, all: impl IntoIterator<Item = At<'a>>) {
    let mut seen: Vec<&Value> = Vec::new();
    for item in all {
        if seen.contains(&item.value) {
            errors.duplicate(&item.path, item.value.clone());
        } else if !item.empty() {
            seen.push(item.value);
        }
    }
}
