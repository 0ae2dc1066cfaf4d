//! Operators, `size`, `type`, and membership.

use super::Answer;
use crate::errors::EvalError;
use crate::functions::exact_int;
use crate::library::time;
use crate::value::{List, Map, Value, display};

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("_==_", [a, b]) => Some(Ok(Value::Bool(a.equals(b)))),
        ("_!=_", [a, b]) => Some(Ok(Value::Bool(!a.equals(b)))),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => compare(function, a, b),
        ("!_", [Value::Bool(value)]) => Some(Ok(Value::Bool(!value))),
        ("-_", [Value::Int(value)]) => Some(value.checked_neg().map(Value::Int).ok_or(EvalError::IntegerOverflow)),
        ("-_", [Value::Double(value)]) => Some(Ok(Value::Double(-value))),
        ("_[_]", [container, key]) => Some(index(container, key)),
        ("_[?_]", [container, key]) => Some(optional_index(container, key)),
        ("@in", [item, Value::List(list)]) => Some(contains(list, item).map(Value::Bool)),
        ("@in", [key, Value::Map(map)]) => Some(Ok(Value::Bool(map.get(key).is_some()))),
        ("size", [value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))]) => {
            Some(Ok(Value::Int(i64::try_from(value.size()).unwrap_or(i64::MAX))))
        }
        ("type", [value]) => Some(Ok(Value::Type(value.type_of()))),
        (_, [Value::Int(a), Value::Int(b)]) => int(function, *a, *b),
        (_, [Value::Uint(a), Value::Uint(b)]) => uint(function, *a, *b),
        (_, [Value::Double(a), Value::Double(b)]) => double(function, *a, *b),
        _ => time::arithmetic(function, args),
    }
}

/// The calls that may reuse their first argument.
pub fn consuming<'a>(function: &str, mut args: Vec<Value<'a>>) -> Answer<'a> {
    if function == "_+_" {
        return match (&args[0], &args[1]) {
            (Value::List(_), Value::List(_)) => {
                let (Value::List(right), Value::List(left)) = (args.pop()?, args.pop()?) else { return None };
                Some(left.concat(&right).map(Value::List))
            }
            (Value::String(a), Value::String(b)) => Some(Ok(Value::text([&**a, &**b].concat()))),
            (Value::Bytes(a), Value::Bytes(b)) => Some(Ok(Value::Bytes([&**a, &**b].concat().into()))),
            _ => call("_+_", &args),
        };
    }
    let mut args = args.into_iter();
    let Value::Map(map) = args.next()? else { return None };
    match (args.next()?, args.next()) {
        (key, Some(value)) => Some(map.insert(&key, value).map(Value::Map)),
        (Value::Map(entry), None) => Some(insert_all(map, &entry).map(Value::Map)),
        _ => None,
    }
}

fn insert_all<'a>(mut map: Map<'a>, more: &Map<'a>) -> Result<Map<'a>, EvalError> {
    for key in more.keys() {
        if let Some(value) = more.get(&key) {
            map = map.insert(&key, value?)?;
        }
    }
    Ok(map)
}

fn compare<'a>(function: &str, a: &Value<'a>, b: &Value<'a>) -> Answer<'a> {
    if is_nan(a) || is_nan(b) {
        return Some(Err(EvalError::message("NaN values cannot be ordered")));
    }
    let order = a.order(b)?;
    Some(Ok(Value::Bool(match function {
        "_<_" => order.is_lt(),
        "_<=_" => order.is_le(),
        "_>_" => order.is_gt(),
        _ => order.is_ge(),
    })))
}

fn is_nan(value: &Value<'_>) -> bool {
    matches!(value, Value::Double(value) if value.is_nan())
}

fn int<'a>(function: &str, a: i64, b: i64) -> Answer<'a> {
    let result = match function {
        "_+_" => a.checked_add(b),
        "_-_" => a.checked_sub(b),
        "_*_" => a.checked_mul(b),
        "_/_" if b == 0 => return Some(Err(EvalError::DivisionByZero)),
        "_/_" => a.checked_div(b),
        "_%_" if b == 0 => return Some(Err(EvalError::ModulusByZero)),
        "_%_" => a.checked_rem(b),
        _ => return None,
    };
    Some(result.map(Value::Int).ok_or(EvalError::IntegerOverflow))
}

fn uint<'a>(function: &str, a: u64, b: u64) -> Answer<'a> {
    let result = match function {
        "_+_" => a.checked_add(b),
        "_-_" => a.checked_sub(b),
        "_*_" => a.checked_mul(b),
        "_/_" if b == 0 => return Some(Err(EvalError::DivisionByZero)),
        "_/_" => a.checked_div(b),
        "_%_" if b == 0 => return Some(Err(EvalError::ModulusByZero)),
        "_%_" => a.checked_rem(b),
        _ => return None,
    };
    Some(result.map(Value::Uint).ok_or(EvalError::UnsignedOverflow))
}

fn double<'a>(function: &str, a: f64, b: f64) -> Answer<'a> {
    Some(Ok(Value::Double(match function {
        "_+_" => a + b,
        "_-_" => a - b,
        "_*_" => a * b,
        "_/_" => a / b,
        _ => return None,
    })))
}

fn contains<'a>(list: &List<'a>, item: &Value<'a>) -> Result<bool, EvalError> {
    for other in list.iter() {
        if other?.equals(item) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn whole(key: &Value<'_>) -> Option<i64> {
    match key {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Double(value) => exact_int(*value),
        _ => None,
    }
}

fn index<'a>(container: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match container {
        Value::List(list) => {
            let position = whole(key).ok_or(EvalError::NoSuchOverload)?;
            let item = usize::try_from(position).ok().and_then(|position| list.get(position));
            item.unwrap_or(Err(EvalError::IndexOutOfBounds(position)))
        }
        Value::Map(map) => map.get(key).unwrap_or_else(|| Err(EvalError::NoSuchKey(display(key)))),
        Value::Optional(_) => optional_index(container, key),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn optional_index<'a>(container: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, EvalError> {
    let found = match container {
        Value::Optional(None) => None,
        Value::Optional(Some(inner)) => return optional_index(inner, key),
        Value::List(list) => {
            let position = whole(key).ok_or(EvalError::NoSuchOverload)?;
            usize::try_from(position).ok().and_then(|position| list.get(position))
        }
        Value::Map(map) => map.get(key),
        _ => return Err(EvalError::NoSuchOverload),
    };
    Ok(found.transpose()?.map_or_else(Value::none, Value::some))
}
