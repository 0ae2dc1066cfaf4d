//! Conversions between the basic types.

use super::{Answer, time};
use crate::errors::EvalError;
use crate::value::{Opaque, Value, display};

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    let [value] = args else { return None };
    match function {
        "string" => string(value),
        "int" => int(value),
        "uint" => uint(value),
        "double" => double(value),
        "bool" => bool(value),
        "bytes" => bytes(value),
        "timestamp" => timestamp(value),
        "duration" => duration(value),
        _ => None,
    }
}

fn failed<'a>(value: &Value<'_>, to: &str) -> Result<Value<'a>, EvalError> {
    let from = value.type_of();
    Err(EvalError::message(format!("type conversion error from '{}' to '{to}'", from.runtime_name())))
}

fn string<'a>(value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::String(_) => Some(Ok(value.clone())),
        Value::Bytes(bytes) => Some(match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(EvalError::message("invalid UTF-8 in bytes, cannot convert to string")),
        }),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Duration(_) => Some(Ok(Value::text(display(value)))),
        Value::Opaque(opaque) if matches!(**opaque, Opaque::Ip(_) | Opaque::Cidr(..)) => {
            Some(Ok(Value::text(display(value))))
        }
        _ => None,
    }
}

fn int<'a>(value: &Value<'a>) -> Answer<'a> {
    Some(match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| EvalError::IntegerOverflow),
        Value::Double(number) => match crate::functions::exact_int(number.trunc()) {
            Some(whole) if whole > i64::MIN => Ok(Value::Int(whole)),
            _ => Err(EvalError::IntegerOverflow),
        },
        Value::String(text) => text.parse().map(Value::Int).or_else(|_| failed(value, "int")),
        Value::Timestamp(at) => Ok(Value::Int(at.as_second())),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        _ => return None,
    })
}

fn uint<'a>(value: &Value<'a>) -> Answer<'a> {
    Some(match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| EvalError::UnsignedOverflow),
        Value::Double(number) if (0.0..18_446_744_073_709_551_615.0).contains(&number.trunc()) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
            let whole = *number as u64;
            Ok(Value::Uint(whole))
        }
        Value::Double(_) => Err(EvalError::UnsignedOverflow),
        Value::String(text) => text.parse().map(Value::Uint).or_else(|_| failed(value, "uint")),
        _ => return None,
    })
}

fn double<'a>(value: &Value<'a>) -> Answer<'a> {
    #[expect(clippy::cast_precision_loss, reason = "what a conversion to double means")]
    Some(match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => text.parse().map(Value::Double).or_else(|_| failed(value, "double")),
        _ => return None,
    })
}

fn bool<'a>(value: &Value<'a>) -> Answer<'a> {
    Some(match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => failed(value, "bool"),
        },
        _ => return None,
    })
}

fn bytes<'a>(value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::Bytes(_) => Some(Ok(value.clone())),
        Value::String(text) => Some(Ok(Value::Bytes(text.as_bytes().into()))),
        _ => None,
    }
}

fn timestamp<'a>(value: &Value<'a>) -> Answer<'a> {
    Some(match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => time::from_seconds(*seconds).map(Value::Timestamp).ok_or(EvalError::TimestampOverflow),
        Value::String(text) => {
            time::parse_timestamp(text).map(Value::Timestamp).map_or_else(|| failed(value, "timestamp"), Ok)
        }
        _ => return None,
    })
}

fn duration<'a>(value: &Value<'a>) -> Answer<'a> {
    Some(match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => {
            time::parse_duration(text).map(Value::Duration).map_or_else(|| failed(value, "duration"), Ok)
        }
        _ => return None,
    })
}
