//! Real packets through real rules: a client, a node and pods, each a namespace.
//!
//! ```text
//! client 172.28.128.1 ── lan ── node 172.28.128.10 ── pods 10.244.1.2, .3 (veth each)
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use apimachinery::ObjectKey;
use netlink::netns::OwnedNetns;
use netlink::{Ipv4Cidr, Route, RouteTarget, VethPeer, sysctl};
use nft::conntrack::KernelConntrack;
use nft::{Kernel, Nft, Transaction};
use serde_json::{Value, json};
use service_proxy::{NodeFacts, Rules, TABLE, plan_service};
use testkit::netns::root;

const CLIENT: &str = "172.28.128.1";
const NODE: &str = "172.28.128.10";
const PODS: [&str; 2] = ["10.244.1.2", "10.244.1.3"];

struct Lan {
    client: OwnedNetns,
    node: OwnedNetns,
    pods: Vec<OwnedNetns>,
    rules: Rules,
}

impl Lan {
    fn new(test: &str) -> Self {
        let space = |name: &str| testkit::netns::scratch(&format!("proxy-{test}-{name}"));
        let (client, node) = (space("client"), space("node"));
        let pods: Vec<_> = PODS.iter().map(|address| space(address)).collect();
        cable(&node, "lan0", "172.28.128.10/24", &client, "172.28.128.1/24");
        node.run(|| sysctl::set("ipv4/ip_forward", "1")).unwrap().unwrap();
        for (number, pod) in pods.iter().enumerate() {
            let (host, address) = (format!("pod{number}"), format!("{}/32", PODS[number]));
            cable(&node, &host, "10.244.1.1/32", pod, &address);
            route(&node, &address, &host, None);
            route(pod, "10.244.1.1/32", "eth0", None);
            route(pod, "0.0.0.0/0", "eth0", Some("10.244.1.1"));
        }
        route(&client, "0.0.0.0/0", "eth0", Some(NODE));
        // Instead of an announcer that answers ARP for the load balancer's address.
        route(&client, "172.28.128.200/32", "eth0", Some(NODE));
        route(&node, "0.0.0.0/0", "lan0", Some(CLIENT));
        let facts = NodeFacts { name: "node1".to_owned(), cluster_cidr: "10.244.0.0/16".parse().unwrap() };
        let kernel = Kernel::open_in(node.path()).unwrap();
        let conntrack = KernelConntrack::open_in(node.path()).unwrap();
        Self { client, pods, rules: Rules::new(facts, Box::new(kernel), Box::new(conntrack)), node }
    }

