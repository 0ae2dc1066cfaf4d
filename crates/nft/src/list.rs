use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use netlink::Ipv4Cidr;
use netlink::socket::Socket;
use netlink::wire::{self, Encoder, Message, attributes, be32, find};

use crate::encode::{
    GET_CHAIN, GET_GENERATION, GET_RULE, GET_SET, GET_SET_ELEMENT, GET_TABLE, TABLE, UDATA_COMMENT, family_number,
    generic_header, message_kind,
};
use crate::{Data, DataType, Datum, Element, Error, Table, Verdict};

const REQUEST_DUMP: u16 = 0x301;
const REQUEST_ACK: u16 = 0x5;
/// Transactions of others that may fall between the requests of one reading, each time anew.
const ATTEMPTS_MAX: usize = 20;
const GENERIC_HEADER_LEN: usize = 4;
const TYPE_VERDICT: u32 = 0xffff_ff00;

/// What a table holds: enough to compare it with what it should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub chains: BTreeMap<String, ListedChain>,
    pub sets: BTreeMap<String, Vec<Element>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedChain {
    pub hooked: bool,
    /// The comment of each rule, in order.
    pub rules: Vec<Option<String>>,
}

pub(crate) fn read(socket: &Socket, table: &Table) -> Result<Option<Listing>, Error> {
    let reader = Reader { socket, table };
    // Like nft itself. While a transaction is just becoming visible, a part of it may still be seen alone.
    for _ in 0..ATTEMPTS_MAX {
        let before = reader.generation()?;
        let listing = reader.listing();
        if reader.generation()? == before {
            return listing;
        }
    }
    Err(Error::Disturbed { table: table.to_string() })
}

struct Reader<'a> {
    socket: &'a Socket,
    table: &'a Table,
}

/// A set's shape, needed to read its elements.
struct Shape {
    name: String,
    key: Vec<DataType>,
    data: Option<Vec<DataType>>,
}

impl Reader<'_> {
    /// In several requests, between which others may change the table.
    fn listing(&self) -> Result<Option<Listing>, Error> {
        if !self.exists()? {
            return Ok(None);
        }
        let mut listing = Listing { chains: self.chains()?, sets: BTreeMap::new() };
        for (chain, comment) in self.rules()? {
            listing.chains.entry(chain).or_default().rules.push(comment);
        }
        for set in self.sets()? {
            let mut elements = self.elements(&set)?;
            elements.sort_by(|left, right| left.key.cmp(&right.key));
            listing.sets.insert(set.name, elements);
        }
        Ok(Some(listing))
    }

    /// Counts the transactions of this network namespace.
    fn generation(&self) -> Result<Option<u32>, Error> {
        let encode = |sequence| {
            let mut out = Encoder::new();
            out.begin(message_kind(GET_GENERATION), REQUEST_ACK, sequence, &generic_header(0, 0));
            out.end();
            out.as_bytes().to_vec()
        };
        let read = |message: Message<'_>| find(message.payload.get(GENERIC_HEADER_LEN..)?, 1).and_then(be32);
        Ok(self.socket.dump(&|| "read the generation of the rules".to_owned(), &encode, read)?.pop())
    }

    /// Asks for a list, and reads from each answer that is about our table.
    fn dump<T>(&self, request: u16, set: Option<&str>, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
        let encode = |sequence| self.encode(request, set, sequence);
        let operation = || format!("list table {}", self.table);
        let found = self.socket.dump(&operation, &encode, |message| {
            let fields = message.payload.get(GENERIC_HEADER_LEN..)?;
            let ours = wire::text(find(fields, TABLE)?) == self.table.name;
            ours.then(|| read(fields)).flatten()
        })?;
        Ok(found)
    }

    fn encode(&self, request: u16, set: Option<&str>, sequence: u32) -> Vec<u8> {
        let mut out = Encoder::new();
        let header = generic_header(family_number(self.table.family), 0);
        out.begin(message_kind(request), REQUEST_DUMP, sequence, &header);
        if request != GET_TABLE {
            out.string(TABLE, &self.table.name);
        }
        if let Some(set) = set {
            out.string(2, set);
        }
        out.end();
        out.as_bytes().to_vec()
    }

    fn exists(&self) -> Result<bool, Error> {
        Ok(!self.dump(GET_TABLE, None, |_| Some(()))?.is_empty())
    }

    fn chains(&self) -> Result<BTreeMap<String, ListedChain>, Error> {
        let read = |fields: &[u8]| {
            let chain = ListedChain { hooked: find(fields, 4).is_some(), rules: Vec::new() };
            Some((wire::text(find(fields, 3)?), chain))
        };
        Ok(self.dump(GET_CHAIN, None, read)?.into_iter().collect())
    }

    fn rules(&self) -> Result<Vec<(String, Option<String>)>, Error> {
        self.dump(GET_RULE, None, |fields| Some((wire::text(find(fields, 2)?), find(fields, 7).and_then(comment))))
    }

    fn sets(&self) -> Result<Vec<Shape>, Error> {
        self.dump(GET_SET, None, read_shape)
    }

    fn elements(&self, set: &Shape) -> Result<Vec<Element>, Error> {
        let lists = self.dump(GET_SET_ELEMENT, Some(&set.name), |fields| {
            let list = find(fields, 3)?;
            Some(attributes(list).filter_map(|(_, element)| read_element(set, element)).collect::<Vec<_>>())
        });
        match lists {
            Err(error) if error.is_absent() => Ok(Vec::new()),
            other => Ok(other?.concat()),
        }
    }
}

