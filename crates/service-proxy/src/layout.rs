//! The table that all services share, without any service in it.
//!
//! ```text
//! prerouting, output ─> services ─┬─ restricted, not from allowed-sources ─> drop
//!                                 ├─ from outside: external-local ──┐
//!                                 ├─ services ──────────────────────┤ goto pick-N, refuse, or drop
//!                                 ├─ cluster-ips, other ports ─> refuse
//!                                 └─ to the node: node-ports ─┬─ from outside: node-ports-local ─┤
//!                                                             └─ node-ports ─────────────────────┘
//! pick-N: mark what must be masqueraded; DNAT to endpoints[address . protocol . port . random mod N]
//! postrouting: masquerade what is marked, and pods that reach themselves
//! ```
//!
//! All chains are of type nat, so only the first packet of a connection passes them; established connections go on
//! while the table is replaced.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use netlink::Ipv4Cidr;
use nft::{
    Bits, ChainKind, DataType, Hook, HookPoint, Operand, Rejection, Remember, Rule, Set, Statement, Table, Transaction,
    Value, Verdict,
};

/// The table's name in the kernel: `nft list table ip coracle-services`.
pub const TABLE: &str = "coracle-services";

pub(crate) const SERVICES: &str = "services";
pub(crate) const EXTERNAL_LOCAL: &str = "external-local";
pub(crate) const NODE_PORTS: &str = "node-ports";
pub(crate) const NODE_PORTS_LOCAL: &str = "node-ports-local";
pub(crate) const ENDPOINTS: &str = "endpoints";
pub(crate) const LOCAL_ENDPOINTS: &str = "local-endpoints";
pub(crate) const MASQUERADE_ALL: &str = "masquerade-all";
pub(crate) const MASQUERADE_NODE_PORTS: &str = "masquerade-node-ports";
pub(crate) const HAIRPIN: &str = "hairpin";
pub(crate) const CLUSTER_IPS: &str = "cluster-ips";
pub(crate) const RESTRICTED: &str = "restricted";
pub(crate) const ALLOWED_SOURCES: &str = "allowed-sources";
pub(crate) const AFFINITY: &str = "affinity";
pub(crate) const LOCAL_AFFINITY: &str = "local-affinity";
pub(crate) const REFUSE: &str = "refuse";

const CHECK_MASQUERADE: &str = "check-masquerade";
const CHECK_MASQUERADE_NODE_PORT: &str = "check-masquerade-node-port";
/// The bit of the packet mark by which postrouting knows what to masquerade; the same as kube-proxy's.
const MASQUERADE_MARK: u32 = 0x4000;
const AFFINITY_CLIENTS_MAX: u32 = 1 << 18;
const TCP: u8 = 6;

const FRONTEND: [DataType; 3] = [DataType::Ipv4Addr, DataType::InetProto, DataType::InetService];
const BACKEND: [DataType; 2] = [DataType::Ipv4Addr, DataType::InetService];
const TO_FRONTEND: [Value; 3] = [Value::DestinationAddress, Value::Protocol, Value::DestinationPort];
const TO_NODE_PORT: [Value; 2] = [Value::Protocol, Value::DestinationPort];
/// Stands for "any address of the node" in the keys of endpoints.
pub(crate) const ANY_NODE_ADDRESS: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// What the rules of a node depend on besides services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub name: String,
    /// Where pods have their addresses: who comes from elsewhere cannot be answered directly.
    pub cluster_cidr: Ipv4Cidr,
}

/// Which of the four ways into the table a pick serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    Service,
    NodePort,
    /// From outside, to endpoints of this node only, with the client's address kept.
    ExternalLocal,
    NodePortLocal,
}

/// A chain that picks one of so many endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pick {
    pub way: Way,
    pub endpoints: u32,
    /// Clients come back to their endpoint within this time.
    pub sticky: Option<Duration>,
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Service => "pick",
            Way::NodePort => "node-port-pick",
            Way::ExternalLocal => "local-pick",
            Way::NodePortLocal => "node-port-local-pick",
        };
        write!(f, "{way}-{}", self.endpoints)?;
        match self.sticky {
            Some(timeout) => write!(f, "-sticky-{}", timeout.as_secs()),
            None => Ok(()),
        }
    }
}

impl Pick {
    pub fn verdict(&self) -> Verdict {
        Verdict::Goto(self.to_string())
    }

