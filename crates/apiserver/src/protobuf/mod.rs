//! Request bodies in protobuf: from the wire to JSON, driven by the schema tables.
//!
//! Go embeds structs that JSON flattens; on the wire they are messages of their own. `inline.txt` says where: a
//! definition, the path of field numbers that leads to the embedded message (`-` for none), and the JSON names of the
//! fields there.

mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

use api::schema::{self, Definition, Type};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

pub use wire::{Payload, Reader, Writer};

const MAGIC: &[u8] = b"k8s\0";

type Inlined = HashMap<u32, &'static str>;

static INLINE: LazyLock<HashMap<(&'static str, &'static str), Inlined>> = LazyLock::new(|| {
    let rows = include_str!("inline.txt").lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (definition, path) = (words.next()?, words.next()?);
        let fields = words.next()?.split(',').filter_map(|pair| pair.split_once('='));
        let by_number = fields.filter_map(|(name, number)| Some((number.parse().ok()?, name))).collect();
        Some(((definition, path), by_number))
    });
    rows.collect()
});

#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("the protobuf message is malformed")]
    Malformed,
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind { api_version: String, kind: String },
    #[error("the protobuf form of field {0:?} is not supported")]
    Unsupported(String),
}

/// The object of an enveloped message, with its apiVersion and kind.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let message = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let envelope = Envelope::read(message)?;
    let (api_version, kind) = (envelope.api_version, envelope.kind);
    let definition = definition_of(&api_version, &kind)
        .ok_or_else(|| ProtobufError::UnknownKind { api_version: api_version.clone(), kind: kind.clone() })?;
    let mut object = Map::new();
    fields(definition, "", envelope.raw, &mut object)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

fn definition_of(api_version: &str, kind: &str) -> Option<&'static Definition> {
    if kind == "DeleteOptions" {
        return schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    }
    let (group, version) = apimachinery::gvk::split_api_version(api_version);
    schema::kind(group, version, kind)
}

