//! The whole proxy: objects in, rules in the kernel, and what it does when somebody meddles.

use std::io::ErrorKind;
use std::path::Path;

use controller_runtime::Informers;
use nft::{Kernel, Listing, Nft, Notice, Table, Transaction};
use serde_json::json;
use service_proxy::{NodeFacts, ProxyConfig, ServiceProxy, TABLE};
use testkit::FakeApi;
use testkit::netns::{Agent, root};

use crate::{Lan, PODS, ask};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

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

fn elements(listing: Option<&Listing>, set: &str) -> usize {
    listing.and_then(|listing| listing.sets.get(set)).map_or(0, Vec::len)
}

fn endpoints(listing: Option<&Listing>) -> usize {
    elements(listing, "endpoints")
}

/// Whether the chain is there and has rules.
fn is_filled(listing: Option<&Listing>, chain: &str) -> bool {
    listing.and_then(|listing| listing.chains.get(chain)).is_some_and(|chain| !chain.rules.is_empty())
}

fn start(lan: &Lan, api: &FakeApi) -> Agent {
    let client = api.client();
    Agent::start(lan.node.path(), move |tasks| async move {
        let informers = Informers::new(&client, &tasks);
        let node = NodeFacts { name: "node1".to_owned(), cluster_cidr: "10.244.0.0/16".parse().unwrap() };
        ServiceProxy::new(ProxyConfig { node }, &informers).unwrap().run(tasks.token()).await.unwrap();
    })
}

#[tokio::test]
async fn the_proxy_follows_its_objects_restores_its_rules_and_leaves_them_when_it_stops() {
    if !root() {
        return;
    }
    let (lan, api) = (Lan::new("agent"), FakeApi::new());
    api.put(SERVICES, service(None));
    api.put(SLICES, slice(&[]));
    let agent = start(&lan, &api);
    let node = lan.node.path();
    wait_for_rules(node, |rules| elements(rules, "services") > 0).await;
    assert_eq!(ask(&lan.client, "10.96.0.7:80").unwrap_err(), ErrorKind::ConnectionRefused);

    api.put(SLICES, slice(&PODS[..1]));
    wait_for_rules(node, |rules| endpoints(rules) == 1).await;
    api.put(SERVICES, service(Some(30080)));
    wait_for_rules(node, |rules| endpoints(rules) == 2).await;

    let meddler = Kernel::open_in(node).unwrap();
    meddler.apply(&Transaction::removing(Table::ip(TABLE))).unwrap();
    wait_for_rules(node, |rules| endpoints(rules) == 2).await;
    let mut flush = Transaction::new(Table::ip(TABLE));
    flush.flush_chain("services");
    meddler.apply(&flush).unwrap();
    wait_for_rules(node, |rules| is_filled(rules, "services")).await;

    agent.stop();
    assert_eq!(endpoints(meddler.list(&Table::ip(TABLE)).unwrap().as_ref()), 2, "rules stay");

    api.remove(&format!("{SERVICES}/web"));
    let agent = start(&lan, &api);
    wait_for_rules(node, |rules| endpoints(rules) == 0).await;
    agent.stop();
}