    /// Gives service `default/web` this spec and these of the two pods as endpoints.
    fn serve(&mut self, spec: &Value, endpoints: &[usize]) {
        let protocol = spec.pointer("/ports/0/protocol").cloned().unwrap_or(json!("TCP"));
        let object = json!({ "metadata": { "namespace": "default", "name": "web" }, "spec": spec,
            "status": { "loadBalancer": { "ingress": [{ "ip": "172.28.128.200", "ipMode": "VIP" }] } } });
        let endpoint =
            |pod: &usize| json!({ "addresses": [PODS[*pod]], "nodeName": "node1", "conditions": { "ready": true } });
        let slice = json!({ "metadata": { "name": "web-1" }, "addressType": "IPv4", "ports": [{ "name": "", "port": 8080, "protocol": protocol }],
            "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>() });
        let slice = Arc::new(serde_json::from_value(slice).unwrap());
        let plan = plan_service(&serde_json::from_value(object).unwrap(), &[slice], self.rules.facts());
        self.rules.update(vec![(ObjectKey::new("default", "web"), plan)]).unwrap();
    }
}

fn cable(left: &OwnedNetns, name: &str, address: &str, right: &OwnedNetns, other: &str) {
    let namespace = std::fs::File::open(right.path()).unwrap();
    left.handle().unwrap().add_veth(name, 1500, &VethPeer { name: "eth0", netns: Some(&namespace) }).unwrap();
    for (space, link, address) in [(left, name, address), (right, "eth0", other)] {
        let handle = space.handle().unwrap();
        let link = handle.link(link).unwrap();
        handle.add_address(&link, address.parse().unwrap()).unwrap();
        handle.set_up(&link).unwrap();
    }
}

fn route(space: &OwnedNetns, destination: &str, link: &str, gateway: Option<&str>) {
    let handle = space.handle().unwrap();
    let link = handle.link(link).unwrap().index;
    let destination: Ipv4Cidr = destination.parse().unwrap();
    let target = match gateway {
        None => RouteTarget::Link(link),
        Some(gateway) => RouteTarget::Gateway { link, gateway: gateway.parse().unwrap() },
    };
    handle.replace_route(&Route { destination, target, source: None }).unwrap();
}

/// Serves in each pod: every connection is told the pod's address and the peer's as the pod sees it.
struct Answering {
    stop: Vec<(std::net::SocketAddr, PathBuf)>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Answering {
    fn start(lan: &Lan) -> Self {
        let (mut stop, mut threads) = (Vec::new(), Vec::new());
        for (pod, address) in lan.pods.iter().zip(PODS) {
            let listener = pod.run(|| TcpListener::bind("0.0.0.0:8080").unwrap()).unwrap();
            stop.push((format!("{address}:8080").parse().unwrap(), pod.path().to_owned()));
            threads.push(std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let peer = stream.peer_addr().unwrap();
                    if peer.ip().to_string() == address {
                        let hairpin_or_stop = stream.local_addr().unwrap();
                        if hairpin_or_stop.ip() == peer.ip() {
                            return;
                        }
                    }
                    write!(stream, "{address} {}", peer.ip()).unwrap();
                }
            }));
        }
        Self { stop, threads }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        for (address, pod) in self.stop.drain(..) {
            netlink::netns::in_netns(&pod, move || TcpStream::connect(address).map(drop)).unwrap().ok();
        }
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// What `from` gets from `to`: who answered, and which client that one saw.
fn ask(from: &OwnedNetns, to: &str) -> Result<(String, String), ErrorKind> {
    let to: std::net::SocketAddr = to.parse().unwrap();
    let exchange = move || {
        let mut answer = String::new();
        TcpStream::connect(to)?.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = from.run(exchange).unwrap().map_err(|error| error.kind())?;
    let (pod, client) = answer.split_once(' ').unwrap();
    Ok((pod.to_owned(), client.to_owned()))
}

fn spec(more: Value) -> Value {
    let mut spec = json!({ "clusterIP": "10.96.0.7", "ports": [{ "port": 80, "nodePort": 30080 }] });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[test]
fn a_service_is_reached_in_every_way() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("ways");
    lan.serve(&spec(json!({ "type": "LoadBalancer", "externalIPs": ["203.0.113.9"] })), &[0]);
    let _answering = Answering::start(&lan);
    let pod = PODS[0].to_owned();
    let seen = |from: &OwnedNetns, to: &str| {
        let (answered, client) = ask(from, to).unwrap();
        assert_eq!(answered, pod);
        client
    };
    assert_eq!(seen(&lan.pods[1], "10.96.0.7:80"), PODS[1], "pod to cluster address: nothing hidden");
    assert_eq!(seen(&lan.node, "10.96.0.7:80"), "10.244.1.1", "node to cluster address");
    assert_eq!(seen(&lan.client, "172.28.128.10:30080"), "10.244.1.1", "outside to node port: masqueraded");
    assert_eq!(seen(&lan.node, "172.28.128.10:30080"), "10.244.1.1", "node to its own node port");
    assert_eq!(seen(&lan.pods[1], "172.28.128.10:30080"), "10.244.1.1", "pod to node port");
    assert_eq!(seen(&lan.client, "172.28.128.200:80"), "10.244.1.1", "outside to load balancer");
    assert_eq!(seen(&lan.client, "203.0.113.9:80"), "10.244.1.1", "outside to external address");
    assert_eq!(seen(&lan.pods[0], "10.96.0.7:80"), "10.244.1.1", "a pod reaches itself");
}

#[test]
fn requests_are_spread_evenly() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("spread");
    lan.serve(&spec(json!({})), &[0, 1]);
    let _answering = Answering::start(&lan);
    let count = 400;
    let answers = lan.client.run(move || {
        let mut answers: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..count {
            let mut answer = String::new();
            TcpStream::connect("10.96.0.7:80").unwrap().read_to_string(&mut answer).unwrap();
            *answers.entry(answer.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
        answers
    });
    let answers = answers.unwrap();
    // Five standard deviations around the half.
    assert!(answers.values().all(|hits| (150..=250).contains(hits)) && answers.len() == 2, "{answers:?}");
}

#[test]
fn local_policy_keeps_the_client_and_serves_no_one_without_local_endpoints() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("local");
    let policy = spec(json!({ "type": "NodePort", "externalTrafficPolicy": "Local" }));
    lan.serve(&policy, &[1]);
    let _answering = Answering::start(&lan);
    assert_eq!(ask(&lan.client, "172.28.128.10:30080").unwrap(), (PODS[1].to_owned(), CLIENT.to_owned()));
    assert_eq!(ask(&lan.node, "172.28.128.10:30080").unwrap().1, "10.244.1.1");
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("refuse");
    lan.serve(&spec(json!({ "type": "NodePort" })), &[]);
    for (from, to) in [
        (&lan.client, "10.96.0.7:80"),
        (&lan.node, "10.96.0.7:80"),
        (&lan.pods[0], "10.96.0.7:80"),
        (&lan.client, "172.28.128.10:30080"),
        (&lan.pods[0], "10.96.0.7:81"),
    ] {
        assert_eq!(ask(from, to).unwrap_err(), ErrorKind::ConnectionRefused, "{to}");
    }
}

#[test]
fn a_sticky_client_keeps_its_endpoint_until_it_is_gone() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("sticky");
    let sticky = spec(json!({ "sessionAffinity": "ClientIP" }));
    lan.serve(&sticky, &[0, 1]);
    let _answering = Answering::start(&lan);
    let first = ask(&lan.client, "10.96.0.7:80").unwrap().0;
    for _ in 0..20 {
        assert_eq!(ask(&lan.client, "10.96.0.7:80").unwrap().0, first);
    }
    let other = PODS.iter().position(|pod| **pod != first).unwrap();
    lan.serve(&sticky, &[other]);
    assert_eq!(ask(&lan.client, "10.96.0.7:80").unwrap().0, PODS[other]);
    lan.serve(&spec(json!({})), &[0, 1]);
    let mut seen: Vec<_> = (0..40).map(|_| ask(&lan.client, "10.96.0.7:80").unwrap().0).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, PODS, "without affinity again");
}

#[test]
fn source_ranges_keep_others_out_of_the_load_balancer_only() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("ranges");
    lan.serve(&spec(json!({ "type": "LoadBalancer", "loadBalancerSourceRanges": ["172.28.128.0/28"] })), &[0]);
    let _answering = Answering::start(&lan);
    assert!(ask(&lan.client, "172.28.128.200:80").is_ok());
    lan.serve(&spec(json!({ "type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"] })), &[0]);
    assert!(ask(&lan.client, "172.28.128.10:30080").is_ok());
    let dropped = lan.client.run(|| {
        let limit = std::time::Duration::from_millis(300);
        TcpStream::connect_timeout(&"172.28.128.200:80".parse().unwrap(), limit).unwrap_err().kind()
    });
    assert_eq!(dropped.unwrap(), ErrorKind::TimedOut);
}

