//! From the wire to JSON, as Go would write what it has read.

use api::proto::{self, Field, Go, Message, Type};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::envelope::utf8;
use crate::wire::{Payload, Reader};

/// Messages within messages, no more than other implementations take.
const DEPTH_MAX: usize = 100;
/// Values that a body may become: a few bytes of it can stand for a struct with many fields.
const VALUES_MAX: usize = 1_000_000;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DecodeError {
    #[error("empty data")]
    EmptyData,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("empty body")]
    EmptyBody,
    #[error("no kind {kind:?} is registered for version {api_version:?} in scheme")]
    UnknownKind { api_version: String, kind: String },
    #[error("unexpected EOF")]
    Eof,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal wireType {0}")]
    WireType(u64),
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    #[error("proto: wrong wireType = {found} for field {field}")]
    WrongWireType { field: String, found: u8 },
    #[error("proto: invalid UTF-8 in a string")]
    Utf8,
    #[error("proto: {0:?} cannot be read")]
    Value(String),
    #[error("proto: messages are nested too deeply")]
    TooDeep,
    #[error("proto: the message holds too many values")]
    TooMany,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// The object of a message.
pub fn object(message: &Message, bytes: &[u8]) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    Decoder { depth: 0, values: 0 }.message(message, bytes, &mut object)?;
    Ok(object)
}

struct Decoder {
    depth: usize,
    values: usize,
}

