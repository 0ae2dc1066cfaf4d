//! Two nodes on a LAN, each a namespace, with pods on both.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;

use netlink::netns::OwnedNetns;
use netlink::{Ipv4Cidr, Route, RouteTarget, VethPeer};
use pod_network::{Config, HostPort, Member, OverlayConfig, PodNetwork, Protocol, Tunnel};
use testkit::netns::root;

fn scratch(test: &str, name: &str) -> OwnedNetns {
    testkit::netns::scratch(&format!("podnet-{test}-{name}"))
}

struct Node {
    space: OwnedNetns,
    member: Member,
    state: tempfile::TempDir,
}

impl Node {
    fn new(test: &str, number: u8) -> Self {
        let member = Member {
            name: format!("node{number}"),
            public_ip: Ipv4Addr::new(172, 28, 128, 10 + number),
            pod_cidr: format!("10.244.{number}.0/24").parse().unwrap(),
        };
        Self { space: scratch(test, &member.name), member, state: tempfile::tempdir().unwrap() }
    }

    /// Runs work with the node's pod network as a kubelet started just now would have it.
    fn with_network<T: Send + 'static>(&self, work: impl FnOnce(&PodNetwork) -> T + Send + 'static) -> T {
        let (config, range) = (Config::new(self.state.path()), self.member.pod_cidr);
        let open = move || {
            let network = PodNetwork::open(&config).unwrap();
            network.set_pod_cidr(range);
            work(&network)
        };
        self.space.run(open).unwrap()
    }

    fn attach(&self, uid: &str, pod: &Path, ports: &[HostPort]) -> IpAddr {
        let (uid, pod, ports) = (uid.to_owned(), pod.to_owned(), ports.to_vec());
        self.with_network(move |network| network.attach(&uid, &pod, &ports).unwrap()[0])
    }

    fn join(&self, others: &[&Member]) {
        let (me, others) = (self.member.clone(), others.iter().map(|other| (*other).clone()).collect::<Vec<_>>());
        let converge = move || {
            let tunnel = Tunnel::open(OverlayConfig::new(&me.name, "10.244.0.0/16".parse().unwrap())).unwrap();
            tunnel.prepare().unwrap();
            tunnel.converge(&me, &others).unwrap();
        };
        self.space.run(converge).unwrap();
    }
}

/// Two nodes with a cable between them.
fn lan(test: &str) -> (Node, Node) {
    let (one, two) = (Node::new(test, 1), Node::new(test, 2));
    let other_end = std::fs::File::open(two.space.path()).unwrap();
    one.space.handle().unwrap().add_veth("lan0", 1500, &VethPeer { name: "lan0", netns: Some(&other_end) }).unwrap();
    for node in [&one, &two] {
        let handle = node.space.handle().unwrap();
        let link = handle.link("lan0").unwrap();
        handle.add_address(&link, Ipv4Cidr::new(node.member.public_ip, 24).unwrap()).unwrap();
        handle.set_up(&link).unwrap();
    }
    (one, two)
}

/// Accepts one connection inside the namespace, answers with the peer's address; returns what the client read.
fn ask(server: &OwnedNetns, listen: &str, client: &OwnedNetns, connect: &str) -> String {
    let listen = listen.to_owned();
    let listener = server.run(move || TcpListener::bind(listen).unwrap()).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        write!(stream, "{}", peer.ip()).unwrap();
    });
    let connect = connect.to_owned();
    let answer = client.run(move || {
        let mut answer = String::new();
        TcpStream::connect(connect).unwrap().read_to_string(&mut answer).unwrap();
        answer
    });
    answering.join().unwrap();
    answer.unwrap()
}

#[test]
fn pods_of_two_nodes_reach_each_other_through_the_tunnel() {
    if !root() {
        return;
    }
    let (one, two) = lan("tunnel");
    let (pod_a, pod_b, pod_c) = (scratch("tunnel", "a"), scratch("tunnel", "b"), scratch("tunnel", "c"));
    for (node, uid, pod, expected) in [
        (&one, "aaaa", &pod_a, "10.244.1.2"),
        (&one, "bbbb", &pod_b, "10.244.1.3"),
        (&two, "cccc", &pod_c, "10.244.2.2"),
    ] {
        assert_eq!(node.attach(uid, pod.path(), &[]).to_string(), expected);
        assert_eq!(node.attach(uid, pod.path(), &[]).to_string(), expected, "attaching again changes nothing");
    }
    one.join(&[&two.member]);
    two.join(&[&one.member]);
    assert_eq!(ask(&pod_b, "10.244.1.3:80", &pod_a, "10.244.1.3:80"), "10.244.1.2", "same node");
    assert_eq!(ask(&pod_c, "10.244.2.2:80", &pod_a, "10.244.2.2:80"), "10.244.1.2", "other node, own address kept");
    assert_eq!(ask(&pod_c, "10.244.2.2:80", &one.space, "10.244.2.2:80"), "10.244.1.0", "from the other node itself");
    assert_eq!(ask(&pod_a, "10.244.1.2:80", &one.space, "10.244.1.2:80"), "10.244.1.1", "from the own node");
    assert_eq!(
        ask(&two.space, "172.28.128.12:80", &pod_a, "172.28.128.12:80"),
        "172.28.128.11",
        "outside: the node's address"
    );
}

