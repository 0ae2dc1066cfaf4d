use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;

use crate::handle::decode;
use crate::link::read_link;
use crate::socket::NETLINK_ROUTE;
use crate::wire::messages;
use crate::{Link, Notifications, Result};

/// Links, neighbours, IPv4 addresses and IPv4 routes.
const GROUPS: [u32; 4] = [1, 3, 5, 7];

/// Something changed in the namespace, by whoever's hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    LinkChanged(Link),
    LinkDeleted(Link),
    AddressChanged,
    AddressDeleted,
    RouteDeleted,
    NeighbourDeleted {
        link: u32,
    },
    /// More happened than the socket could hold: look at everything anew.
    Lost,
}

/// Notifications about links, addresses, routes and neighbours of one namespace.
pub struct Monitor {
    notifications: Notifications,
}

impl Monitor {
    /// Listens in the namespace of the calling thread. Must be called inside a tokio runtime.
    pub fn open() -> Result<Self> {
        Ok(Self { notifications: Notifications::open(NETLINK_ROUTE, &GROUPS)? })
    }

    /// Listens in the namespace mounted at `netns`. Must be called inside a tokio runtime.
    pub fn open_in(netns: &Path) -> Result<Self> {
        Ok(Self { notifications: Notifications::open_in(NETLINK_ROUTE, &GROUPS, netns)? })
    }

    /// Waits for the next changes. Safe to drop and call again.
    pub async fn changes(&mut self) -> Result<Vec<Change>> {
        loop {
            let changes: Vec<_> = match self.notifications.receive().await? {
                None => vec![Change::Lost],
                Some(bytes) => messages(&bytes).filter_map(decode).filter_map(read_change).collect(),
            };
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}

fn read_change(message: RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(_) => read_link(message).map(Change::LinkChanged),
        RouteNetlinkMessage::DelLink(_) => read_link(message).map(Change::LinkDeleted),
        RouteNetlinkMessage::NewAddress(_) => Some(Change::AddressChanged),
        RouteNetlinkMessage::DelAddress(_) => Some(Change::AddressDeleted),
        RouteNetlinkMessage::DelRoute(_) => Some(Change::RouteDeleted),
        RouteNetlinkMessage::DelNeighbour(entry) => Some(Change::NeighbourDeleted { link: entry.header.ifindex }),
        _ => None,
    }
}
