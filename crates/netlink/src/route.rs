use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::absent_is_done;
use crate::{Handle, Ipv4Cidr, Result};

const MAIN_TABLE: u8 = RouteHeader::RT_TABLE_MAIN;

/// An IPv4 route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    pub destination: Ipv4Cidr,
    pub target: RouteTarget,
    pub source: Option<Ipv4Addr>,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteTarget {
    /// The destination itself is on the link.
    Link(u32),
    Gateway {
        link: u32,
        gateway: Ipv4Addr,
    },
    /// Through a gateway that the kernel is to believe on this link, as an overlay's are.
    OnLink {
        link: u32,
        gateway: Ipv4Addr,
    },
    /// Answered with "destination unreachable".
    Unreachable,
}

impl RouteTarget {
    pub fn link(&self) -> Option<u32> {
        match self {
            Self::Link(link) | Self::Gateway { link, .. } | Self::OnLink { link, .. } => Some(*link),
            Self::Unreachable => None,
        }
    }
}

impl Handle {
    /// The unicast and unreachable routes of the main table.
    pub fn routes(&self) -> Result<Vec<Route>> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        let dump = self.dump(&RouteNetlinkMessage::GetRoute(request), || "list routes".to_owned())?;
        Ok(dump.into_iter().filter_map(read_route).collect())
    }

    /// Adds the route, or puts it in the place of the one with the same destination.
    pub fn replace_route(&self, route: &Route) -> Result<()> {
        let operation = || format!("set route to {}", route.destination);
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE, operation)
    }

    pub fn delete_route(&self, route: &Route) -> Result<()> {
        let operation = || format!("delete route to {}", route.destination);
        absent_is_done(self.request(RouteNetlinkMessage::DelRoute(route_message(route)), 0, operation))
    }
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = MAIN_TABLE;
    message.header.protocol = RouteProtocol::Static;
    message.header.destination_prefix_length = route.destination.prefix();
    message.header.kind = RouteType::Unicast;
    if route.destination.prefix() > 0 {
        let network = RouteAddress::Inet(route.destination.network());
        message.attributes.push(RouteAttribute::Destination(network));
    }
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(RouteAddress::Inet(source))));
    message.attributes.extend(route.target.link().map(RouteAttribute::Oif));
    write_target(&mut message, &route.target);
    message
}

fn write_target(message: &mut RouteMessage, target: &RouteTarget) {
    match target {
        RouteTarget::Link(_) => message.header.scope = RouteScope::Link,
        RouteTarget::Unreachable => message.header.kind = RouteType::Unreachable,
        RouteTarget::Gateway { gateway, .. } => message.attributes.push(gateway_attribute(*gateway)),
        RouteTarget::OnLink { gateway, .. } => {
            message.header.flags = RouteFlags::Onlink;
            message.attributes.push(gateway_attribute(*gateway));
        }
    }
}

fn gateway_attribute(gateway: Ipv4Addr) -> RouteAttribute {
    RouteAttribute::Gateway(RouteAddress::Inet(gateway))
}

fn read_route(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    if message.header.table != MAIN_TABLE {
        return None;
    }
    let fields = RouteFields::read(&message.attributes);
    let network = fields.destination.unwrap_or(Ipv4Addr::UNSPECIFIED);
    Some(Route {
        destination: Ipv4Cidr::new(network, message.header.destination_prefix_length)?,
        target: fields.target(&message)?,
        source: fields.source,
    })
}

#[derive(Default)]
struct RouteFields {
    destination: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    source: Option<Ipv4Addr>,
    link: Option<u32>,
}

impl RouteFields {
    fn read(attributes: &[RouteAttribute]) -> Self {
        let mut fields = Self::default();
        for attribute in attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => fields.destination = Some(*address),
                RouteAttribute::Gateway(RouteAddress::Inet(address)) => fields.gateway = Some(*address),
                RouteAttribute::PrefSource(RouteAddress::Inet(address)) => fields.source = Some(*address),
                RouteAttribute::Oif(index) => fields.link = Some(*index),
                _ => {}
            }
        }
        fields
    }

    fn target(&self, message: &RouteMessage) -> Option<RouteTarget> {
        let on_link = message.header.flags.contains(RouteFlags::Onlink);
        match (message.header.kind, self.link, self.gateway) {
            (RouteType::Unreachable, _, _) => Some(RouteTarget::Unreachable),
            (RouteType::Unicast, Some(link), None) => Some(RouteTarget::Link(link)),
            (RouteType::Unicast, Some(link), Some(gateway)) if on_link => Some(RouteTarget::OnLink { link, gateway }),
            (RouteType::Unicast, Some(link), Some(gateway)) => Some(RouteTarget::Gateway { link, gateway }),
            _ => None,
        }
    }
}
