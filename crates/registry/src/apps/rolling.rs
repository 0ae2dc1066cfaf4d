//! Numbers that may be percentages.

use apimachinery::field::ErrorList;
use apimachinery::validation::is_percent;
use serde_json::Value;

use crate::at::At;

/// A number that is not negative, or a percentage.
pub fn int_or_percent(at: &At<'_>, errors: &mut ErrorList) {
    match at.value {
        Value::String(text) => errors.invalid_all(&at.path, text, is_percent(text)),
        Value::Number(_) => at.not_negative(errors),
        _ => {}
    }
}

/// 0 or `0%`. What is neither a number nor a percentage counts as 0.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) if is_percent(text).is_empty() => text.trim_end_matches('%').parse() == Ok(0),
        Value::String(text) => text.parse().unwrap_or(0) == 0,
        other => other.as_i64().unwrap_or_default() == 0,
    }
}

pub fn not_over_100_percent(at: &At<'_>, errors: &mut ErrorList) {
    let percent = at.text().strip_suffix('%').filter(|_| is_percent(at.text()).is_empty());
    let percent = percent.and_then(|digits| digits.parse::<i64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        at.invalid(errors, "must not be greater than 100%");
    }
}
