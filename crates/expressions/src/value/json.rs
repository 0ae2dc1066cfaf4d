//! From JSON by declared type, and back.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value as Json;

use super::{List, Map, Opaque, SemverValue, Text, UrlValue, Value};
use crate::decl::DeclType;
use crate::errors::EvalError;
use crate::library::time;
use crate::limits::MAX_VALUE_DEPTH;
use crate::types::Type;

/// The declaration of what a list or map holds.
pub(super) fn element(decl: &DeclType) -> Arc<DeclType> {
    decl.element.clone().unwrap_or_else(|| Arc::new(DeclType::dynamic()))
}

/// Reads one level of JSON as its declared type.
pub(crate) fn read<'a>(value: &'a Json, decl: &Arc<DeclType>) -> Result<Value<'a>, EvalError> {
    match (value, &decl.ty) {
        (Json::Null, _) => Ok(Value::Null),
        (_, Type::Optional(_)) => read(value, &element(decl)).map(Value::some),
        (Json::Bool(value), _) => Ok(Value::Bool(*value)),
        (Json::Number(number), ty) => Ok(read_number(number, ty)),
        (Json::String(text), ty) => read_string(text, ty),
        (Json::Array(items), Type::List(_) | Type::Dyn) => Ok(Value::List(List::Json(items, decl.clone()))),
        (Json::Object(map), Type::Map(..) | Type::Object(_) | Type::Dyn) => {
            Ok(Value::Map(Map::Json(map, decl.clone())))
        }
        (Json::Array(_), ty) => Err(EvalError::message(format!("invalid data, expected {ty}, got a list"))),
        (Json::Object(_), ty) => Err(EvalError::message(format!("invalid data, expected {ty}, got a map"))),
    }
}

fn read_number<'a>(number: &serde_json::Number, ty: &Type) -> Value<'a> {
    let double = || Value::Double(number.as_f64().unwrap_or(f64::NAN));
    match ty {
        Type::Double => double(),
        _ => number.as_i64().map_or_else(double, Value::Int),
    }
}

fn read_string<'a>(text: &'a str, ty: &Type) -> Result<Value<'a>, EvalError> {
    match ty {
        Type::Timestamp => time::parse_date_or_time(text).map(Value::Timestamp).ok_or_else(|| invalid("date", text)),
        Type::Duration => time::parse_long_duration(text).map(Value::Duration).ok_or_else(|| invalid("duration", text)),
        Type::Bytes => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map(|bytes| Value::Bytes(bytes.into())).map_err(|_| invalid("byte formatted string", text))
        }
        _ => Ok(Value::String(Text::Borrowed(text))),
    }
}

fn invalid(what: &str, text: &str) -> EvalError {
    EvalError::message(format!("Invalid {what} {text}"))
}

impl<'a> Value<'a> {
    /// A value for JSON of no declared type.
    pub fn from_json(value: &'a Json) -> Self {
        read(value, &Arc::new(DeclType::dynamic())).unwrap_or(Value::Null)
    }

    /// The value as JSON: what a mutation applies, an audit annotation carries, a message prints. Fields that are
    /// `optional.none()` are left out.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        to_json(self, 0)
    }
}

fn to_json(value: &Value<'_>, depth: usize) -> Result<Json, EvalError> {
    if depth > MAX_VALUE_DEPTH {
        return Err(EvalError::message("value nests too deep"));
    }
    Ok(match value {
        Value::Null | Value::Optional(None) => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => Json::from(*value),
        Value::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::List(list) => list.iter().map(|item| to_json(&item?, depth + 1)).collect::<Result<_, _>>()?,
        Value::Map(map) => map_to_json(map, depth)?,
        Value::Optional(Some(inner)) => to_json(inner, depth + 1)?,
        other => Json::from(display(other)),
    })
}

fn map_to_json(map: &Map<'_>, depth: usize) -> Result<Json, EvalError> {
    let mut out = serde_json::Map::new();
    for key in map.keys() {
        let Value::String(name) = &key else {
            return Err(EvalError::message(format!("map key {} is not a string", display(&key))));
        };
        let Some(value) = map.field(name) else { continue };
        let json_name = match map {
            Map::Json(_, decl) => {
                decl.object_type().and_then(|object| object.fields.get(&**name)).map(|field| field.json_name.clone())
            }
            Map::Struct(_) => crate::decl::unescape(name),
            _ => None,
        };
        out.insert(json_name.unwrap_or_else(|| name.to_string()), to_json(&value?, depth + 1)?);
    }
    Ok(Json::Object(out))
}

/// The value as `string(x)` has it, or for a message.
pub(crate) fn display(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => crate::functions::double_text(*value),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Timestamp(at) => time::timestamp_text(*at),
        Value::Duration(nanos) => time::duration_text(*nanos),
        Value::Type(ty) => ty.runtime_name().to_owned(),
        Value::Optional(_) | Value::List(_) | Value::Map(_) => {
            value.to_json().map_or_else(|error| error.to_string(), |json| json.to_string())
        }
        Value::Opaque(value) => opaque_text(value),
    }
}

fn opaque_text(value: &Opaque) -> String {
    match value {
        Opaque::Quantity(quantity) => quantity.to_string(),
        Opaque::Url(UrlValue(url)) => url.text().to_owned(),
        Opaque::Ip(ip) => ip.to_string(),
        Opaque::Cidr(ip, bits) => format!("{ip}/{bits}"),
        Opaque::Semver(SemverValue(version)) => version.to_string(),
        Opaque::Format(_) | Opaque::Chain(_) => value.type_name().to_owned(),
    }
}

/// Equal if the values are.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}({})", self.type_of(), display(self))
    }
}
