use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use netlink::{ForwardingEntry, Ipv4Cidr, Link, Neighbour, Route, RouteTarget, VxlanSpec};

use crate::Member;

/// The overlay as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub device: Option<Link>,
    /// Of the device.
    pub addresses: Vec<Ipv4Cidr>,
    /// Through the device, and unreachable ones.
    pub routes: Vec<Route>,
    pub neighbours: Vec<Neighbour>,
    pub forwarding: Vec<ForwardingEntry>,
}

/// One step towards the overlay that the Node objects ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes the device (after removing one that differs in what cannot be changed); look again afterwards.
    MakeDevice {
        remove_first: bool,
    },
    SetMac,
    SetUp,
    AddAddress(Ipv4Cidr),
    DeleteAddress(Ipv4Cidr),
    SetNeighbour(Neighbour),
    DeleteNeighbour(Neighbour),
    SetForwarding(ForwardingEntry),
    DeleteForwarding(ForwardingEntry),
    SetRoute(Route),
    DeleteRoute(Route),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDevice { remove_first: false } => write!(f, "make the device"),
            Self::MakeDevice { remove_first: true } => write!(f, "make the device anew"),
            Self::SetMac => write!(f, "set the device's hardware address"),
            Self::SetUp => write!(f, "set the device up"),
            Self::AddAddress(cidr) => write!(f, "add address {cidr}"),
            Self::DeleteAddress(cidr) => write!(f, "delete address {cidr}"),
            Self::SetNeighbour(entry) => write!(f, "neighbour {} is {}", entry.address, entry.mac),
            Self::DeleteNeighbour(entry) => write!(f, "delete neighbour {}", entry.address),
            Self::SetForwarding(entry) => write!(f, "{} is behind {}", entry.mac, entry.remote),
            Self::DeleteForwarding(entry) => write!(f, "delete {} behind {}", entry.mac, entry.remote),
            Self::SetRoute(route) => write!(f, "route {}{}", route.destination, way(route)),
            Self::DeleteRoute(route) => write!(f, "delete route {}{}", route.destination, way(route)),
        }
    }
}

fn way(route: &Route) -> String {
    match route.target {
        RouteTarget::Unreachable => " unreachable".to_owned(),
        RouteTarget::OnLink { gateway, .. } | RouteTarget::Gateway { gateway, .. } => format!(" via {gateway}"),
        RouteTarget::Link(_) => String::new(),
    }
}

/// What is to be done so that this node reaches the pods of every other.
pub fn plan(me: &Member, others: &[Member], spec: &VxlanSpec, observed: &Observed) -> Vec<Action> {
    let Some(device) = &observed.device else {
        return vec![Action::MakeDevice { remove_first: false }];
    };
    if device.vxlan.as_ref() != Some(spec) {
        return vec![Action::MakeDevice { remove_first: true }];
    }
    let mut actions = plan_device(me, device, observed);
    let wanted = Wanted::new(me, others, device.index);
    // Removals come first: a node that came back with another range must not lose its new entries to the old ones.
    actions.extend(gone(&observed.routes, &wanted.routes).map(Action::DeleteRoute));
    actions.extend(gone(&observed.neighbours, &wanted.neighbours).map(Action::DeleteNeighbour));
    actions.extend(gone(&observed.forwarding, &wanted.forwarding).map(Action::DeleteForwarding));
    actions.extend(missing(&wanted.forwarding, &observed.forwarding).map(Action::SetForwarding));
    actions.extend(missing(&wanted.neighbours, &observed.neighbours).map(Action::SetNeighbour));
    actions.extend(missing(&wanted.routes, &observed.routes).map(Action::SetRoute));
    actions
}

fn plan_device(me: &Member, device: &Link, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    if device.mac != Some(me.tunnel_mac()) {
        actions.push(Action::SetMac);
    }
    if !device.up {
        actions.push(Action::SetUp);
    }
    let address = Ipv4Cidr::host(me.tunnel_ip());
    actions.extend(gone(&observed.addresses, &[address]).map(Action::DeleteAddress));
    actions.extend(missing(&[address], &observed.addresses).map(Action::AddAddress));
    actions
}

struct Wanted {
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
    forwarding: Vec<ForwardingEntry>,
}

impl Wanted {
    fn new(me: &Member, others: &[Member], link: u32) -> Self {
        let others = without_double_ranges(me, others);
        let own_range = Route { destination: me.pod_cidr, target: RouteTarget::Unreachable, source: None };
        let to_others = others.iter().map(|other| Route {
            destination: other.pod_cidr,
            target: RouteTarget::OnLink { link, gateway: other.tunnel_ip() },
            source: None,
        });
        Self {
            routes: std::iter::once(own_range).chain(to_others).collect(),
            neighbours: others.iter().map(|o| Neighbour { address: o.tunnel_ip(), mac: o.tunnel_mac() }).collect(),
            forwarding: others.iter().map(|o| ForwardingEntry { mac: o.tunnel_mac(), remote: o.public_ip }).collect(),
        }
    }
}

