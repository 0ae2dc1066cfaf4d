//! The controller that gives addresses, and the announcers of two nodes that compete for one.

use std::path::Path;

use controller_runtime::Informers;
use load_balancer::{AddressController, Announcer, AnnouncerConfig, Pool, arp};
use rt::TaskSet;
use serde_json::{Value, json};
use testkit::FakeApi;
use testkit::netns::{Agent, root};

use crate::scratch;

const NODES: &str = "/api/v1/nodes";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/load-balancer-172-28-128-200";

fn pool() -> Pool {
    "172.28.128.200-172.28.128.201".parse().unwrap()
}

fn service(name: &str, kind: &str) -> Value {
    json!({ "metadata": { "namespace": "default", "name": name, "uid": name }, "spec": { "type": kind } })
}

fn node(name: &str, ready: &str) -> Value {
    json!({ "metadata": { "name": name }, "status": { "conditions": [{ "type": "Ready", "status": ready }] } })
}

fn address(api: &FakeApi, name: &str) -> Option<String> {
    let object = api.get(&format!("{SERVICES}/{name}"))?;
    object.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str).map(str::to_owned)
}

fn holder(api: &FakeApi) -> Option<String> {
    let lease = api.get(LEASE)?;
    lease.pointer("/spec/holderIdentity").and_then(Value::as_str).map(str::to_owned)
}

async fn wait_until(api: &FakeApi, holds: impl Fn(&FakeApi) -> bool) {
    api.wait_until(|api| holds(api).then_some(())).await;
}

#[tokio::test]
async fn addresses_are_given_kept_over_a_restart_and_passed_on_when_freed() {
    let api = FakeApi::new();
    let start = || {
        let tasks = TaskSet::new();
        let informers = Informers::new(&api.client(), &tasks);
        let controller = AddressController::new(&api.client(), &informers, pool());
        tasks.spawn("controller", controller.run(tasks.token()));
        tasks
    };
    let first = start();
    for name in ["a", "b", "c"] {
        api.put(SERVICES, service(name, "LoadBalancer"));
        wait_until(&api, |api| name == "c" || address(api, name).is_some()).await;
    }
    assert_eq!(address(&api, "a").as_deref(), Some("172.28.128.200"));
    assert_eq!(address(&api, "b").as_deref(), Some("172.28.128.201"));
    first.shutdown().await;

    let second = start();
    let mut released = api.get(&format!("{SERVICES}/a")).unwrap();
    released["spec"]["type"] = json!("ClusterIP");
    api.put(SERVICES, released);
    wait_until(&api, |api| address(api, "a").is_none() && address(api, "c").is_some()).await;
    assert_eq!(address(&api, "b").as_deref(), Some("172.28.128.201"), "untouched");
    assert_eq!(address(&api, "c").as_deref(), Some("172.28.128.200"), "waited for it");
    second.shutdown().await;
}

fn announce(api: &FakeApi, netns: &Path, name: &str, address: &str) -> Agent {
    let client = api.client();
    let config = AnnouncerConfig { node_name: name.to_owned(), node_ip: address.parse().unwrap(), pool: pool() };
    Agent::start(netns, move |tasks| async move {
        let informers = Informers::new(&client, &tasks);
        Announcer::new(config, &client, &informers).unwrap().run(tasks.token()).await.unwrap();
    })
}

#[tokio::test]
async fn one_node_announces_and_another_takes_over_when_it_is_lost() {
    if !root() {
        return;
    }
    let api = FakeApi::new();
    let mut exposed = service("web", "LoadBalancer");
    exposed["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "172.28.128.200" }] } });
    api.put(SERVICES, exposed);
    let spaces: Vec<_> = ["one", "two"].map(|name| scratch(&format!("announce-{name}"))).into_iter().collect();
    for (space, address) in spaces.iter().zip(["172.28.128.11/24", "172.28.128.12/24"]) {
        let handle = space.handle().unwrap();
        handle.add_bridge("lan0", 1500).unwrap();
        let link = handle.link("lan0").unwrap();
        handle.add_address(&link, address.parse().unwrap()).unwrap();
        handle.set_up(&link).unwrap();
    }
    for name in ["one", "two"] {
        api.put(NODES, node(name, "True"));
    }
    let agents = [
        announce(&api, spaces[0].path(), "one", "172.28.128.11"),
        announce(&api, spaces[1].path(), "two", "172.28.128.12"),
    ];
    wait_until(&api, |api| holder(api).is_some_and(|holder| !holder.is_empty())).await;
    let first = holder(&api).unwrap();
    let second = if first == "one" { "two" } else { "one" };
    let lost = usize::from(first == "two");

    // The holder's node is declared lost: the other one takes the lease at once, and says so on the LAN.
    let (runtime, path) = (tokio::runtime::Handle::current(), spaces[1 - lost].path().to_owned());
    let frames = netlink::netns::in_netns(&path, move || {
        let _inside = runtime.enter();
        let link = netlink::Handle::open().unwrap().link("lan0").unwrap();
        netlink::PacketSocket::open(&link, 0x0003).unwrap()
    });
    let frames = frames.unwrap();
    let started = std::time::Instant::now();
    api.put(NODES, node(&first, "Unknown"));
    wait_until(&api, |api| holder(api).as_deref() == Some(second)).await;
    loop {
        let frame = frames.receive().await.unwrap();
        if arp::question(&frame)
            .is_some_and(|told| told.wanted == told.asker && told.wanted.octets() == [172, 28, 128, 200])
        {
            break;
        }
    }
    assert!(started.elapsed().as_millis() < 1000, "failover took {:?}", started.elapsed());
    agents.into_iter().for_each(Agent::stop);
    assert_eq!(holder(&api).as_deref(), Some(""), "given up on the way out");
}
