//! What a template works with: parts of the object, and what functions made.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::print::go::Argument;

/// What a value is.
#[derive(Clone, Debug)]
pub enum Data<'d> {
    Nil,
    Bool(bool),
    /// A number of the template.
    Int(i64),
    /// A number of the object.
    Int64(i64),
    /// A byte of a string.
    Byte(u8),
    Float(f64),
    Text(Cow<'d, [u8]>),
    List(&'d [Json]),
    Map(&'d Map<String, Json>),
}

/// A value, and whether it still has its place's type, `interface {}`, as what comes out of a map has.
#[derive(Clone, Debug)]
pub struct Value<'d> {
    pub data: Data<'d>,
    pub boxed: bool,
}

impl<'d> Value<'d> {
    pub const NIL: Self = Self { data: Data::Nil, boxed: false };

    pub fn new(data: Data<'d>) -> Self {
        Self { data, boxed: false }
    }

    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Data::Text(Cow::Owned(text.into())))
    }

    pub fn of_json(json: &'d Json) -> Self {
        Self { data: Data::of_json(json), boxed: true }
    }

    #[must_use]
    pub fn unboxed(self) -> Self {
        Self { boxed: false, ..self }
    }

    /// Nothing at all, not even a place for something.
    pub fn is_invalid(&self) -> bool {
        matches!(self.data, Data::Nil) && !self.boxed
    }

    /// The type by which it is known.
    pub fn type_name(&self) -> &'static str {
        if self.boxed { "interface {}" } else { self.data.type_name() }
    }

    /// Whether an `if` goes in.
    pub fn is_true(&self) -> bool {
        match &self.data {
            Data::Nil => false,
            Data::Bool(value) => *value,
            Data::Int(number) | Data::Int64(number) => *number != 0,
            Data::Byte(byte) => *byte != 0,
            Data::Float(number) => *number != 0.0,
            Data::Text(text) => !text.is_empty(),
            Data::List(items) => !items.is_empty(),
            Data::Map(map) => !map.is_empty(),
        }
    }

    /// As an action writes it.
    pub fn written(&self) -> Vec<u8> {
        if matches!(self.data, Data::Nil) { b"<no value>".to_vec() } else { self.data.argument().text() }
    }
}

impl<'d> Data<'d> {
    pub fn of_json(json: &'d Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int64(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text.as_bytes())),
            Json::Array(items) => Self::List(items),
            Json::Object(map) => Self::Map(map),
        }
    }

    pub fn type_name(&self) -> &'static str {
        self.argument().type_name()
    }

    /// For the functions that format.
    pub fn argument(&self) -> Argument<'_> {
        match self {
            Self::Nil => Argument::Nil,
            Self::Bool(value) => Argument::Bool(*value),
            Self::Int(number) => Argument::Int(*number, "int"),
            Self::Int64(number) => Argument::Int(*number, "int64"),
            Self::Byte(byte) => Argument::Int(i64::from(*byte), "uint8"),
            Self::Float(number) => Argument::Float(*number),
            Self::Text(text) => Argument::Text(text),
            Self::List(items) => Argument::List(items),
            Self::Map(map) => Argument::Map(map),
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Int(number) | Self::Int64(number) => Some(*number),
            Self::Byte(byte) => Some(i64::from(*byte)),
            _ => None,
        }
    }
}