/// Two nodes with one range is a fault elsewhere; the first by name wins, and this node above all.
fn without_double_ranges<'a>(me: &Member, others: &'a [Member]) -> Vec<&'a Member> {
    let mut sorted: Vec<_> = others.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut seen: BTreeSet<Ipv4Addr> = BTreeSet::from([me.tunnel_ip()]);
    sorted.retain(|other| seen.insert(other.tunnel_ip()));
    sorted
}

fn missing<'a, T: PartialEq + Clone>(wanted: &'a [T], there: &'a [T]) -> impl Iterator<Item = T> + 'a {
    wanted.iter().filter(|item| !there.contains(item)).cloned()
}

fn gone<'a, T: PartialEq + Clone>(there: &'a [T], wanted: &'a [T]) -> impl Iterator<Item = T> + 'a {
    missing(there, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn node(name: &str, last: u8) -> Member {
        Member {
            name: name.to_owned(),
            public_ip: Ipv4Addr::new(172, 28, 128, 10 + last),
            pod_cidr: format!("10.244.{last}.0/24").parse().unwrap(),
        }
    }

    fn spec() -> VxlanSpec {
        VxlanSpec { vni: 1, port: 8472, local: Ipv4Addr::new(172, 28, 128, 11), underlay: 2 }
    }

    fn device() -> Link {
        Link {
            index: 7,
            name: "coracle.1".to_owned(),
            mtu: 1450,
            mac: Some(node("me", 1).tunnel_mac()),
            up: true,
            loopback: false,
            kind: Some("vxlan".to_owned()),
            controller: None,
            vxlan: Some(spec()),
        }
    }

    /// What the kernel has after a plan for these nodes was carried out.
    fn settled(others: &[Member]) -> Observed {
        let wanted = Wanted::new(&node("me", 1), others, 7);
        Observed {
            device: Some(device()),
            addresses: vec!["10.244.1.0/32".parse().unwrap()],
            routes: wanted.routes,
            neighbours: wanted.neighbours,
            forwarding: wanted.forwarding,
        }
    }

    fn check(others: &[Member], observed: &Observed, expected: Expect) {
        let actions = plan(&node("me", 1), others, &spec(), observed);
        let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
        expected.assert_eq(&lines);
    }

    #[test]
    fn the_device_is_made_first() {
        check(&[node("b", 2)], &Observed::default(), expect![["make the device\n"]]);
    }

    #[test]
    fn a_new_node_gets_forwarding_then_neighbour_then_route() {
        let observed = settled(&[]);
        check(
            &[node("b", 2)],
            &observed,
            expect![[r#"
                0e:c0:0a:f4:02:00 is behind 172.28.128.12
                neighbour 10.244.2.0 is 0e:c0:0a:f4:02:00
                route 10.244.2.0/24 via 10.244.2.0
            "#]],
        );
    }

    #[test]
    fn a_settled_overlay_is_left_alone() {
        let others = [node("b", 2), node("c", 3)];
        check(&others, &settled(&others), expect![[""]]);
    }

    #[test]
    fn a_lost_node_is_forgotten() {
        check(
            &[],
            &settled(&[node("b", 2)]),
            expect![[r#"
                delete route 10.244.2.0/24 via 10.244.2.0
                delete neighbour 10.244.2.0
                delete 0e:c0:0a:f4:02:00 behind 172.28.128.12
            "#]],
        );
    }

    #[test]
    fn a_node_that_came_back_elsewhere_moves() {
        let moved = Member { public_ip: Ipv4Addr::new(172, 28, 128, 99), ..node("b", 2) };
        check(
            &[moved],
            &settled(&[node("b", 2)]),
            expect![[r#"
                delete 0e:c0:0a:f4:02:00 behind 172.28.128.12
                0e:c0:0a:f4:02:00 is behind 172.28.128.99
            "#]],
        );
    }

    #[test]
    fn a_device_on_another_address_is_made_anew() {
        let mut observed = settled(&[]);
        observed.device = Some(Link { vxlan: Some(VxlanSpec { port: 4789, ..spec() }), ..device() });
        check(&[], &observed, expect![["make the device anew\n"]]);
    }

    #[test]
    fn what_somebody_removed_is_put_back() {
        let others = [node("b", 2)];
        let mut observed = settled(&others);
        observed.addresses.clear();
        observed.routes.clear();
        observed.device = Some(Link { up: false, ..device() });
        check(
            &others,
            &observed,
            expect![[r#"
                set the device up
                add address 10.244.1.0/32
                route 10.244.1.0/24 unreachable
                route 10.244.2.0/24 via 10.244.2.0
            "#]],
        );
    }
}