#[test]
fn a_udp_client_moves_when_its_endpoint_is_removed() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("udp");
    let udp = spec(json!({ "ports": [{ "port": 53, "protocol": "UDP" }] }));
    lan.serve(&udp, &[0]);
    let sockets: Vec<_> =
        lan.pods.iter().map(|pod| pod.run(|| UdpSocket::bind("0.0.0.0:8080").unwrap()).unwrap()).collect();
    let client = lan.client.run(|| UdpSocket::bind("172.28.128.1:5353").unwrap()).unwrap();
    let mut buffer = [0; 8];
    client.send_to(b"one", "10.96.0.7:53").unwrap();
    assert_eq!(sockets[0].recv(&mut buffer).unwrap(), 3);
    lan.serve(&udp, &[1]);
    client.send_to(b"three", "10.96.0.7:53").unwrap();
    assert_eq!(sockets[1].recv(&mut buffer).unwrap(), 5);
}

#[test]
fn what_others_remove_is_named_and_restored_while_connections_go_on() {
    if !root() {
        return;
    }
    let mut lan = Lan::new("repair");
    lan.serve(&spec(json!({})), &[0]);
    assert_eq!(lan.rules.missing().unwrap(), None);
    let other = Kernel::open_in(lan.node.path()).unwrap();
    let table = nft::Table::ip(TABLE);
    let mut t = Transaction::new(table.clone());
    t.flush_set("endpoints");
    other.apply(&t).unwrap();
    assert_eq!(lan.rules.missing().unwrap().unwrap(), "2 elements of endpoints");
    other.apply(&Transaction::removing(table)).unwrap();
    assert_eq!(lan.rules.missing().unwrap().unwrap(), "the table");
    lan.rules.restore().unwrap();
    assert_eq!(lan.rules.missing().unwrap(), None);
    let _answering = Answering::start(&lan);
    assert!(ask(&lan.client, "10.96.0.7:80").is_ok());
}