impl Decoder {
    fn message(&mut self, message: &Message, bytes: &[u8], object: &mut Map<String, Value>) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.read(message, bytes, object)?;
        self.finish(message, object)?;
        self.depth -= 1;
        Ok(())
    }

    /// What no field has is skipped, as in Go.
    fn read(&mut self, message: &Message, bytes: &[u8], object: &mut Map<String, Value>) -> Result<()> {
        for field in Reader::new(bytes) {
            let (number, payload) = field?;
            let Some(field) = message.field(number) else { continue };
            match (field.ty, payload) {
                (Type::Message(inner), Payload::Bytes(bytes)) if field.is_embedded() => {
                    self.message(proto::by_index(inner), bytes, object)?;
                }
                (_, payload) => self.add(field, payload, object)?,
            }
        }
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<()> {
        self.values += values;
        if self.values > VALUES_MAX { Err(DecodeError::TooMany) } else { Ok(()) }
    }

    fn add(&mut self, field: &Field, payload: Payload<'_>, object: &mut Map<String, Value>) -> Result<()> {
        self.count(1)?;
        match (field.ty, payload) {
            (Type::Map(ty), Payload::Bytes(entry)) => {
                let (key, value) = self.entry(field, *ty, entry)?;
                if let Value::Object(entries) = slot(object, field, || Value::Object(Map::new())) {
                    entries.insert(key, value);
                }
            }
            (ty, payload) if field.repeated => {
                let items = self.items(field, ty, payload)?;
                if let Value::Array(list) = slot(object, field, || Value::Array(Vec::new())) {
                    list.extend(items);
                }
            }
            // A message that comes in parts is one message.
            (Type::Message(inner), Payload::Bytes(bytes)) => {
                if let Value::Object(whole) = slot(object, field, || Value::Object(Map::new())) {
                    self.message(proto::by_index(inner), bytes, whole)?;
                }
            }
            (ty, payload) => {
                let value = self.value(field, ty, payload)?;
                object.insert(field.name.into(), value);
            }
        }
        Ok(())
    }

    /// One item, or several numbers that are packed.
    fn items(&mut self, field: &Field, ty: Type, payload: Payload<'_>) -> Result<Vec<Value>> {
        let (Type::Int32 | Type::Int64 | Type::Bool, Payload::Bytes(packed)) = (ty, payload) else {
            return Ok(vec![self.value(field, ty, payload)?]);
        };
        let mut reader = Reader::new(packed);
        let mut items = Vec::new();
        while !reader.is_empty() {
            self.count(1)?;
            items.push(self.value(field, ty, Payload::Varint(reader.varint()?))?);
        }
        Ok(items)
    }

    fn entry(&mut self, field: &Field, ty: Type, entry: &[u8]) -> Result<(String, Value)> {
        let (mut key, mut value) = (String::new(), None);
        for part in Reader::new(entry) {
            match part? {
                (1, Payload::Bytes(text)) => key = utf8(text)?.to_owned(),
                (1, other) => return Err(other.wrong(field.name)),
                (2, payload) => value = Some(self.value(field, ty, payload)?),
                _ => {}
            }
        }
        match value {
            Some(value) => Ok((key, value)),
            None => Ok((key, self.zero(ty)?)),
        }
    }

    fn value(&mut self, field: &Field, ty: Type, payload: Payload<'_>) -> Result<Value> {
        let bytes = match (ty, payload) {
            (Type::Bool, Payload::Varint(number)) => return Ok((number != 0).into()),
            (Type::Int64, Payload::Varint(number)) => return Ok(number.cast_signed().into()),
            (Type::Int32, Payload::Varint(number)) => return Ok(low_half(number).into()),
            (Type::Double, Payload::Fixed64(bits)) => return Ok(f64::from_bits(bits).into()),
            (Type::Bool | Type::Int32 | Type::Int64 | Type::Double, other) => return Err(other.wrong(field.name)),
            (_, Payload::Bytes(bytes)) => bytes,
            (_, other) => return Err(other.wrong(field.name)),
        };
        match ty {
            Type::Bytes => Ok(BASE64_STANDARD.encode(bytes).into()),
            Type::Quantity => quantity(bytes),
            Type::Time => time(bytes, false),
            Type::MicroTime => time(bytes, true),
            Type::IntOrString => int_or_string(bytes),
            Type::Raw => raw(field, bytes),
            Type::Strings => strings(bytes),
            Type::Message(inner) => {
                let mut object = Map::new();
                self.message(proto::by_index(inner), bytes, &mut object)?;
                Ok(Value::Object(object))
            }
            Type::SchemaOrArray(inner) | Type::SchemaOrBool(inner) | Type::SchemaOrStrings(inner) => {
                let mut parts = Map::new();
                self.message(proto::by_index(inner), bytes, &mut parts)?;
                Ok(either(ty, parts))
            }
            _ => Ok(utf8(bytes)?.into()),
        }
    }

    /// Takes out what Go leaves out when it is empty, and adds what it writes although it is not there.
    fn finish(&mut self, message: &Message, object: &mut Map<String, Value>) -> Result<()> {
        for field in message.fields() {
            if let (Type::Message(inner), true) = (field.ty, field.is_embedded()) {
                self.finish(proto::by_index(inner), object)?;
                continue;
            }
            let is_struct = is_struct(field);
            match (object.get(field.name), field.go) {
                (Some(value), Go::OmitEmpty) if !is_struct && is_empty(value) => {
                    object.remove(field.name);
                }
                (Some(value), Go::OmitZero) if *value == self.zero(field.ty)? => {
                    object.remove(field.name);
                }
                (None, Go::PointerAlways) => {
                    object.insert(field.name.into(), Value::Null);
                }
                (None, Go::Always) => {
                    let zero = if field.repeated { Value::Null } else { self.zero(field.ty)? };
                    object.insert(field.name.into(), zero);
                }
                (None, Go::OmitEmpty) if is_struct => {
                    let zero = self.zero(field.ty)?;
                    object.insert(field.name.into(), zero);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Go's zero value, in JSON.
    fn zero(&mut self, ty: Type) -> Result<Value> {
        self.count(1)?;
        Ok(match ty {
            Type::String => "".into(),
            Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
            Type::Double => 0.0.into(),
            Type::Bool => false.into(),
            Type::Quantity => "0".into(),
            Type::Message(inner) => {
                let mut object = Map::new();
                self.finish(proto::by_index(inner), &mut object)?;
                Value::Object(object)
            }
            _ => Value::Null,
        })
    }
}

/// Go truncates.
fn low_half(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn slot<'a>(object: &'a mut Map<String, Value>, field: &Field, new: impl FnOnce() -> Value) -> &'a mut Value {
    object.entry(field.name).or_insert_with(new)
}

fn is_struct(field: &Field) -> bool {
    let by_type = matches!(
        field.ty,
        Type::Message(_) | Type::Time | Type::MicroTime | Type::Quantity | Type::IntOrString | Type::Raw
    );
    by_type && !field.repeated
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

fn quantity(message: &[u8]) -> Result<Value> {
    let mut found = Value::from("0");
    for field in Reader::new(message) {
        match field? {
            (1, Payload::Bytes(text)) => {
                let text = Value::from(utf8(text)?);
                let canonical = apimachinery::quantity::canonical(&text);
                found = match canonical {
                    Some(Ok(canonical)) => canonical.into(),
                    Some(Err(_)) => return Err(DecodeError::Value(text.to_string())),
                    None => text,
                };
            }
            (1, other) => return Err(other.wrong("String_")),
            _ => {}
        }
    }
    Ok(found)
}

/// An empty message is Go's zero time: null. A `Time` has whole seconds.
fn time(message: &[u8], micro: bool) -> Result<Value> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    for field in Reader::new(message) {
        match field? {
            (1, Payload::Varint(number)) => seconds = number.cast_signed(),
            (2, Payload::Varint(number)) => nanos = low_half(number),
            (1, other) => return Err(other.wrong("Seconds")),
            (2, other) => return Err(other.wrong("Nanos")),
            _ => {}
        }
    }
    let at = jiff::Timestamp::new(seconds, if micro { nanos } else { 0 });
    let at = at.ok().filter(|at| (0..10_000).contains(&at.to_zoned(jiff::tz::TimeZone::UTC).year()));
    let at = at.ok_or_else(|| DecodeError::Value(format!("{seconds}.{nanos}")))?;
    Ok(if micro { apimachinery::time::format_micro(at) } else { apimachinery::time::format(at) }.into())
}

fn int_or_string(message: &[u8]) -> Result<Value> {
    let (mut kind, mut number, mut text) = (0, 0, "");
    for field in Reader::new(message) {
        match field? {
            (1, Payload::Varint(given)) => kind = given,
            (2, Payload::Varint(given)) => number = low_half(given),
            (3, Payload::Bytes(given)) => text = utf8(given)?,
            (1, other) => return Err(other.wrong("Type")),
            (2, other) => return Err(other.wrong("IntVal")),
            (3, other) => return Err(other.wrong("StrVal")),
            _ => {}
        }
    }
    match kind {
        0 => Ok(number.into()),
        1 => Ok(text.into()),
        _ => Err(DecodeError::Value("impossible IntOrString.Type".into())),
    }
}

/// Holds JSON text in its first field.
fn raw(field: &Field, message: &[u8]) -> Result<Value> {
    let mut found = Value::Null;
    for part in Reader::new(message) {
        match part? {
            (1, Payload::Bytes([])) => {}
            (1, Payload::Bytes(json)) => {
                found = serde_json::from_slice(json).map_err(|_| DecodeError::Value(field.name.to_owned()))?;
            }
            (1, other) => return Err(other.wrong("Raw")),
            _ => {}
        }
    }
    Ok(found)
}

fn strings(message: &[u8]) -> Result<Value> {
    let mut items = Vec::new();
    for field in Reader::new(message) {
        match field? {
            (1, Payload::Bytes(text)) => items.push(Value::from(utf8(text)?)),
            (1, other) => return Err(other.wrong("Items")),
            _ => {}
        }
    }
    Ok(Value::Array(items))
}

/// The schema if there is one, else what the type has instead of it.
fn either(ty: Type, mut parts: Map<String, Value>) -> Value {
    if let Some(schema) = parts.remove("schema") {
        return schema;
    }
    match ty {
        Type::SchemaOrBool(_) => parts.contains_key("allows").into(),
        _ => parts.into_iter().next().map_or(Value::Null, |(_, list)| list),
    }
}
