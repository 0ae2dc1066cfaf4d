//! Maps and objects: of JSON, made by the evaluation, or the composed `variables`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Text, Value, json};
use crate::decl::DeclType;
use crate::errors::EvalError;
use crate::types::{ObjectType, Type};

#[derive(Clone)]
pub enum Map<'a> {
    /// The declaration is that of the map or the object.
    Json(&'a serde_json::Map<String, Json>, Arc<DeclType>),
    #[doc(hidden)]
    Owned(Arc<Entries<'a>>),
    #[doc(hidden)]
    Struct(Arc<Struct<'a>>),
    /// `variables`; only the evaluator can look into it.
    #[doc(hidden)]
    Composed,
}

type Entries<'a> = BTreeMap<Key<'a>, Value<'a>>;

/// An object that the expression constructed, as `Object{...}`.
pub struct Struct<'a> {
    pub(crate) ty: Arc<ObjectType>,
    pub(crate) fields: BTreeMap<String, Value<'a>>,
}

/// A key of a map: numbers are the same key if their values are equal.
#[derive(Clone)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    pub(crate) fn of(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Uint(value) => Some(Self::Uint(*value)),
            Value::Double(value) => crate::functions::exact_int(*value).map(Self::Int),
            Value::String(text) => Some(Self::String(text.clone())),
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::String(text) => Value::String(text.clone()),
        }
    }

    fn number(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(i128::from(*value)),
            Self::Uint(value) => Some(i128::from(*value)),
            Self::Bool(_) | Self::String(_) => None,
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::String(a), Self::String(b)) => str::cmp(a, b),
            (Self::String(_), _) => Ordering::Greater,
            (_, Self::String(_)) => Ordering::Less,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            _ => self.number().cmp(&other.number()),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}

impl<'a> Map<'a> {
    pub(crate) fn owned(entries: Entries<'a>) -> Self {
        Self::Owned(Arc::new(entries))
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, decl) => match decl.object_type() {
                Some(_) => self.keys().len(),
                None => map.len(),
            },
            Self::Owned(entries) => entries.len(),
            Self::Struct(object) => object.fields.len(),
            Self::Composed => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn type_of(&self) -> Type {
        match self {
            Self::Json(_, decl) if decl.object_type().is_some() => decl.ty.clone(),
            Self::Struct(object) => Type::Object(object.ty.clone()),
            _ => Type::map(Type::Dyn, Type::Dyn),
        }
    }

    /// The value under a key, or of a field by its name in expressions.
    pub fn get(&self, key: &Value<'a>) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Owned(entries) => entries.get(&Key::of(key)?).cloned().map(Ok),
            _ => self.field(key.as_str()?),
        }
    }

    pub fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Self::Json(map, decl) => match decl.object_type() {
                Some(object) => {
                    let field = object.fields.get(name)?;
                    Some(json::read(map.get(&field.json_name)?, &field.decl))
                }
                None => Some(json::read(map.get(name)?, &json::element(decl))),
            },
            Self::Owned(entries) => entries.get(&Key::String(Text::Shared(name.into()))).cloned().map(Ok),
            Self::Struct(object) => object.fields.get(name).cloned().map(Ok),
            Self::Composed => None,
        }
    }

    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(map, decl) => match decl.object_type() {
                Some(object) => {
                    let present = object.fields.iter().filter(|(_, field)| map.contains_key(&field.json_name));
                    present.map(|(name, _)| Value::text(name.as_str())).collect()
                }
                None => map.keys().map(|key| Value::String(Text::Borrowed(key))).collect(),
            },
            Self::Owned(entries) => entries.keys().map(Key::value).collect(),
            Self::Struct(object) => object.fields.keys().map(|name| Value::text(name.as_str())).collect(),
            Self::Composed => Vec::new(),
        }
    }

    /// Adds in place when nobody else holds the map; an existing key is an error.
    pub(crate) fn insert(self, key: &Value<'a>, value: Value<'a>) -> Result<Self, EvalError> {
        let mut entries = match self {
            Self::Owned(entries) => Arc::try_unwrap(entries).unwrap_or_else(|shared| (*shared).clone()),
            other => other.to_entries()?,
        };
        let typed = Key::of(key).ok_or_else(|| unsupported_key(key))?;
        if entries.insert(typed, value).is_some() {
            return Err(EvalError::message(format!("insert failed: key {} already exists", json::display(key))));
        }
        Ok(Self::owned(entries))
    }

    fn to_entries(&self) -> Result<Entries<'a>, EvalError> {
        let mut entries = BTreeMap::new();
        for key in self.keys() {
            if let (Some(typed), Some(value)) = (Key::of(&key), self.get(&key)) {
                entries.insert(typed, value?);
            }
        }
        Ok(entries)
    }
}

pub(crate) fn unsupported_key(key: &Value<'_>) -> EvalError {
    EvalError::message(format!("unsupported key type: {}", key.type_of().runtime_name()))
}
