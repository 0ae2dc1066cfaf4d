use std::path::Path;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;

use crate::Result;
use crate::socket::{NETLINK_ROUTE, Socket};
use crate::wire::Message;

/// Links, addresses, routes and neighbours of one network namespace.
///
/// The methods are beside the thing they change: `link.rs`, `address.rs`, `route.rs`, `neighbour.rs`.
pub struct Handle {
    socket: Socket,
}

impl Handle {
    /// Speaks to the namespace of the calling thread.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(NETLINK_ROUTE)? })
    }

    /// Speaks to the namespace that is mounted at `netns`.
    pub fn open_in(netns: &Path) -> Result<Self> {
        Ok(Self { socket: Socket::open_in(NETLINK_ROUTE, netns)? })
    }

    pub(crate) fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        operation: impl Fn() -> String,
    ) -> Result<()> {
        let sequence = self.socket.next_sequence();
        let bytes = encode(message, NLM_F_REQUEST | NLM_F_ACK | flags, sequence);
        self.socket.request(&operation, sequence, &bytes)
    }

    pub(crate) fn dump(
        &self,
        message: &RouteNetlinkMessage,
        operation: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let request = |sequence| encode(message.clone(), NLM_F_REQUEST | NLM_F_DUMP, sequence);
        self.socket.dump(&operation, &request, decode)
    }
}

fn encode(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

/// Reads one rtnetlink message; what this version of the decoder does not understand is passed over.
pub(crate) fn decode(message: Message<'_>) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = message.kind;
    match RouteNetlinkMessage::deserialize(&header, message.payload) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            tracing::debug!(kind = message.kind, %error, "netlink message passed over");
            None
        }
    }
}
