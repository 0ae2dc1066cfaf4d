//! The functions that kubectl adds, and those whose complaints must be Go's.

use gtmpl_ng::{Func, FuncError, NumberKind, Value};

use crate::print::decode_base64;

type Answer = Result<Value, FuncError>;

pub const ALL: &[(&str, Func)] = &[
    ("exists", |arguments| Ok(Value::Bool(exists(arguments)))),
    ("base64decode", |arguments| told("base64decode", base64decode(arguments))),
    ("eq", |arguments| told("eq", eq(arguments).map(Value::Bool))),
    ("ne", |arguments| told("ne", eq(arguments).map(|equal| Value::Bool(!equal)))),
    ("lt", |arguments| told("lt", less(arguments).map(Value::Bool))),
    ("le", |arguments| told("le", at_most(arguments).map(Value::Bool))),
    ("gt", |arguments| told("gt", at_most(arguments).map(|is| Value::Bool(!is)))),
    ("ge", |arguments| told("ge", less(arguments).map(|is| Value::Bool(!is)))),
    ("len", |arguments| told("len", len(arguments))),
    ("index", |arguments| told("index", index(arguments))),
];

fn told(name: &str, result: Result<Value, String>) -> Answer {
    result.map_err(|why| FuncError::Generic(format!("error calling {name}: {why}")))
}

/// The type's name in Go. Numbers of the data are `int64`, those of the template `int`; the data stands first.
fn type_of(value: &Value, is_first: bool) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Map(_) | Value::Object(_) => "map[string]interface {}",
        Value::Number(number) => match number.kind() {
            NumberKind::Float(_) => "float64",
            _ if is_first => "int64",
            _ => "int",
        },
        _ => "<nil>",
    }
}

fn is_nil(value: &Value) -> bool {
    matches!(value, Value::Nil | Value::NoValue)
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) if !matches!(number.kind(), NumberKind::Float(_)) => number.as_i64(),
        _ => None,
    }
}

fn member<'a>(value: &'a Value, key: &Value) -> Option<&'a Value> {
    match (value, key) {
        (Value::Map(map) | Value::Object(map), Value::String(key)) => map.get(key),
        (Value::Array(items), key) => items.get(usize::try_from(integer(key)?).ok()?),
        _ => None,
    }
}

fn exists(arguments: &[Value]) -> bool {
    let Some((first, keys)) = arguments.split_first() else { return false };
    keys.iter().try_fold(first, member).is_some_and(|found| !is_nil(found))
}

fn base64decode(arguments: &[Value]) -> Result<Value, String> {
    let [Value::String(text)] = arguments else {
        return Err("invalid value; expected string".into());
    };
    match decode_base64(text) {
        Ok(bytes) => Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        Err(why) => Err(format!("base64 decode failed: {why}")),
    }
}

fn incompatible(first: &Value, other: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", type_of(first, true), type_of(other, false))
}

fn same_kind(first: &Value, other: &Value) -> bool {
    let kind = |value: &Value| match type_of(value, false) {
        "int64" => "int",
        kind => kind,
    };
    kind(first) == kind(other)
}

/// Whether the first equals any of the others.
fn eq(arguments: &[Value]) -> Result<bool, String> {
    let Some((first, others @ [_, ..])) = arguments.split_first() else {
        return Err("missing argument for comparison".into());
    };
    for other in others {
        if is_nil(first) || is_nil(other) {
            if is_nil(first) && is_nil(other) {
                return Ok(true);
            }
            continue;
        }
        if !same_kind(first, other) {
            return Err(incompatible(first, other));
        }
        if matches!(other, Value::Array(_) | Value::Map(_) | Value::Object(_)) {
            return Err(format!("non-comparable type {other}: {}", type_of(other, false)));
        }
        if first == other {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(arguments: &[Value]) -> Result<bool, String> {
    let [first, other] = arguments else {
        return Err("missing argument for comparison".into());
    };
    match (first, other) {
        (Value::String(first), Value::String(other)) => Ok(first < other),
        (Value::Number(a), Value::Number(b)) if same_kind(first, other) => match (integer(first), integer(other)) {
            (Some(first), Some(other)) => Ok(first < other),
            _ => Ok(a.as_f64() < b.as_f64()),
        },
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => Err(incompatible(first, other)),
        _ => Err("invalid type for comparison".into()),
    }
}

fn at_most(arguments: &[Value]) -> Result<bool, String> {
    Ok(less(arguments)? || eq(arguments)?)
}

fn len(arguments: &[Value]) -> Result<Value, String> {
    let length = match arguments {
        [Value::String(text)] => text.len(),
        [Value::Array(items)] => items.len(),
        [Value::Map(map) | Value::Object(map)] => map.len(),
        [nil] if is_nil(nil) => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        [other] => return Err(format!("len of type {}", type_of(other, true))),
        _ => return Err(format!("wrong number of args for len: want 1 got {}", arguments.len())),
    };
    Ok(Value::from(length as u64))
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let (first, keys) = arguments.split_first().ok_or("index of untyped nil")?;
    if is_nil(first) {
        return Err("index of untyped nil".into());
    }
    let mut item = first.clone();
    for key in keys {
        item = index_once(&item, key)?;
    }
    Ok(item)
}

fn index_once(item: &Value, key: &Value) -> Result<Value, String> {
    match item {
        Value::Map(_) | Value::Object(_) => match key {
            Value::String(_) => Ok(member(item, key).cloned().unwrap_or(Value::NoValue)),
            nil if is_nil(nil) => Err("value is nil; should be of type string".into()),
            other => Err(format!("value has type {}; should be string", type_of(other, false))),
        },
        Value::Array(items) => {
            let at = position(key, items.len())?;
            Ok(items[at].clone())
        }
        Value::String(text) => Ok(Value::from(u64::from(text.as_bytes()[position(key, text.len())?]))),
        nil if is_nil(nil) => Err("index of nil pointer".into()),
        other => Err(format!("can't index item of type {}", type_of(other, true))),
    }
}

fn position(key: &Value, length: usize) -> Result<usize, String> {
    if is_nil(key) {
        return Err("cannot index slice/array with nil".into());
    }
    let number = integer(key).ok_or_else(|| format!("cannot index slice/array with type {}", type_of(key, false)))?;
    let at = usize::try_from(number).ok().filter(|at| *at < length);
    at.ok_or_else(|| format!("index out of range: {number}"))
}