    /// The chain's rules, the same for every service with so many endpoints.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let check = self.masquerade_check().map(|chain| Rule::new([Statement::jump(chain)]));
        let again = self.sticky.map(|timeout| {
            let known = self.dnat(self.affinity_key(), self.affinity_map(), Some(timeout));
            Rule::new([known]).comment("a client that was here before")
        });
        let mut key = self.frontend();
        key.push(Value::Random(self.endpoints));
        let fresh = Rule::new([self.dnat(key, self.endpoints_map(), self.sticky)]);
        let share = fresh.comment(format!("a share of 1/{} each", self.endpoints));
        check.into_iter().chain(again).chain([share]).collect()
    }

    fn dnat(&self, key: Vec<Value>, map: &str, sticky: Option<Duration>) -> Statement {
        let remember =
            sticky.map(|timeout| Remember { map: self.affinity_map().to_owned(), key: self.affinity_key(), timeout });
        Statement::Dnat { key, map: map.to_owned(), remember }
    }

    fn masquerade_check(&self) -> Option<&'static str> {
        match self.way {
            Way::Service => Some(CHECK_MASQUERADE),
            Way::NodePort => Some(CHECK_MASQUERADE_NODE_PORT),
            Way::ExternalLocal | Way::NodePortLocal => None,
        }
    }

    fn frontend(&self) -> Vec<Value> {
        let address = match self.way {
            Way::Service | Way::ExternalLocal => Value::DestinationAddress,
            Way::NodePort | Way::NodePortLocal => Value::Constant(ANY_NODE_ADDRESS),
        };
        vec![address, Value::Protocol, Value::DestinationPort]
    }

    fn affinity_key(&self) -> Vec<Value> {
        std::iter::once(Value::SourceAddress).chain(self.frontend()).collect()
    }

    pub(crate) fn endpoints_map(&self) -> &'static str {
        match self.way {
            Way::Service | Way::NodePort => ENDPOINTS,
            Way::ExternalLocal | Way::NodePortLocal => LOCAL_ENDPOINTS,
        }
    }

    fn affinity_map(&self) -> &'static str {
        match self.way {
            Way::Service | Way::NodePort => AFFINITY,
            Way::ExternalLocal | Way::NodePortLocal => LOCAL_AFFINITY,
        }
    }
}

pub fn table() -> Table {
    Table::ip(TABLE)
}

/// Starts a transaction that replaces whatever table there is by one without services.
pub fn empty_table(facts: &NodeFacts) -> Transaction {
    let mut t = Transaction::replacing(table());
    add_sets(&mut t);
    add_refuse(&mut t);
    add_masquerade_checks(&mut t, facts);
    add_dispatch(&mut t, facts);
    add_hooks(&mut t);
    t
}

fn add_sets(t: &mut Transaction) {
    let [address, protocol, port] = FRONTEND;
    for map in [SERVICES, EXTERNAL_LOCAL] {
        t.add_set(Set::verdict_map(map, &FRONTEND));
    }
    for map in [NODE_PORTS, NODE_PORTS_LOCAL] {
        t.add_set(Set::verdict_map(map, &[protocol, port]));
    }
    for map in [ENDPOINTS, LOCAL_ENDPOINTS] {
        t.add_set(Set::map(map, &[address, protocol, port, DataType::Mark], &BACKEND));
    }
    for map in [AFFINITY, LOCAL_AFFINITY] {
        t.add_set(Set::map(map, &[address, address, protocol, port], &BACKEND).dynamic(AFFINITY_CLIENTS_MAX));
    }
    for set in [MASQUERADE_ALL, RESTRICTED] {
        t.add_set(Set::new(set, &FRONTEND));
    }
    t.add_set(Set::new(MASQUERADE_NODE_PORTS, &[protocol, port]));
    t.add_set(Set::new(HAIRPIN, &[address, address]));
    t.add_set(Set::new(CLUSTER_IPS, &[address]));
    t.add_set(Set::new(ALLOWED_SOURCES, &[address, protocol, port, address]).interval());
}

/// Answers at once that nobody listens.
fn add_refuse(t: &mut Transaction) {
    t.add_chain(REFUSE);
    let tcp = Statement::equal(Value::Protocol, Operand::Protocol(TCP));
    t.add_rule(REFUSE, Rule::new([tcp, Statement::Reject(Rejection::TcpReset)]));
    t.add_rule(REFUSE, Rule::new([Statement::Reject(Rejection::PortUnreachable)]));
}

fn add_masquerade_checks(t: &mut Transaction, facts: &NodeFacts) {
    let checks = [
        (CHECK_MASQUERADE, TO_FRONTEND.to_vec(), MASQUERADE_ALL),
        (CHECK_MASQUERADE_NODE_PORT, TO_NODE_PORT.to_vec(), MASQUERADE_NODE_PORTS),
    ];
    let mark = Statement::SetMarkBits(MASQUERADE_MARK);
    for (chain, key, set) in checks {
        t.add_chain(chain);
        t.add_rule(chain, Rule::new([not_from_pod(facts), mark.clone()]));
        t.add_rule(chain, Rule::new([member(&key, set), mark.clone()]));
    }
}

