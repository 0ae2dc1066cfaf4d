//! Values as Go's `fmt` prints them.

mod number;
mod printf;
mod quote;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use serde_json::{Map, Value};

pub use printf::sprintf;
pub use quote::quoted;

/// What a function that formats is given.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    Nil,
    Bool(bool),
    /// With its type.
    Int(i64, &'static str),
    Float(f64),
    Text(&'a [u8]),
    List(&'a [Value]),
    Map(&'a Map<String, Value>),
}

impl<'a> Argument<'a> {
    pub fn of_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number, "int64"),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text.as_bytes()),
            Value::Array(items) => Self::List(items),
            Value::Object(map) => Self::Map(map),
        }
    }

    /// `%T`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_, name) => name,
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }

    /// `%v`.
    pub fn text(&self) -> Vec<u8> {
        sprintf(b"%v", &[*self])
    }
}

/// Side by side; with a space between two of which neither is a string.
pub fn sprint(arguments: &[Argument<'_>]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut after_text = true;
    for argument in arguments {
        let is_text = matches!(argument, Argument::Text(_));
        if !after_text && !is_text {
            text.push(b' ');
        }
        text.extend(argument.text());
        after_text = is_text;
    }
    text
}

/// With spaces between all, and a line's end.
pub fn sprintln(arguments: &[Argument<'_>]) -> Vec<u8> {
    let mut text = arguments.iter().map(Argument::text).collect::<Vec<_>>().join(&b' ');
    text.push(b'\n');
    text
}

/// `%v`.
pub fn go_text(value: &Value) -> String {
    String::from_utf8_lossy(&Argument::of_json(value).text()).into_owned()
}

/// Decodes as Go does, and complains so. Line ends are passed over.
pub fn decode_base64(text: impl AsRef<[u8]>) -> Result<Vec<u8>, String> {
    let text: Vec<u8> = text.as_ref().iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    STANDARD.decode(&text).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len() / 4 * 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}
