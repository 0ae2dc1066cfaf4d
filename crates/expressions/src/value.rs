//! Values. Those of JSON are borrowed and read by their declared type only when an expression touches them.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use apimachinery::quantity::Quantity;
use jiff::Timestamp;

use crate::authorizer::{Chain, ResourceTarget};
use crate::library::{Format, Semver, Url};
use crate::types::{Type, opaque};

mod compare;
mod json;
mod list;
mod map;

pub(crate) use json::{display, read};
pub use list::List;
pub use map::Map;
pub(crate) use map::{Key, Struct, unsupported_key};

/// A value of an expression.
#[derive(Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    /// In nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Type),
    /// A value of one of Kubernetes' own types.
    Opaque(Arc<Opaque>),
}

/// The values of Kubernetes' own types.
pub enum Opaque {
    #[doc(hidden)]
    Quantity(Quantity),
    #[doc(hidden)]
    Url(UrlValue),
    #[doc(hidden)]
    Ip(IpAddr),
    #[doc(hidden)]
    Cidr(IpAddr, u8),
    #[doc(hidden)]
    Semver(SemverValue),
    #[doc(hidden)]
    Format(FormatValue),
    #[doc(hidden)]
    Chain(ChainValue),
}

pub struct UrlValue(pub(crate) Url);
pub struct SemverValue(pub(crate) Semver);
pub struct FormatValue(pub(crate) &'static Format);
pub struct ChainValue(pub(crate) Chain);

/// A string, borrowed from JSON or made by the evaluation.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    pub fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::Owned(Arc::new(items)))
    }

    pub fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub fn none() -> Self {
        Self::Optional(None)
    }

    pub(crate) fn opaque(value: Opaque) -> Self {
        Self::Opaque(Arc::new(value))
    }

    pub(crate) fn chain(chain: Chain) -> Self {
        Self::opaque(Opaque::Chain(ChainValue(chain)))
    }

    pub(crate) fn authorizer() -> Self {
        Self::chain(Chain::Authorizer(None))
    }

    pub(crate) fn request_resource(target: ResourceTarget) -> Self {
        Self::chain(Chain::Resource(None, target))
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// What `type(x)` is.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(map) => map.type_of(),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Opaque(value) => Type::Opaque(value.type_name()),
        }
    }

    /// The size that costs are computed from: characters, bytes, items, entries; 1 for everything else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(inner)) => inner.size(),
            Self::Opaque(value) => value.size(),
            _ => 1,
        }
    }
}

impl Opaque {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Quantity(_) => opaque::QUANTITY,
            Self::Url(_) => opaque::URL,
            Self::Ip(_) => opaque::IP,
            Self::Cidr(..) => opaque::CIDR,
            Self::Semver(_) => opaque::SEMVER,
            Self::Format(_) => opaque::FORMAT,
            Self::Chain(ChainValue(chain)) => match chain {
                Chain::Authorizer(_) => opaque::AUTHORIZER,
                Chain::Path(..) => opaque::PATH_CHECK,
                Chain::Group(..) => opaque::GROUP_CHECK,
                Chain::Resource(..) => opaque::RESOURCE_CHECK,
                Chain::Decision(_) => opaque::DECISION,
            },
        }
    }

    fn size(&self) -> u64 {
        let bytes = |ip: &IpAddr| if ip.is_ipv4() { 4 } else { 16 };
        match self {
            Self::Ip(ip) | Self::Cidr(ip, _) => bytes(ip),
            _ => 1,
        }
    }
}