fn add_dispatch(t: &mut Transaction, facts: &NodeFacts) {
    let outside = [not_from_pod(facts), Statement::not_equal(Value::SourceKind, Operand::Local)];
    t.add_chain("node-ports");
    t.add_rule("node-ports", Rule::new([&outside[..], &[dispatch(&TO_NODE_PORT, NODE_PORTS_LOCAL)]].concat()));
    t.add_rule("node-ports", Rule::new([dispatch(&TO_NODE_PORT, NODE_PORTS)]));

    t.add_chain("services");
    let from = [&TO_FRONTEND[..], &[Value::SourceAddress]].concat();
    let not_allowed = Statement::Lookup { key: from, set: ALLOWED_SOURCES.to_owned(), negated: true };
    t.add_rule(
        "services",
        Rule::new([member(&TO_FRONTEND, RESTRICTED), not_allowed, Statement::Verdict(Verdict::Drop)]),
    );
    t.add_rule("services", Rule::new([&outside[..], &[dispatch(&TO_FRONTEND, EXTERNAL_LOCAL)]].concat()));
    t.add_rule("services", Rule::new([dispatch(&TO_FRONTEND, SERVICES)]));
    t.add_rule("services", Rule::new([member(&[Value::DestinationAddress], CLUSTER_IPS), Statement::goto(REFUSE)]));
    let loopback = Ipv4Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8).expect("8 is a prefix length");
    let to_node = [
        Statement::equal(Value::DestinationKind, Operand::Local),
        Statement::not_equal(Value::DestinationAddress, Operand::Prefix(loopback)),
        Statement::jump("node-ports"),
    ];
    t.add_rule("services", Rule::new(to_node));
}

fn add_hooks(t: &mut Transaction) {
    let nat = |point, priority| Hook { kind: ChainKind::Nat, point, priority };
    for (name, point) in [("prerouting", HookPoint::Prerouting), ("output", HookPoint::Output)] {
        t.add_hook_chain(name, nat(point, -100));
        t.add_rule(name, Rule::new([Statement::jump("services")]));
    }
    t.add_hook_chain("postrouting", nat(HookPoint::Postrouting, 100));
    // The mark is taken off first: it would pass on to the packet that carries this one through the overlay.
    let marked = [
        Statement::equal(Value::Mark, Operand::Bits(Bits::Mark(MASQUERADE_MARK))),
        Statement::ClearMarkBits(MASQUERADE_MARK),
        Statement::Masquerade,
    ];
    t.add_rule("postrouting", Rule::new(marked));
    let itself = member(&[Value::SourceAddress, Value::DestinationAddress], HAIRPIN);
    let translated = Statement::equal(Value::ConnectionStatus, Operand::Bits(Bits::Dnat));
    t.add_rule(
        "postrouting",
        Rule::new([itself, translated, Statement::Masquerade]).comment("a pod that reaches itself"),
    );
}

fn not_from_pod(facts: &NodeFacts) -> Statement {
    Statement::not_equal(Value::SourceAddress, Operand::Prefix(facts.cluster_cidr))
}

fn member(key: &[Value], set: &str) -> Statement {
    Statement::Lookup { key: key.to_vec(), set: set.to_owned(), negated: false }
}

fn dispatch(key: &[Value], map: &str) -> Statement {
    Statement::Dispatch { key: key.to_vec(), map: map.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nft::Nft;

    #[test]
    fn the_empty_table_is_one_that_nft_takes() {
        let facts = NodeFacts { name: "n".to_owned(), cluster_cidr: "10.244.0.0/16".parse().unwrap() };
        nft::Fake::new().apply(&empty_table(&facts)).unwrap();
    }

    #[test]
    fn a_sticky_pick_looks_for_the_client_first() {
        let pick = Pick { way: Way::NodePort, endpoints: 3, sticky: Some(Duration::from_secs(60)) };
        let lines: String = pick.rules().iter().map(|rule| format!("{rule}\n")).collect();
        expect_test::expect![[r#"
            jump check-masquerade-node-port
            update @affinity { ip saddr . 0.0.0.0 . meta l4proto . th dport timeout 60s : ip saddr . 0.0.0.0 . meta l4proto . th dport map @affinity } dnat to ip saddr . 0.0.0.0 . meta l4proto . th dport map @affinity comment "a client that was here before"
            update @affinity { ip saddr . 0.0.0.0 . meta l4proto . th dport timeout 60s : 0.0.0.0 . meta l4proto . th dport . numgen random mod 3 map @endpoints } dnat to 0.0.0.0 . meta l4proto . th dport . numgen random mod 3 map @endpoints comment "a share of 1/3 each"
        "#]]
        .assert_eq(&lines);
        assert_eq!(pick.to_string(), "node-port-pick-3-sticky-60");
    }
}
