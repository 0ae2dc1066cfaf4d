//! Equality, and order of what has an order.

use std::cmp::Ordering;

use super::{ChainValue, FormatValue, List, Map, Opaque, SemverValue, UrlValue, Value};
use crate::decl::ListSemantics;
use crate::limits::MAX_VALUE_DEPTH;

impl Value<'_> {
    /// Whether two values are equal. Numbers are compared by value; values of different types are not equal.
    pub fn equals(&self, other: &Value<'_>) -> bool {
        equal(self, other, 0)
    }

    /// The order of two values of types that have one. Numbers of different types are compared by value.
    pub(crate) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Value::String(b)) => Some(str::cmp(a, b)),
            (Self::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            _ => numbers(self, other),
        }
    }
}

/// Compares numbers; `None` if one is none, or not a number.
fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), _) => with_double(*a, whole(b)?),
        (_, Value::Double(b)) => with_double(*b, whole(a)?).map(Ordering::reverse),
        _ => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

/// The double's order towards a whole number of at most 64 bits.
fn with_double(double: f64, whole: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and saturated values lie beyond all 64-bit integers"
    )]
    let floor = double.floor() as i128;
    Some(floor.cmp(&whole).then(if double > double.floor() { Ordering::Greater } else { Ordering::Equal }))
}

fn equal(a: &Value<'_>, b: &Value<'_>, depth: usize) -> bool {
    if depth > MAX_VALUE_DEPTH {
        return false;
    }
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::List(a), Value::List(b)) => lists(a, b, depth),
        (Value::Map(a), Value::Map(b)) => maps(a, b, depth),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b, depth + 1),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Type(a), Value::Type(b)) => a.runtime_name() == b.runtime_name(),
        (Value::Opaque(a), Value::Opaque(b)) => opaques(a, b),
        _ => a.order(b).is_some_and(Ordering::is_eq),
    }
}

fn lists(a: &List<'_>, b: &List<'_>, depth: usize) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (Ok(a_items), Ok(b_items)) = (a.to_vec(), b.to_vec()) else { return false };
    let same = |a: &Value<'_>, b: &Value<'_>| equal(a, b, depth + 1);
    match a.semantics() {
        ListSemantics::Atomic => a_items.iter().zip(&b_items).all(|(a, b)| same(a, b)),
        ListSemantics::Set | ListSemantics::Map(_) => {
            a_items.iter().all(|item| b_items.iter().any(|other| same(item, other)))
                && b_items.iter().all(|item| a_items.iter().any(|other| same(item, other)))
        }
    }
}

fn maps(a: &Map<'_>, b: &Map<'_>, depth: usize) -> bool {
    a.len() == b.len()
        && a.keys().iter().all(|key| {
            let (Some(Ok(left)), Some(Ok(right))) = (a.get(key), lookup(b, key)) else { return false };
            equal(&left, &right, depth + 1)
        })
}

/// A lookup with a key of another lifetime.
fn lookup<'b>(map: &Map<'b>, key: &Value<'_>) -> Option<Result<Value<'b>, crate::errors::EvalError>> {
    match key {
        Value::String(text) => map.field(text),
        Value::Bool(value) => map.get(&Value::Bool(*value)),
        Value::Int(value) => map.get(&Value::Int(*value)),
        Value::Uint(value) => map.get(&Value::Uint(*value)),
        _ => None,
    }
}

fn opaques(a: &Opaque, b: &Opaque) -> bool {
    match (a, b) {
        (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
        (Opaque::Url(UrlValue(a)), Opaque::Url(UrlValue(b))) => a.text() == b.text(),
        (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
        (Opaque::Cidr(a, m), Opaque::Cidr(b, n)) => a == b && m == n,
        (Opaque::Semver(SemverValue(a)), Opaque::Semver(SemverValue(b))) => a.cmp(b).is_eq(),
        (Opaque::Format(FormatValue(a)), Opaque::Format(FormatValue(b))) => a.name == b.name,
        // Identity is what upstream compares.
        (Opaque::Chain(a), Opaque::Chain(b)) => std::ptr::eq::<ChainValue>(a, b),
        _ => false,
    }
}

/// Whether two items of a keyed list have the same keys.
pub(super) fn same_keys(a: &Value<'_>, b: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| {
        let name = crate::decl::escape(key).unwrap_or_else(|| key.clone());
        match (a.field(&name), b.field(&name)) {
            (Some(Ok(a)), Some(Ok(b))) => a.equals(&b),
            (None, None) => true,
            _ => false,
        }
    })
}
