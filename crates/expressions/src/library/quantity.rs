//! Quantities.

use std::cmp::Ordering;

use apimachinery::quantity::{Format, Quantity};

use super::Answer;
use crate::errors::EvalError;
use crate::value::{Opaque, Value};

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("quantity", [Value::String(text)]) => Some(parse(text).map(value)),
        ("isQuantity", [Value::String(text)]) => Some(Ok(Value::Bool(parse(text).is_ok()))),
        (_, [first]) => of_one(function, of(first)?),
        (_, [first, second]) => of_two(function, of(first)?, second),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Quantity, EvalError> {
    text.parse::<Quantity>().map_err(EvalError::message)
}

fn value<'a>(quantity: Quantity) -> Value<'a> {
    Value::opaque(Opaque::Quantity(quantity))
}

fn of(value: &Value<'_>) -> Option<Quantity> {
    match value {
        Value::Opaque(value) => match **value {
            Opaque::Quantity(quantity) => Some(quantity),
            _ => None,
        },
        _ => None,
    }
}

fn ordinal<'a>(order: Ordering) -> Value<'a> {
    Value::Int(order as i64)
}

fn of_one<'a>(function: &str, quantity: Quantity) -> Answer<'a> {
    Some(match function {
        "sign" => Ok(ordinal(quantity.cmp(&Quantity::ZERO))),
        "isInteger" => Ok(Value::Bool(quantity.is_integer())),
        "asInteger" if !quantity.is_integer() => Err(EvalError::message("cannot convert value to integer")),
        "asInteger" => Ok(Value::Int(quantity.value())),
        "asApproximateFloat" => Ok(Value::Double(quantity.as_f64())),
        _ => return None,
    })
}

fn of_two<'a>(function: &str, a: Quantity, second: &Value<'a>) -> Answer<'a> {
    let b = match second {
        Value::Int(units) if matches!(function, "add" | "sub") => Quantity::from_units(*units, Format::DecimalSi),
        other => of(other)?,
    };
    Some(Ok(match function {
        "add" => value(a + b),
        "sub" => value(a - b),
        "isGreaterThan" => Value::Bool(a > b),
        "isLessThan" => Value::Bool(a < b),
        "compareTo" => ordinal(a.cmp(&b)),
        _ => return None,
    }))
}
