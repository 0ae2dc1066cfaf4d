//! The controller that gives addresses, and the announcers of two nodes that compete for one.

use std::path::Path;

use controller_runtime::Informers;
use load_balancer::{AddressController, Announcer, AnnouncerConfig, Pool, arp};
use rt::{CancellationToken, TaskSet};
use serde_json::{Value, json};

use crate::fake_api::FakeApi;
use crate::{root, scratch};

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
    let object = api.get("services", "default", name)?;
    object.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str).map(str::to_owned)
}

fn holder(api: &FakeApi) -> Option<String> {
    let lease = api.get("leases", "kube-system", "load-balancer-172-28-128-200")?;
    lease.pointer("/spec/holderIdentity").and_then(Value::as_str).map(str::to_owned)
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
        api.put("services", service(name, "LoadBalancer"));
        api.wait_until(|api| name == "c" || address(api, name).is_some()).await;
    }
    assert_eq!(address(&api, "a").as_deref(), Some("172.28.128.200"));
    assert_eq!(address(&api, "b").as_deref(), Some("172.28.128.201"));
    first.shutdown().await;

    let second = start();
    let mut released = api.get("services", "default", "a").unwrap();
    released["spec"]["type"] = json!("ClusterIP");
    api.put("services", released);
    api.wait_until(|api| address(api, "a").is_none() && address(api, "c").is_some()).await;
    assert_eq!(address(&api, "b").as_deref(), Some("172.28.128.201"), "untouched");
    assert_eq!(address(&api, "c").as_deref(), Some("172.28.128.200"), "waited for it");
    second.shutdown().await;
}

/// Runs an announcer inside a namespace on a thread of its own.
fn announce(
    api: &FakeApi,
    netns: &Path,
    name: &str,
    address: &str,
) -> (CancellationToken, std::thread::JoinHandle<()>) {
    let (shutdown, client, path) = (CancellationToken::new(), api.client(), netns.to_owned());
    let config = AnnouncerConfig { node_name: name.to_owned(), node_ip: address.parse().unwrap(), pool: pool() };
    let token = shutdown.clone();
    let agent = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let tasks = TaskSet::under(token.clone());
            let informers = Informers::new(&client, &tasks);
            Announcer::new(config, &client, &informers).unwrap().run(token).await.unwrap();
            tasks.join().await;
        });
    };
    let thread = std::thread::spawn(move || netlink::netns::in_netns(&path, agent).unwrap());
    (shutdown, thread)
}

#[tokio::test]
async fn one_node_announces_and_another_takes_over_when_it_is_lost() {
    if !root() {
        return;
    }
    let api = FakeApi::new();
    let mut exposed = service("web", "LoadBalancer");
    exposed["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "172.28.128.200" }] } });
    api.put("services", exposed);
    let spaces: Vec<_> = ["one", "two"].map(|name| scratch(&format!("announce-{name}"))).into_iter().collect();
    for (space, address) in spaces.iter().zip(["172.28.128.11/24", "172.28.128.12/24"]) {
        let handle = space.handle().unwrap();
        handle.add_bridge("lan0", 1500).unwrap();
        let link = handle.link("lan0").unwrap();
        handle.add_address(&link, address.parse().unwrap()).unwrap();
        handle.set_up(&link).unwrap();
    }
    ["one", "two"].iter().for_each(|name| api.put("nodes", node(name, "True")));
    let agents = [
        announce(&api, spaces[0].path(), "one", "172.28.128.11"),
        announce(&api, spaces[1].path(), "two", "172.28.128.12"),
    ];
    api.wait_until(|api| holder(api).is_some_and(|holder| !holder.is_empty())).await;
    let first = holder(&api).unwrap();
    let second = if first == "one" { "two" } else { "one" };
    let agents: Vec<_> = agents.into_iter().collect();
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
    api.put("nodes", node(&first, "Unknown"));
    api.wait_until(|api| holder(api).as_deref() == Some(second)).await;
    loop {
        let frame = frames.receive().await.unwrap();
        if arp::question(&frame)
            .is_some_and(|told| told.wanted == told.asker && told.wanted.octets() == [172, 28, 128, 200])
        {
            break;
        }
    }
    assert!(started.elapsed().as_millis() < 1000, "failover took {:?}", started.elapsed());
    for (shutdown, thread) in agents {
        shutdown.cancel();
        thread.join().unwrap();
    }
    assert_eq!(holder(&api).as_deref(), Some(""), "given up on the way out");
}
