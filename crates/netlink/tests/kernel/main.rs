//! Against the real kernel, in namespaces of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::path::PathBuf;

use netlink::netns::{self, OwnedNetns};
use netlink::{
    Change, ForwardingEntry, Handle, Ipv4Cidr, MacAddress, Monitor, Neighbour, Route, RouteTarget, VethPeer, VxlanSpec,
};
use testkit::netns::root;

fn scratch(name: &str) -> OwnedNetns {
    testkit::netns::scratch(&format!("netlink-{name}"))
}

fn cidr(text: &str) -> Ipv4Cidr {
    text.parse().unwrap()
}

#[test]
fn a_veth_carries_packets_between_two_namespaces() {
    if !root() {
        return;
    }
    let (left, right) = (scratch("veth-left"), scratch("veth-right"));
    let peer_namespace = std::fs::File::open(right.path()).unwrap();
    let handle = left.handle().unwrap();
    handle.add_veth("left0", 1450, &VethPeer { name: "right0", netns: Some(&peer_namespace) }).unwrap();
    for (namespace, name, address) in [(&left, "left0", "10.9.0.1/24"), (&right, "right0", "10.9.0.2/24")] {
        let handle = namespace.handle().unwrap();
        let link = handle.link(name).unwrap();
        assert_eq!(link.mtu, 1450);
        handle.add_address(&link, cidr(address)).unwrap();
        handle.add_address(&link, cidr(address)).unwrap();
        handle.set_up(&link).unwrap();
    }
    let server = right.run(|| std::net::UdpSocket::bind("10.9.0.2:7000").unwrap()).unwrap();
    let client = left.run(|| std::net::UdpSocket::bind("10.9.0.1:0").unwrap()).unwrap();
    client.send_to(b"hello", "10.9.0.2:7000").unwrap();
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from.ip().to_string().as_str()), (&b"hello"[..], "10.9.0.1"));
}

#[test]
fn overlay_entries_are_set_listed_and_removed() {
    if !root() {
        return;
    }
    let space = scratch("overlay");
    let handle = space.handle().unwrap();
    handle.add_bridge("lan0", 1500).unwrap();
    let lan = handle.link("lan0").unwrap();
    handle.set_up(&lan).unwrap();
    let spec = VxlanSpec { vni: 1, port: 8472, local: Ipv4Addr::new(10, 9, 0, 1), underlay: lan.index };
    let mac = MacAddress([2, 0, 10, 244, 1, 0]);
    handle.add_vxlan("tunnel0", 1450, mac, &spec).unwrap();
    let tunnel = handle.link("tunnel0").unwrap();
    assert_eq!((tunnel.vxlan.as_ref(), tunnel.mac), (Some(&spec), Some(mac)));
    handle.set_up(&tunnel).unwrap();
    space.run(|| Handle::disable_transmit_checksum_offload("tunnel0")).unwrap().unwrap();

    let neighbour = Neighbour { address: Ipv4Addr::new(10, 244, 2, 0), mac: MacAddress([2, 0, 10, 244, 2, 0]) };
    let entry = ForwardingEntry { mac: neighbour.mac, remote: Ipv4Addr::new(10, 9, 0, 2) };
    let target = RouteTarget::OnLink { link: tunnel.index, gateway: neighbour.address };
    let route = Route { destination: cidr("10.244.2.0/24"), target, source: None };
    let blackhole = Route { destination: cidr("10.244.1.0/24"), target: RouteTarget::Unreachable, source: None };
    for _ in 0..2 {
        handle.replace_neighbour(&tunnel, neighbour).unwrap();
        handle.replace_forwarding(&tunnel, entry).unwrap();
        handle.replace_route(&route).unwrap();
        handle.replace_route(&blackhole).unwrap();
    }
    assert_eq!(handle.neighbours(&tunnel).unwrap(), [neighbour]);
    assert_eq!(handle.forwarding(&tunnel).unwrap(), [entry]);
    let routes = handle.routes().unwrap();
    assert!(routes.contains(&route) && routes.contains(&blackhole), "{routes:?}");

    for _ in 0..2 {
        handle.delete_neighbour(&tunnel, neighbour).unwrap();
        handle.delete_forwarding(&tunnel, entry).unwrap();
        handle.delete_route(&route).unwrap();
        handle.delete_link("tunnel0").unwrap();
    }
    assert!(handle.find_link("tunnel0").unwrap().is_none());
}

#[test]
fn an_error_names_the_operation_the_link_and_the_cause() {
    if !root() {
        return;
    }
    let space = scratch("error");
    let handle = space.handle().unwrap();
    handle.add_bridge("twice0", 1500).unwrap();
    let error = handle.add_bridge("twice0", 1500).unwrap_err();
    assert!(error.is_exists(), "{error:?}");
    assert!(error.to_string().contains("add Bridge link twice0"), "{error}");
    let missing = handle.set_up_by_name("nowhere0").unwrap_err();
    assert!(missing.is_absent() && missing.to_string().contains("nowhere0"));
}

#[test]
fn a_namespace_is_made_once_kept_and_deleted() {
    if !root() {
        return;
    }
    let path = PathBuf::from(format!("/run/netns/netlink-lifecycle-{}", std::process::id()));
    netns::create(&path).unwrap();
    netns::create(&path).unwrap();
    assert!(netns::exists(&path));
    assert!(Handle::open_in(&path).unwrap().link("lo").unwrap().up);
    netns::delete(&path).unwrap();
    netns::delete(&path).unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "left by a crash").unwrap();
    assert!(!netns::exists(&path));
    netns::create(&path).unwrap();
    assert!(netns::exists(&path));
    netns::delete(&path).unwrap();
}

#[tokio::test]
async fn the_monitor_tells_of_a_deleted_link() {
    if !root() {
        return;
    }
    let space = scratch("monitor");
    let handle = space.handle().unwrap();
    handle.add_bridge("gone0", 1500).unwrap();
    let mut monitor = Monitor::open_in(space.path()).unwrap();
    handle.delete_link("gone0").unwrap();
    loop {
        let changes = monitor.changes().await.unwrap();
        if changes.iter().any(|change| matches!(change, Change::LinkDeleted(link) if link.name == "gone0")) {
            return;
        }
    }
}
