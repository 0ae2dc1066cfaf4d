use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use netlink::Ipv4Cidr;

use crate::Verdict;

/// What a key or a value of a set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    Ipv4Addr,
    InetProto,
    InetService,
    /// A number in the machine's byte order.
    Mark,
}

/// One part of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Datum {
    Addr(Ipv4Addr),
    Proto(u8),
    Port(u16),
    Mark(u32),
    /// A range of addresses, in interval sets only.
    Prefix(Ipv4Cidr),
}

impl Datum {
    pub fn data_type(self) -> DataType {
        match self {
            Self::Addr(_) | Self::Prefix(_) => DataType::Ipv4Addr,
            Self::Proto(_) => DataType::InetProto,
            Self::Port(_) => DataType::InetService,
            Self::Mark(_) => DataType::Mark,
        }
    }
}

/// What a map gives for a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    Verdict(Verdict),
    Values(Vec<Datum>),
}

/// What kind of data a map holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataKind {
    Verdict,
    Values(Vec<DataType>),
}

/// A set, or a map when it has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    pub key: Vec<DataType>,
    pub data: Option<DataKind>,
    /// Keys may hold prefixes.
    pub interval: bool,
    /// Filled by rules as packets pass; entries expire. The number is how many it may hold.
    pub dynamic: Option<u32>,
}

impl Set {
    pub fn new(name: impl Into<String>, key: &[DataType]) -> Self {
        Self { name: name.into(), key: key.to_vec(), data: None, interval: false, dynamic: None }
    }

    pub fn map(name: impl Into<String>, key: &[DataType], data: &[DataType]) -> Self {
        Self { data: Some(DataKind::Values(data.to_vec())), ..Self::new(name, key) }
    }

    pub fn verdict_map(name: impl Into<String>, key: &[DataType]) -> Self {
        Self { data: Some(DataKind::Verdict), ..Self::new(name, key) }
    }

    #[must_use]
    pub fn interval(self) -> Self {
        Self { interval: true, ..self }
    }

    #[must_use]
    pub fn dynamic(self, capacity: u32) -> Self {
        Self { dynamic: Some(capacity), ..self }
    }
}

/// An entry of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Vec<Datum>,
    pub data: Option<Data>,
    /// Whom the entry serves, for people who list the table.
    pub comment: Option<Arc<str>>,
    pub timeout: Option<Duration>,
}

impl Element {
    pub fn key(key: impl Into<Vec<Datum>>) -> Self {
        Self { key: key.into(), data: None, comment: None, timeout: None }
    }

    pub fn new(key: impl Into<Vec<Datum>>, data: Data) -> Self {
        Self { data: Some(data), ..Self::key(key) }
    }

    #[must_use]
    pub fn comment(self, comment: impl Into<Arc<str>>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }
}
