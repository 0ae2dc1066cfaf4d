//! Amounts by resource name, as in `status.hard` and `status.used`.

use std::collections::BTreeMap;

use apimachinery::Quantity;
use apimachinery::quantity::Format;
use serde_json::{Map, Value};

pub type Usage = BTreeMap<String, Quantity>;

pub fn count(number: usize) -> Quantity {
    Quantity::from_units(i64::try_from(number).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// From a map of quantities; anything else is empty.
pub fn of(value: Option<&Value>) -> Usage {
    let map = value.and_then(Value::as_object).into_iter().flatten();
    map.map(|(name, amount)| (name.clone(), Quantity::of(amount))).collect()
}

pub fn to_value(usage: &Usage) -> Value {
    let map: Map<String, Value> =
        usage.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect();
    map.into()
}

pub fn add(mut one: Usage, other: &Usage) -> Usage {
    for (name, amount) in other {
        let sum = one.get(name).copied().map_or(*amount, |own| own + *amount);
        one.insert(name.clone(), sum);
    }
    one
}

pub fn subtract(mut one: Usage, other: &Usage) -> Usage {
    for (name, amount) in other {
        let rest = one.get(name).copied().map_or(-*amount, |own| own - *amount);
        one.insert(name.clone(), rest);
    }
    one
}

/// Only the given names.
pub fn mask<'a>(usage: &Usage, names: impl IntoIterator<Item = &'a String>) -> Usage {
    names.into_iter().filter_map(|name| Some((name.clone(), *usage.get(name)?))).collect()
}

/// The names for which more is used than there is.
pub fn exceeded(used: &Usage, hard: &Usage) -> Vec<String> {
    let over = used.iter().filter(|(name, amount)| hard.get(*name).is_some_and(|limit| *amount > limit));
    over.map(|(name, _)| name.clone()).collect()
}

/// `cpu=1,pods=2`.
pub fn show(usage: &Usage) -> String {
    usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}