fn read_shape(fields: &[u8]) -> Option<Shape> {
    let key = types(be32(find(fields, 4)?)?);
    let data = find(fields, 6).and_then(be32).map(|number| match number {
        TYPE_VERDICT => Vec::new(),
        number => types(number),
    });
    Some(Shape { name: wire::text(find(fields, 2)?), key, data })
}

/// Unpacks nft's number of a concatenated type.
fn types(number: u32) -> Vec<DataType> {
    let parts = (0..5).rev().map(|part| number >> (part * 6) & 0x3f);
    parts
        .filter_map(|part| match part {
            7 => Some(DataType::Ipv4Addr),
            12 => Some(DataType::InetProto),
            13 => Some(DataType::InetService),
            19 => Some(DataType::Mark),
            _ => None,
        })
        .collect()
}

fn read_element(set: &Shape, element: &[u8]) -> Option<Element> {
    let first = data(&set.key, find(find(element, 1)?, 1)?)?;
    let key = match find(element, 10).and_then(|end| data(&set.key, find(end, 1)?)) {
        None => first,
        Some(last) => first.into_iter().zip(last).map(|(from, to)| range(from, to)).collect(),
    };
    Some(Element {
        key,
        data: find(element, 2).and_then(|value| read_data(set, value)),
        comment: find(element, 6).and_then(comment).map(Arc::from),
        timeout: find(element, 4).and_then(milliseconds),
    })
}

fn milliseconds(value: &[u8]) -> Option<Duration> {
    Some(Duration::from_millis(u64::from_be_bytes(value.try_into().ok()?)))
}

fn read_data(set: &Shape, value: &[u8]) -> Option<Data> {
    match find(value, 2) {
        Some(verdict) => read_verdict(verdict).map(Data::Verdict),
        None => data(set.data.as_ref()?, find(value, 1)?).map(Data::Values),
    }
}

fn read_verdict(value: &[u8]) -> Option<Verdict> {
    let chain = || find(value, 2).map(wire::text);
    match be32(find(value, 1)?)?.cast_signed() {
        0 => Some(Verdict::Drop),
        1 => Some(Verdict::Accept),
        -3 => chain().map(Verdict::Jump),
        -4 => chain().map(Verdict::Goto),
        -5 => Some(Verdict::Return),
        _ => None,
    }
}

fn data(types: &[DataType], bytes: &[u8]) -> Option<Vec<Datum>> {
    types.iter().zip(bytes.chunks(4)).map(|(part, bytes)| datum(*part, bytes)).collect()
}

fn datum(part: DataType, bytes: &[u8]) -> Option<Datum> {
    match part {
        DataType::Ipv4Addr => Some(Datum::Addr(Ipv4Addr::from(be32(bytes)?))),
        DataType::InetProto => bytes.first().copied().map(Datum::Proto),
        DataType::InetService => wire::be16(bytes).map(Datum::Port),
        DataType::Mark => Some(Datum::Mark(u32::from_ne_bytes(bytes.try_into().ok()?))),
    }
}

/// An interval whose ends are those of a prefix is that prefix.
fn range(from: Datum, to: Datum) -> Datum {
    match (from, to) {
        (Datum::Addr(first), Datum::Addr(last)) if first != last => prefix(first, last).unwrap_or(from),
        (Datum::Addr(only), _) => Datum::Addr(only),
        _ => from,
    }
}

fn prefix(first: Ipv4Addr, last: Ipv4Addr) -> Option<Datum> {
    let differing = u32::from(first) ^ u32::from(last);
    let length = u8::try_from(differing.leading_zeros()).ok()?;
    Ipv4Cidr::new(first, length).map(Datum::Prefix)
}

fn comment(user_data: &[u8]) -> Option<String> {
    let [kind, length, rest @ ..] = user_data else {
        return None;
    };
    (*kind == UDATA_COMMENT).then(|| wire::text(rest.get(..usize::from(*length)).unwrap_or(rest)))
}
