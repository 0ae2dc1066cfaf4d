//! The whole proxy: objects in, rules in the kernel, and what it does when somebody meddles.

use std::io::ErrorKind;
use std::path::Path;

use controller_runtime::Informers;
use nft::{Kernel, Listing, Nft, Notice, Table, Transaction};
use rt::TaskSet;
use serde_json::json;
use service_proxy::{NodeFacts, ProxyConfig, ServiceProxy, TABLE};

use crate::fake_api::FakeApi;
use crate::{Lan, PODS, ask, root};

fn service(node_port: Option<u16>) -> serde_json::Value {
    json!({ "metadata": { "namespace": "default", "name": "web" },
        "spec": { "type": "NodePort", "clusterIP": "10.96.0.7", "ports": [{ "port": 80, "nodePort": node_port }] } })
}

fn slice(pods: &[&str]) -> serde_json::Value {
    let endpoints: Vec<_> = pods.iter().map(|pod| json!({ "addresses": [pod], "nodeName": "node1" })).collect();
    json!({ "metadata": { "namespace": "default", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4", "ports": [{ "name": "", "port": 8080 }], "endpoints": endpoints })
}

/// Waits until the table is as the predicate wants it, woken by the kernel's own notifications.
async fn wait_for_rules(netns: &Path, predicate: impl Fn(Option<&Listing>) -> bool) {
    let mut monitor = nft::Monitor::open_in(netns).unwrap();
    let kernel = Kernel::open_in(netns).unwrap();
    while !predicate(kernel.list(&Table::ip(TABLE)).unwrap().as_ref()) {
        let _: Notice = monitor.next().await.unwrap();
    }
}

fn endpoints(listing: Option<&Listing>) -> usize {
    listing.and_then(|listing| listing.sets.get("endpoints")).map_or(0, Vec::len)
}

/// Runs a proxy inside the node's namespace on a runtime of its own thread, as a process would.
fn start(lan: &Lan, api: &FakeApi) -> (rt::CancellationToken, std::thread::JoinHandle<()>) {
    let (shutdown, path, client) = (rt::CancellationToken::new(), lan.node.path().to_owned(), api.client());
    let token = shutdown.clone();
    let agent = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let tasks = TaskSet::under(token.clone());
            let informers = Informers::new(&client, &tasks);
            let node = NodeFacts { name: "node1".to_owned(), cluster_cidr: "10.244.0.0/16".parse().unwrap() };
            ServiceProxy::new(ProxyConfig { node }, &informers).unwrap().run(token).await.unwrap();
            tasks.join().await;
        });
    };
    let thread = std::thread::spawn(move || netlink::netns::in_netns(&path, agent).unwrap());
    (shutdown, thread)
}

#[tokio::test]
async fn the_proxy_follows_its_objects_restores_its_rules_and_leaves_them_when_it_stops() {
    if !root() {
        return;
    }
    let (lan, api) = (Lan::new("agent"), FakeApi::new());
    api.put("services", service(None));
    api.put("endpointslices", slice(&[]));
    let (shutdown, agent) = start(&lan, &api);
    let node = lan.node.path();
    wait_for_rules(node, |rules| rules.is_some_and(|rules| !rules.sets["services"].is_empty())).await;
    assert_eq!(ask(&lan.client, "10.96.0.7:80").unwrap_err(), ErrorKind::ConnectionRefused);

    api.put("endpointslices", slice(&PODS[..1]));
    wait_for_rules(node, |rules| endpoints(rules) == 1).await;
    api.put("services", service(Some(30080)));
    wait_for_rules(node, |rules| endpoints(rules) == 2).await;

    let meddler = Kernel::open_in(node).unwrap();
    meddler.apply(&Transaction::removing(Table::ip(TABLE))).unwrap();
    wait_for_rules(node, |rules| endpoints(rules) == 2).await;
    let mut flush = Transaction::new(Table::ip(TABLE));
    flush.flush_chain("services");
    meddler.apply(&flush).unwrap();
    wait_for_rules(node, |rules| rules.is_some_and(|rules| !rules.chains["services"].rules.is_empty())).await;

    shutdown.cancel();
    agent.join().unwrap();
    assert_eq!(endpoints(meddler.list(&Table::ip(TABLE)).unwrap().as_ref()), 2, "rules stay");

    api.delete("services", "default", "web");
    let (shutdown, agent) = start(&lan, &api);
    wait_for_rules(node, |rules| endpoints(rules) == 0).await;
    shutdown.cancel();
    agent.join().unwrap();
}
