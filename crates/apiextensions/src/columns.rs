//! Cells of printer columns.

use apimachinery::table;
use serde_json::Value;

use crate::json_path::{JsonPath, text_of};

/// What fills a column.
#[derive(Debug)]
pub struct Printer {
    /// Absent when the path cannot be read: its cells stay empty.
    path: Option<JsonPath>,
    kind: &'static str,
}

impl Printer {
    pub fn new(path: &str, kind: &str) -> Self {
        Self { path: JsonPath::parse(path), kind: kind_of(kind) }
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// `now` is in seconds since the epoch.
    pub fn cell(&self, object: &Value, now: i64) -> Value {
        let found = self.path.as_ref().and_then(|path| path.first(object));
        found.map_or(Value::Null, |value| cell(self.kind, value, now))
    }
}

fn kind_of(kind: &str) -> &'static str {
    ["integer", "number", "boolean", "date"].into_iter().find(|known| *known == kind).unwrap_or("string")
}

fn cell(kind: &str, value: &Value, now: i64) -> Value {
    match (kind, value) {
        // As upstream's templates print what is no value.
        ("string", Value::Null) => "<no value>".into(),
        (_, Value::Null) => Value::Null,
        ("string", value) => text_of(value).into(),
        ("integer", Value::Number(number)) => number.as_i64().or_else(|| cut(number.as_f64())).into(),
        ("number", Value::Number(number)) => number_cell(number),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) if text.is_empty() || text == "null" => table::since(None, now),
        ("date", Value::String(_)) if apimachinery::time::seconds(value).is_none() => "<invalid>".into(),
        ("date", Value::String(_)) => table::since(Some(value), now),
        _ => Value::Null,
    }
}

/// Whole floating point numbers print without a point in JSON.
fn number_cell(number: &serde_json::Number) -> Value {
    let whole = number.as_f64().filter(|value| value.fract() == 0.0).and_then(|value| cut(Some(value)));
    whole.map_or_else(|| Value::Number(number.clone()), Value::from)
}

#[expect(clippy::cast_possible_truncation, reason = "an integer column shows the whole part")]
fn cut(value: Option<f64>) -> Option<i64> {
    value.map(|value| value as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_have_the_type_of_their_column_or_are_empty() {
        let object =
            json!({"i": 5, "f": 2.5, "b": true, "s": "x", "o": {"a": 1}, "n": null, "t": "2026-01-01T00:00:00Z"});
        for (path, kind, expected) in [
            (".i", "integer", json!(5)),
            (".f", "integer", json!(2)),
            (".s", "integer", Value::Null),
            (".f", "number", json!(2.5)),
            (".b", "boolean", json!(true)),
            (".i", "string", json!("5")),
            (".o", "string", json!("{\"a\":1}")),
            (".t", "date", json!("60s")),
            (".s", "date", json!("<invalid>")),
            (".nothing", "string", Value::Null),
            (".n", "string", json!("<no value>")),
            (".n", "integer", Value::Null),
        ] {
            assert_eq!(Printer::new(path, kind).cell(&object, 1_767_225_660), expected, "{path} {kind}");
        }
    }
}
