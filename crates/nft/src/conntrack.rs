//! The kernel's table of connections: list those of a protocol, forget one.
//!
//! A UDP "connection" outlives the rule that translated it, so its entry must go when its target does.

use std::net::Ipv4Addr;
use std::path::Path;

use netlink::socket::{NETLINK_NETFILTER, Socket};
use netlink::wire::{Encoder, be16, be32, find};

use crate::Error;
use crate::encode::generic_header;

const CONNTRACK: u16 = 1 << 8;
const GET: u16 = CONNTRACK | 1;
const DELETE: u16 = CONNTRACK | 2;
const REQUEST: u16 = 0x001;
const ACK: u16 = 0x004;
const DUMP: u16 = 0x300;
const IPV4: u8 = 2;

/// Addresses and ports of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub source_port: u16,
    pub destination: Ipv4Addr,
    pub destination_port: u16,
}

/// A connection: as its first packet came, and as the answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub original: Tuple,
    pub reply: Tuple,
}

/// Where connections are listed and forgotten.
pub trait Conntrack: Send + Sync {
    fn connections(&self, protocol: u8) -> Result<Vec<Connection>, Error>;

    /// One that ended meanwhile counts as forgotten.
    fn forget(&self, connection: &Connection) -> Result<(), Error>;
}

/// The kernel's connections in one network namespace.
pub struct KernelConntrack {
    socket: Socket,
}

impl KernelConntrack {
    /// Speaks to the namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(NETLINK_NETFILTER)? })
    }

    /// Speaks to the namespace that is mounted at `netns`.
    pub fn open_in(netns: &Path) -> Result<Self, Error> {
        Ok(Self { socket: Socket::open_in(NETLINK_NETFILTER, netns)? })
    }
}

impl Conntrack for KernelConntrack {
    fn connections(&self, protocol: u8) -> Result<Vec<Connection>, Error> {
        let encode = |sequence| {
            let mut out = Encoder::new();
            out.begin(GET, REQUEST | DUMP, sequence, &generic_header(IPV4, 0));
            out.end();
            out.as_bytes().to_vec()
        };
        let read = |message: netlink::wire::Message<'_>| {
            let connection = read_connection(message.payload.get(4..)?)?;
            (connection.original.protocol == protocol).then_some(connection)
        };
        Ok(self.socket.dump(&|| "list connections".to_owned(), &encode, read)?)
    }

    fn forget(&self, connection: &Connection) -> Result<(), Error> {
        let sequence = self.socket.next_sequence();
        let mut out = Encoder::new();
        out.begin(DELETE, REQUEST | ACK, sequence, &generic_header(IPV4, 0));
        out.nested(1, |out| write_tuple(out, &connection.original));
        out.end();
        let operation = || format!("forget connection {:?}", connection.original);
        match self.socket.request(&operation, sequence, out.as_bytes()) {
            Err(error) if error.is_absent() => Ok(()),
            other => Ok(other?),
        }
    }
}

fn write_tuple(out: &mut Encoder, tuple: &Tuple) {
    out.nested(1, |out| {
        out.attribute(1, &tuple.source.octets());
        out.attribute(2, &tuple.destination.octets());
    });
    out.nested(2, |out| {
        out.attribute(1, &[tuple.protocol]);
        out.attribute(2, &tuple.source_port.to_be_bytes());
        out.attribute(3, &tuple.destination_port.to_be_bytes());
    });
}

fn read_connection(fields: &[u8]) -> Option<Connection> {
    Some(Connection { original: read_tuple(find(fields, 1)?)?, reply: read_tuple(find(fields, 2)?)? })
}

fn read_tuple(fields: &[u8]) -> Option<Tuple> {
    let (addresses, protocol) = (find(fields, 1)?, find(fields, 2)?);
    Some(Tuple {
        protocol: *find(protocol, 1)?.first()?,
        source: Ipv4Addr::from(be32(find(addresses, 1)?)?),
        source_port: find(protocol, 2).and_then(be16).unwrap_or_default(),
        destination: Ipv4Addr::from(be32(find(addresses, 2)?)?),
        destination_port: find(protocol, 3).and_then(be16).unwrap_or_default(),
    })
}
