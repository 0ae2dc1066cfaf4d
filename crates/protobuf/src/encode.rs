//! From JSON to the wire.

use api::proto::{self, Field, Message, Type};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::wire::Writer;

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error(
        "object {kind} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    )]
    NoMessage { kind: String },
    #[error("{field}: {value} is not what the schema says")]
    Mismatch { field: &'static str, value: String },
}

type Result<T> = std::result::Result<T, EncodeError>;

/// Everything that is not an object is taken for an empty one.
pub fn object(message: &Message, object: &Value, out: &mut Writer) -> Result<()> {
    message.fields().iter().try_for_each(|field| match field.ty {
        Type::Message(inner) if field.is_embedded() => {
            nested(out, field.number.into(), |out| self::object(proto::by_index(inner), object, out))
        }
        _ => self::field(field, object.get(field.name).unwrap_or(&Value::Null), out),
    })
}

fn nested(out: &mut Writer, number: u32, fill: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
    let mut done = Ok(());
    out.message(number, |out| done = fill(out));
    done
}

fn field(field: &Field, value: &Value, out: &mut Writer) -> Result<()> {
    let number = u32::from(field.number);
    match (field.ty, value) {
        (Type::Map(ty), value) => map(field, *ty, value, out),
        (ty, Value::Array(items)) if field.repeated => {
            items.iter().try_for_each(|item| single(field.name, ty, number, item, out))
        }
        (_, Value::Null) if field.repeated || field.go.is_pointer() => Ok(()),
        // A nil slice is not written either.
        (Type::Bytes | Type::Strings, Value::Null) => Ok(()),
        (_, value) if field.repeated => Err(mismatch(field.name, value)),
        (ty, value) => single(field.name, ty, number, value, out),
    }
}

fn mismatch(field: &'static str, value: &Value) -> EncodeError {
    EncodeError::Mismatch { field, value: value.to_string() }
}

fn map(field: &Field, ty: Type, value: &Value, out: &mut Writer) -> Result<()> {
    let entries = match value {
        Value::Object(entries) => entries,
        Value::Null => return Ok(()),
        other => return Err(mismatch(field.name, other)),
    };
    let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries.into_iter().try_for_each(|(key, value)| {
        nested(out, field.number.into(), |out| {
            out.bytes(1, key.as_bytes());
            match (ty, value) {
                (Type::Bytes, Value::Null) => Ok(()),
                _ => single(field.name, ty, 2, value, out),
            }
        })
    })
}

/// One value; null is Go's zero value.
fn single(name: &'static str, ty: Type, number: u32, value: &Value, out: &mut Writer) -> Result<()> {
    let wrong = || mismatch(name, value);
    match ty {
        Type::String => out.bytes(number, text(value).ok_or_else(wrong)?.as_bytes()),
        Type::Bytes => {
            let bytes = BASE64_STANDARD.decode(text(value).ok_or_else(wrong)?).map_err(|_| wrong())?;
            out.bytes(number, &bytes);
        }
        // Negative numbers are sent as 64 bits in two's complement.
        Type::Int32 | Type::Int64 => out.varint_field(number, integer(value).ok_or_else(wrong)?.cast_unsigned()),
        Type::Bool => out.varint_field(number, boolean(value).ok_or_else(wrong)?.into()),
        Type::Double => out.fixed64(number, double(value).ok_or_else(wrong)?.to_bits()),
        Type::Quantity => {
            let text = quantity(value).ok_or_else(wrong)?;
            out.message(number, |out| out.bytes(1, text.as_bytes()));
        }
        Type::Time => time(number, value, false, out).ok_or_else(wrong)?,
        Type::MicroTime => time(number, value, true, out).ok_or_else(wrong)?,
        Type::IntOrString => int_or_string(number, value, out).ok_or_else(wrong)?,
        Type::Raw if value.is_null() => out.message(number, |_| {}),
        Type::Raw => out.message(number, |out| out.bytes(1, value.to_string().as_bytes())),
        Type::Strings => strings(number, value, out).ok_or_else(wrong)?,
        Type::Message(inner) => return nested(out, number, |out| object(proto::by_index(inner), value, out)),
        Type::SchemaOrArray(inner) | Type::SchemaOrBool(inner) | Type::SchemaOrStrings(inner) => {
            return nested(out, number, |out| either(ty, proto::by_index(inner), value, out));
        }
        Type::Map(_) => return Err(wrong()),
    }
    Ok(())
}

fn text(value: &Value) -> Option<&str> {
    if value.is_null() { Some("") } else { value.as_str() }
}

fn boolean(value: &Value) -> Option<bool> {
    if value.is_null() { Some(false) } else { value.as_bool() }
}

fn integer(value: &Value) -> Option<i64> {
    if value.is_null() { Some(0) } else { value.as_i64() }
}

fn double(value: &Value) -> Option<f64> {
    if value.is_null() { Some(0.0) } else { value.as_f64() }
}

fn quantity(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("0".into()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Go's zero time is an empty message. Nanoseconds are always written; a `Time` has none, a `MicroTime` whole micros.
fn time(number: u32, value: &Value, micro: bool, out: &mut Writer) -> Option<()> {
    if value.is_null() {
        out.message(number, |_| {});
        return Some(());
    }
    let at = apimachinery::time::parse(value.as_str()?)?;
    let nanos = if micro { i64::from(at.subsec_nanosecond()) / 1000 * 1000 } else { 0 };
    // Before 1970 jiff counts the fraction backwards, Go forwards.
    let (seconds, nanos) =
        if nanos < 0 { (at.as_second() - 1, nanos + 1_000_000_000) } else { (at.as_second(), nanos) };
    out.message(number, |out| {
        out.varint_field(1, seconds.cast_unsigned());
        out.varint_field(2, nanos.cast_unsigned());
    });
    Some(())
}

fn int_or_string(number: u32, value: &Value, out: &mut Writer) -> Option<()> {
    let (kind, int, text) = match value {
        Value::Null => (0, 0, ""),
        Value::Number(number) => (0, number.as_i64()?, ""),
        Value::String(text) => (1, 0, text.as_str()),
        _ => return None,
    };
    out.message(number, |out| {
        out.varint_field(1, kind);
        out.varint_field(2, int.cast_unsigned());
        out.bytes(3, text.as_bytes());
    });
    Some(())
}

fn strings(number: u32, value: &Value, out: &mut Writer) -> Option<()> {
    let items = if value.is_null() { &[] } else { value.as_array()?.as_slice() };
    let items: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
    out.message(number, |out| items.into_iter().for_each(|item| out.bytes(1, item.as_bytes())));
    Some(())
}

/// A schema, or what the type has instead of it.
fn either(ty: Type, message: &Message, value: &Value, out: &mut Writer) -> Result<()> {
    let [first, second] = message.fields() else { return Ok(()) };
    let is_schema = value.is_object();
    let (other, schema) = if matches!(ty, Type::SchemaOrBool(_)) { (first, second) } else { (second, first) };
    let null = &Value::Null;
    // In Go the bool beside a schema is true.
    let beside = if matches!(ty, Type::SchemaOrBool(_)) { &Value::Bool(true) } else { null };
    let (schema_value, other_value) = if is_schema { (value, beside) } else { (null, value) };
    let mut fields = [(schema, schema_value), (other, other_value)];
    fields.sort_by_key(|(field, _)| field.number);
    fields.into_iter().try_for_each(|(field, value)| self::field(field, value, out))
}
