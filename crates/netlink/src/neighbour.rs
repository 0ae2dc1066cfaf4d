use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::absent_is_done;
use crate::{Handle, Link, MacAddress, Result};

/// A permanent neighbour: which hardware address stands behind an IPv4 address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Neighbour {
    pub address: Ipv4Addr,
    pub mac: MacAddress,
}

/// An entry of a VXLAN device's forwarding table: behind which machine a hardware address is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForwardingEntry {
    pub mac: MacAddress,
    pub remote: Ipv4Addr,
}

impl Handle {
    /// The permanent neighbours of the link.
    pub fn neighbours(&self, link: &Link) -> Result<Vec<Neighbour>> {
        let entries = self.dump_neighbours(AddressFamily::Inet, link)?;
        Ok(entries.iter().filter_map(read_neighbour).collect())
    }

    /// The forwarding table of a VXLAN link, multicast and default entries left out.
    pub fn forwarding(&self, link: &Link) -> Result<Vec<ForwardingEntry>> {
        let entries = self.dump_neighbours(AddressFamily::Bridge, link)?;
        Ok(entries.iter().filter_map(read_forwarding).collect())
    }

    pub fn replace_neighbour(&self, link: &Link, neighbour: Neighbour) -> Result<()> {
        let operation = || format!("set neighbour {} on link {}", neighbour.address, link.name);
        let message = RouteNetlinkMessage::NewNeighbour(neighbour_message(link, neighbour));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE, operation)
    }

    pub fn delete_neighbour(&self, link: &Link, neighbour: Neighbour) -> Result<()> {
        let operation = || format!("delete neighbour {} on link {}", neighbour.address, link.name);
        let message = RouteNetlinkMessage::DelNeighbour(neighbour_message(link, neighbour));
        absent_is_done(self.request(message, 0, operation))
    }

    pub fn replace_forwarding(&self, link: &Link, entry: ForwardingEntry) -> Result<()> {
        let operation = || format!("set forwarding of {} on link {}", entry.mac, link.name);
        let message = RouteNetlinkMessage::NewNeighbour(forwarding_message(link, entry));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE, operation)
    }

    pub fn delete_forwarding(&self, link: &Link, entry: ForwardingEntry) -> Result<()> {
        let operation = || format!("delete forwarding of {} on link {}", entry.mac, link.name);
        let message = RouteNetlinkMessage::DelNeighbour(forwarding_message(link, entry));
        absent_is_done(self.request(message, 0, operation))
    }

    fn dump_neighbours(&self, family: AddressFamily, link: &Link) -> Result<Vec<NeighbourMessage>> {
        let mut request = NeighbourMessage::default();
        request.header.family = family;
        let operation = || format!("list neighbours of link {}", link.name);
        let dump = self.dump(&RouteNetlinkMessage::GetNeighbour(request), operation)?;
        let entries = dump.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(entry) if entry.header.ifindex == link.index => Some(entry),
            _ => None,
        });
        Ok(entries.collect())
    }
}

fn neighbour_message(link: &Link, neighbour: Neighbour) -> NeighbourMessage {
    let mut message = permanent(link, AddressFamily::Inet);
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(neighbour.address)),
        NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()),
    ];
    message
}

fn forwarding_message(link: &Link, entry: ForwardingEntry) -> NeighbourMessage {
    let mut message = permanent(link, AddressFamily::Bridge);
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet(entry.remote)),
    ];
    message
}

fn permanent(link: &Link, family: AddressFamily) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = link.index;
    message.header.state = NeighbourState::Permanent;
    message
}

fn read_neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (address, mac) = read_pair(message);
    Some(Neighbour { address: address?, mac: mac? })
}

fn read_forwarding(message: &NeighbourMessage) -> Option<ForwardingEntry> {
    let (remote, mac) = read_pair(message);
    let mac = mac.filter(|mac| mac.0 != [0; 6])?;
    Some(ForwardingEntry { mac, remote: remote? })
}

/// The address and hardware address of an entry. Bridge entries carry the address as plain bytes.
fn read_pair(message: &NeighbourMessage) -> (Option<Ipv4Addr>, Option<MacAddress>) {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(*found),
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => address = four_bytes(bytes),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.clone().try_into().ok().map(MacAddress),
            _ => {}
        }
    }
    (address, mac)
}

fn four_bytes(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}
