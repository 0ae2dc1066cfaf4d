use std::net::Ipv4Addr;
use std::time::Duration;

use netlink::Ipv4Cidr;

use crate::DataType;

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

impl Verdict {
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return => None,
        }
    }
}

/// Something that a rule reads from the packet, its connection or its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    SourceAddress,
    DestinationAddress,
    Protocol,
    DestinationPort,
    Mark,
    ConnectionState,
    ConnectionStatus,
    /// What the routing table says of the source: local, unicast …
    SourceKind,
    DestinationKind,
    InputInterface,
    OutputInterface,
    /// A number drawn evenly from 0 to one below this.
    Random(u32),
    Constant(Ipv4Addr),
}

impl Value {
    /// The type by which sets know it, if it may be part of a key.
    pub fn data_type(self) -> Option<DataType> {
        match self {
            Self::SourceAddress | Self::DestinationAddress | Self::Constant(_) => Some(DataType::Ipv4Addr),
            Self::Protocol => Some(DataType::InetProto),
            Self::DestinationPort => Some(DataType::InetService),
            Self::Mark | Self::Random(_) => Some(DataType::Mark),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Address(Ipv4Addr),
    Prefix(Ipv4Cidr),
    Protocol(u8),
    Port(u16),
    Interface(String),
    /// The address belongs to this machine.
    Local,
    /// Any of these bits is set.
    Bits(Bits),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// `ct state new`
    New,
    /// `ct status dnat`
    Dnat,
    Mark(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    PortUnreachable,
    TcpReset,
}

/// Keeps what a map gave under another key, so that a later packet finds it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remember {
    pub map: String,
    pub key: Vec<Value>,
    pub timeout: Duration,
}

/// One statement of a rule; a statement that does not match ends the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    Match {
        value: Value,
        operator: Operator,
        operand: Operand,
    },
    /// The key is in the set (or, negated, is not).
    Lookup {
        key: Vec<Value>,
        set: String,
        negated: bool,
    },
    /// The verdict that the map holds for the key.
    Dispatch {
        key: Vec<Value>,
        map: String,
    },
    /// Sends the connection to the address and port that the map holds for the key.
    Dnat {
        key: Vec<Value>,
        map: String,
        remember: Option<Remember>,
    },
    /// Replaces the source by an address of the outgoing interface.
    Masquerade,
    SetMarkBits(u32),
    ClearMarkBits(u32),
    Counter,
    Reject(Rejection),
    Verdict(Verdict),
}

impl Statement {
    pub fn equal(value: Value, operand: Operand) -> Self {
        Self::Match { value, operator: Operator::Equal, operand }
    }

    pub fn not_equal(value: Value, operand: Operand) -> Self {
        Self::Match { value, operator: Operator::NotEqual, operand }
    }

    pub fn jump(chain: impl Into<String>) -> Self {
        Self::Verdict(Verdict::Jump(chain.into()))
    }

    pub fn goto(chain: impl Into<String>) -> Self {
        Self::Verdict(Verdict::Goto(chain.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rule {
    pub statements: Vec<Statement>,
    pub comment: Option<String>,
}

impl Rule {
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self { statements: statements.into(), comment: None }
    }

    #[must_use]
    pub fn comment(self, comment: impl Into<String>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }
}