#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(message: &'a [u8]) -> Result<Envelope<'a>, ProtobufError> {
        let mut envelope = Envelope::default();
        for field in Reader::new(message) {
            match field? {
                (1, Payload::Bytes(meta)) => envelope.read_meta(meta)?,
                (2, Payload::Bytes(raw)) => envelope.raw = raw,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_meta(&mut self, meta: &[u8]) -> Result<(), ProtobufError> {
        for field in Reader::new(meta) {
            match field? {
                (1, Payload::Bytes(text)) => self.api_version = string(text)?,
                (2, Payload::Bytes(text)) => self.kind = string(text)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn string(bytes: &[u8]) -> Result<String, ProtobufError> {
    std::str::from_utf8(bytes).map(str::to_string).map_err(|_| ProtobufError::Malformed)
}

/// Reads the fields of a message that belong to `definition`, at the path of an embedded message or at its own level.
fn fields(
    definition: &'static Definition,
    path: &str,
    message: &[u8],
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    let inlined = INLINE.get(&(definition.name, if path.is_empty() { "-" } else { path }));
    for field in Reader::new(message) {
        let (number, payload) = field?;
        let named = inlined.and_then(|fields| fields.get(&number)).and_then(|name| definition.field(name));
        let own =
            || definition.fields().iter().find(|field| path.is_empty() && u32::from(field.proto_number) == number);
        if let Some(field) = named.or_else(own) {
            add(object, field.name, field.ty, payload)?;
            continue;
        }
        let deeper = if path.is_empty() { number.to_string() } else { format!("{path}.{number}") };
        if let (Payload::Bytes(inner), true) = (payload, leads_on(definition, &deeper)) {
            fields(definition, &deeper, inner, object)?;
        }
    }
    Ok(())
}

fn leads_on(definition: &Definition, path: &str) -> bool {
    INLINE.keys().any(|(name, own)| {
        *name == definition.name && (*own == path || own.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    })
}

fn add(object: &mut Map<String, Value>, name: &str, ty: Type, payload: Payload<'_>) -> Result<(), ProtobufError> {
    match (ty, payload) {
        (Type::List(inner), Payload::Bytes(packed)) if matches!(inner, Type::Int32 | Type::Int64 | Type::Bool) => {
            let list = array(object, name);
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                list.push(value(name, *inner, Payload::Varint(reader.varint()?))?);
            }
        }
        (Type::List(inner), payload) => {
            let item = value(name, *inner, payload)?;
            array(object, name).push(item);
        }
        (Type::Map(inner), Payload::Bytes(entry)) => {
            let (key, item) = map_entry(name, *inner, entry)?;
            let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            map.as_object_mut().ok_or(ProtobufError::Malformed)?.insert(key, item);
        }
        (ty, payload) => {
            let item = value(name, ty, payload)?;
            object.insert(name.into(), item);
        }
    }
    Ok(())
}

fn array<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let slot = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("made an array above")
}

fn map_entry(name: &str, ty: Type, entry: &[u8]) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut item) = (String::new(), None);
    for field in Reader::new(entry) {
        match field? {
            (1, Payload::Bytes(text)) => key = string(text)?,
            (2, payload) => item = Some(value(name, ty, payload)?),
            _ => {}
        }
    }
    let empty = || value(name, ty, Payload::Bytes(&[]));
    Ok((key, item.map_or_else(empty, Ok)?))
}

fn value(name: &str, ty: Type, payload: Payload<'_>) -> Result<Value, ProtobufError> {
    match (ty, payload) {
        (Type::String, Payload::Bytes(bytes)) => Ok(string(bytes)?.into()),
        (Type::Bytes, Payload::Bytes(bytes)) => Ok(BASE64_STANDARD.encode(bytes).into()),
        (Type::Bool, Payload::Varint(number)) => Ok((number != 0).into()),
        // Negative numbers are sent as 64 bits in two's complement.
        (Type::Int32 | Type::Int64, Payload::Varint(number)) => Ok(number.cast_signed().into()),
        (Type::Double, Payload::Fixed64(bits)) => Ok(f64::from_bits(bits).into()),
        (Type::Quantity, Payload::Bytes(message)) => quantity(message),
        (Type::Time, Payload::Bytes(message)) => time(message, false),
        (Type::MicroTime, Payload::Bytes(message)) => time(message, true),
        (Type::IntOrString, Payload::Bytes(message)) => int_or_string(message),
        (Type::Any, Payload::Bytes(message)) => any(name, message),
        (Type::Object(index), Payload::Bytes(message)) => {
            let mut object = Map::new();
            fields(schema::by_index(index), "", message, &mut object)?;
            Ok(Value::Object(object))
        }
        _ => Err(ProtobufError::Malformed),
    }
}

fn quantity(message: &[u8]) -> Result<Value, ProtobufError> {
    for field in Reader::new(message) {
        if let (1, Payload::Bytes(text)) = field? {
            return Ok(string(text)?.into());
        }
    }
    Ok("0".into())
}

/// An empty message is Go's zero time: null.
fn time(message: &[u8], micro: bool) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in Reader::new(message) {
        match field? {
            (1, Payload::Varint(number)) => seconds = number.cast_signed(),
            (2, Payload::Varint(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Malformed)?;
    let at = jiff::Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed)?;
    Ok(if micro { apimachinery::time::format_micro(at) } else { apimachinery::time::format(at) }.into())
}

fn int_or_string(message: &[u8]) -> Result<Value, ProtobufError> {
    let (mut kind, mut number, mut text) = (0, 0, String::new());
    for field in Reader::new(message) {
        match field? {
            (1, Payload::Varint(given)) => kind = given,
            (2, Payload::Varint(given)) => number = given.cast_signed(),
            (3, Payload::Bytes(given)) => text = string(given)?,
            _ => {}
        }
    }
    Ok(if kind == 0 { number.into() } else { text.into() })
}

/// Raw extensions and field sets hold JSON text in their first field.
fn any(name: &str, message: &[u8]) -> Result<Value, ProtobufError> {
    let unsupported = || ProtobufError::Unsupported(name.to_string());
    match Reader::new(message).next().transpose()? {
        Some((1, Payload::Bytes(json))) => serde_json::from_slice(json).map_err(|_| unsupported()),
        Some(_) => Err(unsupported()),
        None => Ok(Value::Null),
    }
}

#[cfg(test)]
mod tests;
