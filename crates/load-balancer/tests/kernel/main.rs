//! The announcer's frames on a real link between two namespaces.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;

use std::net::Ipv4Addr;

use load_balancer::arp;
use netlink::netns::OwnedNetns;
use netlink::{PacketSocket, VethPeer};
use testkit::netns::root;

fn scratch(name: &str) -> OwnedNetns {
    testkit::netns::scratch(&format!("lb-{name}"))
}

/// A client that asks for an address by sending to it, and a node that answers ARP without having the address.
#[tokio::test]
async fn a_client_finds_the_node_that_answers_for_the_address() {
    if !root() {
        return;
    }
    let (client, node) = (scratch("client"), scratch("node"));
    let other_end = std::fs::File::open(node.path()).unwrap();
    client.handle().unwrap().add_veth("lan0", 1500, &VethPeer { name: "lan0", netns: Some(&other_end) }).unwrap();
    for (space, address) in [(&client, "172.28.128.1/24"), (&node, "172.28.128.10/24")] {
        let handle = space.handle().unwrap();
        let link = handle.link("lan0").unwrap();
        handle.add_address(&link, address.parse().unwrap()).unwrap();
        handle.set_up(&link).unwrap();
    }
    let link = node.handle().unwrap().link("lan0").unwrap();
    let own = link.mac.unwrap();
    let (runtime, opened) = (tokio::runtime::Handle::current(), link.clone());
    let socket = node.run(move || {
        let _inside = runtime.enter();
        PacketSocket::open(&opened, arp::ETHERTYPE).unwrap()
    });
    let socket = socket.unwrap();

    let address = Ipv4Addr::new(172, 28, 128, 200);
    let sender = client.run(|| std::net::UdpSocket::bind("172.28.128.1:0").unwrap()).unwrap();
    sender.send_to(b"hello", (address, 9)).unwrap();
    let question = loop {
        let frame = socket.receive().await.unwrap();
        if let Some(question) = arp::question(&frame).filter(|question| question.wanted == address) {
            break question;
        }
    };
    assert_eq!(question.asker, Ipv4Addr::new(172, 28, 128, 1));
    // The answer reaches the client when the datagram that waited for it arrives.
    let arrivals = node_frames(&node, &link);
    socket.send(&arp::reply(&question, own)).await.unwrap();
    loop {
        let frame = arrivals.receive().await.unwrap();
        if frame[..6] == own.0 && frame[30..34] == address.octets() {
            return;
        }
    }
}

fn node_frames(node: &OwnedNetns, link: &netlink::Link) -> PacketSocket {
    let (runtime, link) = (tokio::runtime::Handle::current(), link.clone());
    let open = move || {
        let _inside = runtime.enter();
        PacketSocket::open(&link, 0x0800).unwrap()
    };
    node.run(open).unwrap()
}
