//! Paths of fields, and what can be wrong with a field.

use std::fmt;

use serde_json::Value;

use crate::status::quote;

/// The path of a field, e.g. `spec.containers[0].ports[http]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn root() -> Self {
        Self::default()
    }

    pub fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { self.followed_by([".", name, ""]) }
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.key(&index.to_string())
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.followed_by(["[", key, "]"])
    }

    /// Paths are made for every field that is looked at, and hardly ever read.
    fn followed_by(&self, parts: [&str; 3]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut path = String::with_capacity(self.0.len() + length);
        path.push_str(&self.0);
        parts.iter().for_each(|part| path.push_str(part));
        Self(path)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Path {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TooFew,
    Internal,
    TypeInvalid,
}

impl ErrorKind {
    /// As it stands in a status cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong | Self::Internal)
    }
}

/// One thing that is wrong with one field. Prints as `field: body`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: ErrorKind,
    pub field: String,
    pub value: Value,
    /// Large values are not repeated to their author.
    pub hides_value: bool,
    /// The value is not null, it is not there.
    pub absent: bool,
    pub detail: String,
}

impl FieldError {
    fn new(kind: ErrorKind, path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        let (value, detail) = (value.into(), detail.into());
        Self { kind, field: path.0.clone(), value, hides_value: false, absent: false, detail }
    }

    pub fn required(path: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Required, path, Value::Null, detail)
    }

    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, path, value, detail)
    }

    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::TypeInvalid, path, value, detail)
    }

    /// The supported values are printed in alphabetical order.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let mut quoted: Vec<String> = supported.iter().map(|value| quote(value)).collect();
        quoted.sort();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        Self::new(ErrorKind::NotSupported, path, value, detail)
    }

    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, path, value, "")
    }

    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, path, Value::Null, detail)
    }

    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::NotFound, path, value, "")
    }

    pub fn too_long(path: &Path, limit: usize) -> Self {
        let unit = if limit == 1 { "byte" } else { "bytes" };
        Self::new(ErrorKind::TooLong, path, Value::Null, format!("may not be more than {limit} {unit}"))
    }

    pub fn too_many(path: &Path, actual: usize, limit: usize) -> Self {
        let unit = if limit == 1 { "item" } else { "items" };
        Self::new(ErrorKind::TooMany, path, actual, format!("must have at most {limit} {unit}"))
    }

    pub fn internal(path: &Path, why: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, path, Value::Null, why.to_string())
    }

    #[must_use]
    pub fn hiding_value(mut self) -> Self {
        self.hides_value = true;
        self
    }

    /// Of a value that was looked for and may not be there.
    pub fn maybe_absent(mut self) -> Self {
        self.absent = self.value.is_null();
        self
    }

    /// The message without the field's name.
    pub fn body(&self) -> String {
        let mut body = self.kind.title().to_owned();
        if self.kind.shows_value() && !self.hides_value {
            body = format!("{body}: {}", self.value);
        }
        if self.detail.is_empty() { body } else { format!("{body}: {}", self.detail) }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Everything that is wrong with an object. Prints one error as it is and several as `[a, b]`, without repeats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorList(Vec<FieldError>);

impl ErrorList {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    pub fn append(&mut self, other: ErrorList) {
        self.0.extend(other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
    }

    // The short forms that validation is written in.

    pub fn required(&mut self, path: &Path, detail: &str) {
        self.push(FieldError::required(path, detail));
    }

    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(FieldError::invalid(path, value, detail));
    }

    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        self.push(FieldError::not_supported(path, value, supported));
    }

    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(FieldError::duplicate(path, value));
    }

    pub fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(FieldError::forbidden(path, detail));
    }

    /// One `Invalid` for each message.
    pub fn invalid_all(&mut self, path: &Path, value: &str, messages: impl IntoIterator<Item = String>) {
        for message in messages {
            self.invalid(path, value, message);
        }
    }
}

impl fmt::Display for ErrorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut messages: Vec<String> = Vec::new();
        for message in self.0.iter().map(ToString::to_string) {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        match messages.as_slice() {
            [one] => f.write_str(one),
            all => write!(f, "[{}]", all.join(", ")),
        }
    }
}

impl FromIterator<FieldError> for ErrorList {
    fn from_iter<T: IntoIterator<Item = FieldError>>(errors: T) -> Self {
        Self(errors.into_iter().collect())
    }
}

impl Extend<FieldError> for ErrorList {
    fn extend<T: IntoIterator<Item = FieldError>>(&mut self, errors: T) {
        self.0.extend(errors);
    }
}

impl IntoIterator for ErrorList {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ErrorList {
    type Item = &'a FieldError;
    type IntoIter = std::slice::Iter<'a, FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{GroupKind, Status};

    #[test]
    fn messages_read_as_upstream() {
        let spec = Path::new("spec");
        let mut errors = ErrorList::new();
        errors.required(&spec.child("containers"), "");
        errors.invalid(&spec.child("ports").index(0), 70000, "must be between 1 and 65535, inclusive");
        errors.not_supported(&spec.child("type"), "x", &["NodePort", "ClusterIP"]);
        errors.push(FieldError::too_long(&spec.child("name"), 63));
        let status = Status::invalid(&GroupKind::new("apps", "Deployment"), "web", &errors);
        expect![[r#"Deployment.apps "web" is invalid: [spec.containers: Required value, spec.ports[0]: Invalid value: 70000: must be between 1 and 65535, inclusive, spec.type: Unsupported value: "x": supported values: "ClusterIP", "NodePort", spec.name: Too long: may not be more than 63 bytes]"#]].assert_eq(&status.message);
        assert_eq!(status.to_value()["details"]["causes"][0]["reason"], "FieldValueRequired");
    }
}
