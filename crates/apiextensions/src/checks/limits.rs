//! Constraints beside the type.

use serde_json::{Map, Number, Value};

use super::outcome::{Failure, FailureKind, Outcome};
use super::{formats, pattern};
use crate::structural::{Constraint, Structural, Type};

fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Length and pattern stop at the first complaint; the format is judged anyway.
pub fn text(text: &str, schema: &Structural, path: &str, outcome: &mut Outcome) {
    let length = int(text.chars().count());
    let mut complaint = None;
    for constraint in &schema.constraints {
        let what = match constraint {
            Constraint::MaxLength(max) if length > *max => {
                Some((format!("should be at most {max} chars long"), FailureKind::TooLong(*max)))
            }
            Constraint::MinLength(min) if length < *min => {
                Some((format!("should be at least {min} chars long"), FailureKind::Other))
            }
            Constraint::Pattern(pattern) if complaint.is_none() => {
                unmatched(text, pattern).map(|what| (what, FailureKind::Other))
            }
            _ => None,
        };
        complaint = complaint.or(what);
    }
    if let Some((what, kind)) = complaint {
        outcome.fail(Failure::new(path, text.into(), &what, kind));
    }
    for constraint in &schema.constraints {
        if let Constraint::Format(format) = constraint
            && !formats::is_valid(format, text)
        {
            outcome.fail(Failure::of_type(path, format, &text.into()));
        }
    }
    outcome.matches += 1;
}

fn unmatched(text: &str, pattern: &str) -> Option<String> {
    match pattern::compiled(pattern) {
        Ok(regex) if regex.is_match(text) => None,
        Ok(_) => Some(format!("should match '{pattern}'")),
        Err(why) => Some(format!("should match '{pattern}, but pattern is invalid: {why}'")),
    }
}

pub fn number(number: &Number, schema: &Structural, path: &str, outcome: &mut Outcome) {
    let format = schema.constraints.iter().find_map(|constraint| match constraint {
        Constraint::Format(format) => Some(&**format),
        _ => None,
    });
    if let Some(message) = out_of_range(number, schema, format, path) {
        let kind = FailureKind::Junctor;
        outcome.fail(Failure { name: String::new(), value: Value::Null, message, kind });
    }
    for constraint in &schema.constraints {
        let what = match constraint {
            Constraint::MultipleOf(factor) => not_multiple(number, *factor, path),
            Constraint::Minimum { limit, exclusive } => below(number, *limit, *exclusive),
            Constraint::Maximum { limit, exclusive } => above(number, *limit, *exclusive),
            _ => None,
        };
        if let Some(what) = what {
            outcome.fail(Failure::new(path, Value::Number(number.clone()), &what, FailureKind::Other));
        }
    }
    outcome.matches += 2;
}

