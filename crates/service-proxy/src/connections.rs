use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nft::conntrack::Connection;

/// A UDP address of a service and where its packets may go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpFrontend {
    /// None: a node port, on any address of the node.
    pub address: Option<Ipv4Addr>,
    pub port: u16,
    pub backends: BTreeSet<(Ipv4Addr, u16)>,
}

impl UdpFrontend {
    fn is_target_of(&self, connection: &Connection) -> bool {
        let original = &connection.original;
        original.destination_port == self.port && self.address.is_none_or(|address| address == original.destination)
    }

    /// The connection goes to an endpoint that is gone, or past the rules that have come since it began.
    fn makes_stale(&self, connection: &Connection) -> bool {
        let (original, reply) = (&connection.original, &connection.reply);
        let goes_to = (reply.source, reply.source_port);
        let translated = goes_to != (original.destination, original.destination_port);
        self.is_target_of(connection) && !self.backends.contains(&goes_to) && (translated || !self.backends.is_empty())
    }
}

/// The connections that would go on sending packets to where the services no longer lead.
///
/// `frontends` are those that changed. A node port from outside may lead to local endpoints only, so an address may
/// appear twice: what one of them still serves is kept.
pub fn stale<'a>(connections: &'a [Connection], frontends: &[UdpFrontend]) -> Vec<&'a Connection> {
    let gone = |connection: &&Connection| {
        let mut targets = frontends.iter().filter(|frontend| frontend.is_target_of(connection)).peekable();
        targets.peek().is_some() && targets.all(|frontend| frontend.makes_stale(connection))
    };
    connections.iter().filter(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nft::conntrack::Tuple;

    fn connection(to: (&str, u16), goes_to: (&str, u16)) -> Connection {
        let client = Ipv4Addr::new(10, 244, 1, 2);
        let tuple = |source: Ipv4Addr, source_port, destination, destination_port| Tuple {
            protocol: 17,
            source,
            source_port,
            destination,
            destination_port,
        };
        Connection {
            original: tuple(client, 5000, to.0.parse().unwrap(), to.1),
            reply: tuple(goes_to.0.parse().unwrap(), goes_to.1, client, 5000),
        }
    }

    fn frontend(address: Option<&str>, port: u16, backends: &[(&str, u16)]) -> UdpFrontend {
        let backends = backends.iter().map(|(address, port)| (address.parse().unwrap(), *port)).collect();
        UdpFrontend { address: address.map(|address| address.parse().unwrap()), port, backends }
    }

    #[test]
    fn a_connection_to_a_removed_endpoint_is_stale() {
        let kept = connection(("10.96.0.10", 53), ("10.244.1.3", 53));
        let gone = connection(("10.96.0.10", 53), ("10.244.1.4", 53));
        let other = connection(("10.96.0.11", 53), ("10.244.1.4", 53));
        let connections = [kept, gone, other];
        let frontends = [frontend(Some("10.96.0.10"), 53, &[("10.244.1.3", 53)])];
        assert_eq!(stale(&connections, &frontends), [&gone]);
    }

    #[test]
    fn a_connection_from_before_the_first_endpoint_is_stale_only_once_there_is_one() {
        let untranslated = connection(("10.96.0.10", 53), ("10.96.0.10", 53));
        assert!(stale(&[untranslated], &[frontend(Some("10.96.0.10"), 53, &[])]).is_empty());
        let served = [frontend(Some("10.96.0.10"), 53, &[("10.244.1.3", 53)])];
        assert_eq!(stale(&[untranslated], &served).len(), 1);
    }

    #[test]
    fn a_node_port_is_any_address_and_a_removed_service_leads_nowhere() {
        let through_node = connection(("172.28.128.10", 30053), ("10.244.1.3", 53));
        assert_eq!(stale(&[through_node], &[frontend(None, 30053, &[])]).len(), 1);
        assert!(
            stale(&[through_node], &[frontend(None, 30053, &[]), frontend(None, 30053, &[("10.244.1.3", 53)])])
                .is_empty()
        );
    }
}