#[test]
fn large_packets_cross_the_tunnel_whole() {
    if !root() {
        return;
    }
    let (one, two) = lan("large");
    let (pod_a, pod_b) = (scratch("large", "a"), scratch("large", "b"));
    one.attach("a", pod_a.path(), &[]);
    two.attach("b", pod_b.path(), &[]);
    one.join(&[&two.member]);
    two.join(&[&one.member]);
    let receiver = pod_b.run(|| UdpSocket::bind("10.244.2.2:9000").unwrap()).unwrap();
    let sender = pod_a.run(|| UdpSocket::bind("10.244.1.2:0").unwrap()).unwrap();
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(8000).collect();
    sender.send_to(&sent, "10.244.2.2:9000").unwrap();
    let mut received = vec![0; 9000];
    let length = receiver.recv(&mut received).unwrap();
    assert_eq!(&received[..length], sent);
}

#[test]
fn a_node_that_leaves_is_forgotten_and_one_that_returns_is_reached_again() {
    if !root() {
        return;
    }
    let (one, two) = lan("return");
    one.join(&[&two.member]);
    let to_two = |node: &Node| {
        let routes = node.space.handle().unwrap().routes().unwrap();
        routes.into_iter().any(|route| route.destination == two.member.pod_cidr)
    };
    assert!(to_two(&one));
    one.join(&[]);
    assert!(!to_two(&one));
    one.join(&[&two.member]);
    assert!(to_two(&one));
    one.space.handle().unwrap().delete_link("coracle.1").unwrap();
    one.join(&[&two.member]);
    assert!(to_two(&one));
}

#[test]
fn a_host_port_leads_to_its_pod_until_the_pod_is_detached() {
    if !root() {
        return;
    }
    let (one, two) = lan("hostport");
    let pod = scratch("hostport", "pod");
    let port = HostPort { host_ip: None, host_port: 8080, container_port: 80, protocol: Protocol::Tcp };
    one.attach("uid-1", pod.path(), &[port]);
    assert_eq!(ask(&pod, "10.244.1.2:80", &two.space, "172.28.128.11:8080"), "172.28.128.12", "from outside");
    assert_eq!(ask(&pod, "10.244.1.2:80", &one.space, "172.28.128.11:8080"), "172.28.128.11", "from the node");
    assert_eq!(ask(&pod, "10.244.1.2:80", &pod, "172.28.128.11:8080"), "10.244.1.1", "from the pod itself");
    let second = one.with_network(move |network| network.attach("uid-2", Path::new("/nowhere"), &[port]).unwrap_err());
    assert!(matches!(second, pod_network::Error::HostPortTaken { port: 8080, .. }), "{second:?}");
    one.with_network(|network| network.detach("uid-1").unwrap());
    let refused = two.space.run(|| TcpStream::connect("172.28.128.11:8080").unwrap_err().kind()).unwrap();
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_restarted_kubelet_finds_its_pods_and_drops_the_dead() {
    if !root() {
        return;
    }
    let (one, _two) = lan("restart");
    let (alive, dead) = (scratch("restart", "alive"), scratch("restart", "dead"));
    assert_eq!(one.attach("alive", alive.path(), &[]).to_string(), "10.244.1.2");
    assert_eq!(one.attach("dead", dead.path(), &[]).to_string(), "10.244.1.3");
    one.with_network(|network| {
        network.retain(|uid| uid == "alive").unwrap();
        assert_eq!(network.addresses("alive").len(), 1);
        assert!(network.addresses("dead").is_empty());
    });
    let links = one.space.handle().unwrap().links().unwrap();
    let names: Vec<_> = links.iter().map(|link| link.name.as_str()).filter(|name| name.starts_with("veth")).collect();
    assert_eq!(names, ["vethalive"]);
    let default = Route {
        destination: "0.0.0.0/0".parse().unwrap(),
        target: RouteTarget::Gateway {
            link: alive.handle().unwrap().link("eth0").unwrap().index,
            gateway: Ipv4Addr::new(10, 244, 1, 1),
        },
        source: None,
    };
    assert!(alive.handle().unwrap().routes().unwrap().contains(&default));
}