/// Whether the number fits the integer that the schema says.
fn out_of_range(number: &Number, schema: &Structural, format: Option<&str>, path: &str) -> Option<String> {
    if schema.ty != Type::Integer || schema.int_or_string {
        return None;
    }
    let whole = number.as_i64().or_else(|| whole_of(number.as_f64().unwrap_or_default()));
    let fits = match format {
        Some("int32") => whole.is_some_and(|value| i32::try_from(value).is_ok()),
        _ => whole.is_some(),
    };
    let format = format.map_or(" (default format)".into(), |format| format!(" with format {format}"));
    (!fits).then(|| format!("Checked value must be of type integer{format} in {path}"))
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked before")]
fn whole_of(value: f64) -> Option<i64> {
    let bounds = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    (value.fract() == 0.0 && bounds.contains(&value)).then_some(value as i64)
}

/// As upstream compares: an integer with the limit cut to an integer, anything else as floating point.
#[expect(clippy::cast_possible_truncation, reason = "upstream cuts the limit")]
fn compare(number: &Number, limit: f64) -> Option<std::cmp::Ordering> {
    match number.as_i64() {
        Some(value) => Some(value.cmp(&(limit as i64))),
        None => number.as_f64()?.partial_cmp(&limit),
    }
}

/// The limit as it is told.
#[expect(clippy::cast_possible_truncation, reason = "upstream cuts the limit")]
fn told(number: &Number, limit: f64) -> String {
    if number.is_i64() { (limit as i64).to_string() } else { go_float(limit) }
}

fn below(number: &Number, limit: f64, exclusive: bool) -> Option<String> {
    let order = compare(number, limit)?;
    let wrong = order.is_lt() || (exclusive && order.is_eq());
    let than = if exclusive { "greater than" } else { "greater than or equal to" };
    wrong.then(|| format!("should be {than} {}", told(number, limit)))
}

fn above(number: &Number, limit: f64, exclusive: bool) -> Option<String> {
    let order = compare(number, limit)?;
    let wrong = order.is_gt() || (exclusive && order.is_eq());
    let than = if exclusive { "less than" } else { "less than or equal to" };
    wrong.then(|| format!("should be {than} {}", told(number, limit)))
}

#[expect(clippy::cast_possible_truncation, reason = "upstream cuts the factor")]
fn not_multiple(number: &Number, factor: f64, path: &str) -> Option<String> {
    let positive = if number.is_i64() { factor as i64 > 0 } else { factor > 0.0 };
    if !positive {
        return Some(format!("factor MultipleOf declared for {path} must be positive: {}", told(number, factor)));
    }
    let fits = match number.as_i64() {
        Some(value) => value % (factor as i64) == 0,
        None => {
            let value = number.as_f64().unwrap_or_default();
            is_json_integer(if factor < 1.0 { 1.0 / factor * value } else { value / factor })
        }
    };
    (!fits).then(|| format!("should be a multiple of {}", told(number, factor)))
}

/// Whether a floating point number stands for an integer that JavaScript can hold.
pub fn is_json_integer(value: f64) -> bool {
    const MAX: f64 = 9_007_199_254_740_991.0;
    const EPSILON: f64 = 1e-9;
    if !value.is_finite() || !(-MAX..=MAX).contains(&value) {
        return false;
    }
    let whole = value.trunc();
    let (smallest, difference) = (f64::MIN_POSITIVE, (value - whole).abs());
    match () {
        () if value == whole => true,
        () if value == 0.0 || whole == 0.0 || difference < smallest => difference < EPSILON * smallest,
        () => difference / (value.abs() + whole.abs()).min(f64::MAX) < EPSILON,
    }
}

/// A floating point number as Go's `%v` prints it.
pub fn go_float(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let exponent = format!("{value:e}");
    let (mantissa, power) = exponent.split_once('e').expect("the format has an exponent");
    let power: i32 = power.parse().unwrap_or_default();
    if (-4..21).contains(&power) {
        return format!("{value}");
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.abs())
}

pub fn items(items: &[Value], schema: &Structural, path: &str, outcome: &mut Outcome) {
    let size = int(items.len());
    for constraint in &schema.constraints {
        match constraint {
            Constraint::MinItems(min) if size < *min => {
                let what = format!("should have at least {min} items");
                outcome.fail(Failure::new(path, size.into(), &what, FailureKind::Other));
            }
            Constraint::MaxItems(max) if size > *max => {
                let what = format!("should have at most {max} items");
                outcome.fail(Failure::new(path, size.into(), &what, FailureKind::TooMany(*max)));
            }
            Constraint::UniqueItems if items.iter().enumerate().any(|(at, item)| items[..at].contains(item)) => {
                let what = "shouldn't contain duplicates";
                outcome.fail(Failure::new(path, Value::Null, what, FailureKind::Other));
            }
            _ => {}
        }
    }
}

pub fn properties(map: &Map<String, Value>, schema: &Structural, path: &str, outcome: &mut Outcome) {
    let size = int(map.len());
    for constraint in &schema.constraints {
        match constraint {
            Constraint::MinProperties(min) if size < *min => {
                let what = format!("should have at least {min} properties");
                outcome.fail(Failure::new(path, size.into(), &what, FailureKind::Other));
            }
            Constraint::MaxProperties(max) if size > *max => {
                let what = format!("should have at most {max} properties");
                outcome.fail(Failure::new(path, size.into(), &what, FailureKind::TooMany(*max)));
            }
            _ => {}
        }
    }
}

pub fn required(map: &Map<String, Value>, schema: &Structural, path: &str, outcome: &mut Outcome) {
    for constraint in &schema.constraints {
        let Constraint::Required(names) = constraint else { continue };
        for name in names.iter().filter(|name| !map.contains_key(&***name)) {
            let place = format!("{path}.{name}");
            outcome.fail(Failure::new(&place, Value::Null, "is required", FailureKind::Required));
        }
    }
}

pub fn enumeration(value: &Value, schema: &Structural, path: &str, outcome: &mut Outcome) {
    for constraint in &schema.constraints {
        let Constraint::Enum(values) = constraint else { continue };
        if !values.iter().any(|allowed| same(value, allowed)) {
            let printed: Vec<String> = values.iter().map(go_print).collect();
            let what = format!("should be one of [{}]", printed.join(" "));
            outcome.fail(Failure::new(path, value.clone(), &what, FailureKind::Enum(values.to_vec())));
        }
    }
    if !value.is_null() {
        outcome.matches += 1;
    }
}

/// Numbers are made of the type of the allowed one first.
#[expect(clippy::cast_possible_truncation, reason = "upstream's conversion cuts")]
fn same(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Null, _) => false,
        (Value::Number(value), Value::Number(allowed)) => match (allowed.as_i64(), value.as_i64()) {
            (Some(allowed), Some(value)) => allowed == value,
            (Some(allowed), None) => value.as_f64().is_some_and(|value| value as i64 == allowed),
            (None, _) => value.as_f64() == allowed.as_f64(),
        },
        _ => value == allowed,
    }
}

/// A value as Go's `%v` prints it.
pub fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_i64() => go_float(number.as_f64().unwrap_or_default()),
        Value::Array(items) => format!("[{}]", items.iter().map(go_print).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", go_print(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}
