//! Transactions, rules and elements in nft's own syntax.

use std::fmt::{self, Display, Formatter};

use crate::{
    Bits, Chain, ChainKind, Data, DataKind, DataType, Datum, Element, Family, Hook, HookPoint, Op, Operand, Operator,
    Rejection, Remember, Rule, Set, Statement, Table, Transaction, Value, Verdict,
};

/// Items with a separator between them.
struct Joined<'a, T>(&'a [T], &'static str);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { self.1 };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Inet => "inet",
        })
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

impl Display for Transaction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.ops.iter().try_for_each(|op| writeln!(f, "{}", op.in_table(&self.table)))
    }
}

/// An operation together with the table it is for.
pub(crate) struct OpInTable<'a>(&'a Op, &'a Table);

impl Op {
    pub(crate) fn in_table<'a>(&'a self, table: &'a Table) -> OpInTable<'a> {
        OpInTable(self, table)
    }
}

impl Display for OpInTable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(op, table) = self;
        match op {
            Op::AddTable => write!(f, "add table {table}"),
            Op::DeleteTable => write!(f, "delete table {table}"),
            Op::AddChain(chain) => write!(f, "add chain {table} {chain}"),
            Op::FlushChain(chain) => write!(f, "flush chain {table} {chain}"),
            Op::DeleteChain(chain) => write!(f, "delete chain {table} {chain}"),
            Op::AddRule { chain, rule } => write!(f, "add rule {table} {chain} {rule}"),
            Op::AddSet(set) => write!(f, "add {} {table} {set}", set_noun(set)),
            Op::DeleteSet(set) => write!(f, "delete set {table} {set}"),
            Op::FlushSet(set) => write!(f, "flush set {table} {set}"),
            Op::AddElements { set, elements } => {
                write!(f, "add element {table} {set} {{ {} }}", Joined(elements, ", "))
            }
            Op::DeleteElements { set, elements } => {
                write!(f, "delete element {table} {set} {{ {} }}", Joined(elements, ", "))
            }
        }
    }
}

fn set_noun(set: &Set) -> &'static str {
    match set.data {
        Some(_) => "map",
        None => "set",
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.hook {
            None => f.write_str(&self.name),
            Some(hook) => write!(f, "{} {{ {hook}; }}", self.name),
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        write!(f, "type {kind} hook {} priority {}", self.point, self.priority)
    }
}

impl Display for HookPoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{ type {}", self.name, Joined(&self.key, " . "))?;
        match &self.data {
            None => {}
            Some(DataKind::Verdict) => f.write_str(" : verdict")?,
            Some(DataKind::Values(types)) => write!(f, " : {}", Joined(types, " . "))?,
        }
        f.write_str(";")?;
        if self.interval {
            f.write_str(" flags interval;")?;
        }
        if let Some(capacity) = self.dynamic {
            write!(f, " flags dynamic,timeout; size {capacity};")?;
        }
        f.write_str(" }")
    }
}

impl Display for DataType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Mark => "mark",
        })
    }
}

impl Display for Datum {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(address) => address.fmt(f),
            Self::Proto(number) => f.write_str(&protocol_name(*number)),
            Self::Port(port) => port.fmt(f),
            Self::Mark(mark) => mark.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
        }
    }
}

fn protocol_name(number: u8) -> String {
    match i32::from(number) {
        libc::IPPROTO_TCP => "tcp".to_owned(),
        libc::IPPROTO_UDP => "udp".to_owned(),
        libc::IPPROTO_SCTP => "sctp".to_owned(),
        other => other.to_string(),
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.key, " . "))?;
        if let Some(timeout) = self.timeout {
            write!(f, " timeout {}s", timeout.as_secs())?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match &self.data {
            None => Ok(()),
            Some(data) => write!(f, " : {data}"),
        }
    }
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Values(values) => Joined(values, " . ").fmt(f),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceAddress => f.write_str("ip saddr"),
            Self::DestinationAddress => f.write_str("ip daddr"),
            Self::Protocol => f.write_str("meta l4proto"),
            Self::DestinationPort => f.write_str("th dport"),
            Self::Mark => f.write_str("meta mark"),
            Self::ConnectionState => f.write_str("ct state"),
            Self::ConnectionStatus => f.write_str("ct status"),
            Self::SourceKind => f.write_str("fib saddr type"),
            Self::DestinationKind => f.write_str("fib daddr type"),
            Self::InputInterface => f.write_str("iifname"),
            Self::OutputInterface => f.write_str("oifname"),
            Self::Random(modulus) => write!(f, "numgen random mod {modulus}"),
            Self::Constant(address) => address.fmt(f),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Protocol(number) => f.write_str(&protocol_name(*number)),
            Self::Port(port) => port.fmt(f),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Local => f.write_str("local"),
            Self::Bits(Bits::New) => f.write_str("new"),
            Self::Bits(Bits::Dnat) => f.write_str("dnat"),
            Self::Bits(Bits::Mark(bits)) => write!(f, "{bits:#x}"),
        }
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match { value, operator, operand } => write_match(f, *value, *operator, operand),
            Self::Lookup { key, set, negated } => {
                let not = if *negated { "!= " } else { "" };
                write!(f, "{} {not}@{set}", Joined(key, " . "))
            }
            Self::Dispatch { key, map } => write!(f, "{} vmap @{map}", Joined(key, " . ")),
            Self::Dnat { key, map, remember } => write_dnat(f, key, map, remember.as_ref()),
            Self::Masquerade => f.write_str("masquerade fully-random"),
            Self::SetMarkBits(bits) => write!(f, "meta mark set meta mark or {bits:#x}"),
            Self::ClearMarkBits(bits) => write!(f, "meta mark set meta mark and {:#x}", !bits),
            Self::Counter => f.write_str("counter"),
            Self::Reject(Rejection::PortUnreachable) => f.write_str("reject with icmp type port-unreachable"),
            Self::Reject(Rejection::TcpReset) => f.write_str("reject with tcp reset"),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

fn write_match(f: &mut Formatter<'_>, value: Value, operator: Operator, operand: &Operand) -> fmt::Result {
    match (operator, operand) {
        (Operator::Equal, Operand::Bits(Bits::Mark(bits))) => write!(f, "{value} and {bits:#x} != 0"),
        (Operator::NotEqual, Operand::Bits(Bits::Mark(bits))) => write!(f, "{value} and {bits:#x} == 0"),
        (Operator::Equal, operand) => write!(f, "{value} {operand}"),
        (Operator::NotEqual, operand) => write!(f, "{value} != {operand}"),
    }
}

fn write_dnat(f: &mut Formatter<'_>, key: &[Value], map: &str, remember: Option<&Remember>) -> fmt::Result {
    if let Some(remember) = remember {
        let (seconds, other) = (remember.timeout.as_secs(), Joined(&remember.key, " . "));
        write!(f, "update @{} {{ {other} timeout {seconds}s : {} map @{map} }} ", remember.map, Joined(key, " . "))?;
    }
    write!(f, "dnat to {} map @{map}", Joined(key, " . "))
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.statements, " "))?;
        match &self.comment {
            None => Ok(()),
            Some(comment) => write!(f, " comment \"{comment}\""),
        }
    }
}
