use std::fmt;
use std::net::Ipv4Addr;

use nft::{
    ChainKind, Data, DataType, Datum, Element, Hook, HookPoint, Operand, Rule, Set, Statement, Table, Transaction,
    Value,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port of the node that leads to a port of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// None: on every address of the node.
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl HostPort {
    /// Both want the same port of the same address.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        let same_address = match (self.host_ip, other.host_ip) {
            (Some(left), Some(right)) => left == right,
            _ => true,
        };
        same_address && self.host_port == other.host_port && self.protocol == other.protocol
    }
}

const BACKEND: [DataType; 2] = [DataType::Ipv4Addr, DataType::InetService];
/// After the services: a Service's address is no host port.
const PRIORITY: i32 = -99;

pub(crate) fn table() -> Table {
    Table::ip("coracle-host-ports")
}

/// The whole table for the ports of all pods of the node; none at all when no pod has one.
pub(crate) fn plan_host_ports(ports: &[(Ipv4Addr, HostPort)]) -> Transaction {
    if ports.is_empty() {
        return Transaction::removing(table());
    }
    let mut t = Transaction::replacing(table());
    add_maps(&mut t);
    add_chains(&mut t);
    let (addressed, open): (Vec<_>, Vec<_>) = ports.iter().copied().partition(|(_, port)| port.host_ip.is_some());
    t.add_elements("addressed-ports", addressed.into_iter().map(|(pod, port)| element(pod, &port)).collect());
    t.add_elements("ports", open.into_iter().map(|(pod, port)| element(pod, &port)).collect());
    let mut pods: Vec<_> = ports.iter().map(|(pod, _)| *pod).collect();
    pods.sort_unstable();
    pods.dedup();
    t.add_elements("hairpin", pods.into_iter().map(|pod| Element::key([Datum::Addr(pod), Datum::Addr(pod)])).collect());
    t
}

fn add_maps(t: &mut Transaction) {
    let addressed = [DataType::Ipv4Addr, DataType::InetProto, DataType::InetService];
    t.add_set(Set::map("addressed-ports", &addressed, &BACKEND));
    t.add_set(Set::map("ports", &addressed[1..], &BACKEND));
    t.add_set(Set::new("hairpin", &[DataType::Ipv4Addr; 2]));
}

fn add_chains(t: &mut Transaction) {
    let nat = |point, priority| Hook { kind: ChainKind::Nat, point, priority };
    t.add_chain("host-ports");
    t.add_rule(
        "host-ports",
        Rule::new([to_pod(&[Value::DestinationAddress, Value::Protocol, Value::DestinationPort], "addressed-ports")]),
    );
    let local = Statement::equal(Value::DestinationKind, Operand::Local);
    t.add_rule("host-ports", Rule::new([local, to_pod(&[Value::Protocol, Value::DestinationPort], "ports")]));
    for (name, point) in [("prerouting", HookPoint::Prerouting), ("output", HookPoint::Output)] {
        t.add_hook_chain(name, nat(point, PRIORITY));
        t.add_rule(name, Rule::new([Statement::jump("host-ports")]));
    }
    t.add_hook_chain("postrouting", nat(HookPoint::Postrouting, 100));
    let itself = vec![Value::SourceAddress, Value::DestinationAddress];
    let reaches_itself = Statement::Lookup { key: itself, set: "hairpin".to_owned(), negated: false };
    t.add_rule("postrouting", Rule::new([reaches_itself, Statement::Masquerade]).comment("a pod that reaches itself"));
}

fn to_pod(key: &[Value], map: &str) -> Statement {
    Statement::Dnat { key: key.to_vec(), map: map.to_owned(), remember: None }
}

fn element(pod: Ipv4Addr, port: &HostPort) -> Element {
    let address = port.host_ip.map(Datum::Addr);
    let rest = [Datum::Proto(port.protocol.number()), Datum::Port(port.host_port)];
    let key: Vec<_> = address.into_iter().chain(rest).collect();
    Element::new(key, Data::Values(vec![Datum::Addr(pod), Datum::Port(port.container_port)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nft::Nft;

    #[test]
    fn ports_with_and_without_an_address_have_maps_of_their_own() {
        let pod = Ipv4Addr::new(10, 244, 1, 3);
        let open = HostPort { host_ip: None, host_port: 8080, container_port: 80, protocol: Protocol::Tcp };
        let bound = HostPort {
            host_ip: Some(Ipv4Addr::new(172, 28, 128, 10)),
            host_port: 53,
            container_port: 5353,
            protocol: Protocol::Udp,
        };
        let transaction = plan_host_ports(&[(pod, open), (pod, bound)]);
        nft::Fake::new().apply(&transaction).unwrap();
        let text = transaction.to_string();
        let elements: String =
            text.lines().filter(|line| line.contains("add element")).map(|line| format!("{line}\n")).collect();
        expect_test::expect![[r#"
            add element ip coracle-host-ports addressed-ports { 172.28.128.10 . udp . 53 : 10.244.1.3 . 5353 }
            add element ip coracle-host-ports ports { tcp . 8080 : 10.244.1.3 . 80 }
            add element ip coracle-host-ports hairpin { 10.244.1.3 . 10.244.1.3 }
        "#]]
        .assert_eq(&elements);
    }

    #[test]
    fn a_port_collides_with_itself_on_any_address() {
        let open = HostPort { host_ip: None, host_port: 80, container_port: 80, protocol: Protocol::Tcp };
        let bound = HostPort { host_ip: Some(Ipv4Addr::LOCALHOST), ..open };
        let other = HostPort { host_ip: Some(Ipv4Addr::new(10, 0, 0, 1)), ..open };
        assert!(open.collides(&bound) && !bound.collides(&other));
        assert!(!open.collides(&HostPort { protocol: Protocol::Udp, ..open }));
    }
}
