//! What a judgement comes to.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::status::quote;
use serde_json::Value;

use super::NO_PATH;

/// One thing that is wrong.
#[derive(Debug)]
pub struct Failure {
    /// Where, as upstream writes it: without indices of the root, maybe with a leading dot.
    pub name: String,
    pub value: Value,
    pub message: String,
    pub kind: FailureKind,
}

#[derive(Debug)]
pub enum FailureKind {
    Required,
    Enum(Vec<Value>),
    TooLong(i64),
    TooMany(i64),
    Type,
    Other,
    /// Of a junctor: has no place and no value.
    Junctor,
}

/// The failures, and how much did fit: of several alternatives the one that fits best tells what is wrong.
#[derive(Debug, Default)]
pub struct Outcome {
    pub failures: Vec<Failure>,
    pub matches: usize,
}

impl Failure {
    pub fn new(name: &str, value: Value, what: &str, kind: FailureKind) -> Self {
        Self { name: name.into(), value, message: format!("{name} in body {what}"), kind }
    }

    /// `expected` is a type or a format.
    pub fn of_type(name: &str, expected: &str, found: &Value) -> Self {
        let mut what = format!("must be of type {expected}");
        if let Value::String(found) = found {
            what = format!("{what}: {}", quote(found));
        }
        Self::new(name, found.clone(), &what, FailureKind::Type)
    }

    pub fn junctor(name: &str, what: &str) -> Self {
        let message = format!("{} {what}", quote(name));
        Self { name: String::new(), value: Value::Null, message, kind: FailureKind::Junctor }
    }

    /// The value that a client is shown: text when there is none.
    fn shown(&self) -> Value {
        if self.value.is_null() { "".into() } else { self.value.clone() }
    }

    fn into_error(self, base: &Path) -> FieldError {
        let path = match self.name.trim_start_matches('.') {
            "" if base.as_str().is_empty() => Path::new(NO_PATH),
            "" => base.clone(),
            name => base.child(name),
        };
        match &self.kind {
            FailureKind::Required => FieldError::required(&path, ""),
            FailureKind::Enum(values) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let values: Vec<String> = values.iter().map(text).collect();
                FieldError::not_supported(&path, self.value, &values.iter().map(String::as_str).collect::<Vec<_>>())
            }
            FailureKind::TooLong(limit) => FieldError::too_long(&path, usize::try_from(*limit).unwrap_or_default()),
            FailureKind::TooMany(limit) => {
                let actual = self.value.as_u64().and_then(|actual| usize::try_from(actual).ok());
                FieldError::too_many(&path, actual.unwrap_or_default(), usize::try_from(*limit).unwrap_or_default())
            }
            FailureKind::Type => FieldError::type_invalid(&path, self.shown(), self.message),
            FailureKind::Other | FailureKind::Junctor => FieldError::invalid(&path, self.shown(), self.message),
        }
    }
}

impl Outcome {
    pub fn fits(&self) -> bool {
        self.failures.is_empty()
    }

    pub fn fail(&mut self, failure: Failure) {
        if !self.failures.iter().any(|known| known.message == failure.message) {
            self.failures.push(failure);
        }
    }

    pub fn merge(&mut self, other: Outcome) {
        self.matches += other.matches;
        other.failures.into_iter().for_each(|failure| self.fail(failure));
    }

    pub fn into_errors(self, base: &Path) -> ErrorList {
        self.failures.into_iter().map(|failure| failure.into_error(base)).collect()
    }
}
