use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::absent_is_done;
use crate::{Handle, Ipv4Cidr, Link, Result};

/// An IPv4 address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub link: u32,
    pub cidr: Ipv4Cidr,
}

impl Handle {
    pub fn addresses(&self) -> Result<Vec<Address>> {
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Inet;
        let dump = self.dump(&RouteNetlinkMessage::GetAddress(request), || "list addresses".to_owned())?;
        Ok(dump.into_iter().filter_map(read_address).collect())
    }

    /// Gives the link an address; one that it has already is kept.
    pub fn add_address(&self, link: &Link, cidr: Ipv4Cidr) -> Result<()> {
        let operation = || format!("add address {cidr} to link {}", link.name);
        let message = RouteNetlinkMessage::NewAddress(address_message(link, cidr));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE, operation)
    }

    pub fn delete_address(&self, link: &Link, cidr: Ipv4Cidr) -> Result<()> {
        let operation = || format!("delete address {cidr} from link {}", link.name);
        let message = RouteNetlinkMessage::DelAddress(address_message(link, cidr));
        absent_is_done(self.request(message, 0, operation))
    }
}

fn address_message(link: &Link, cidr: Ipv4Cidr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = cidr.prefix();
    message.header.index = link.index;
    message.header.scope = scope(cidr.address());
    let address = IpAddr::V4(cidr.address());
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if cidr.prefix() < 31 {
        message.attributes.push(AddressAttribute::Broadcast(cidr.broadcast()));
    }
    message
}

fn scope(address: Ipv4Addr) -> AddressScope {
    match address.is_loopback() {
        true => AddressScope::Host,
        false => AddressScope::Universe,
    }
}

fn read_address(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Some(Address { link: message.header.index, cidr: Ipv4Cidr::new(local, message.header.prefix_len)? })
}
