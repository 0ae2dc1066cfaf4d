//! Measures how long many services take to reach the kernel, and one change among them, in a namespace of its own.
//!
//! `cargo run --release -p service-proxy --example load -- 5000 2` (as root)

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::corev1::Service;
use api::discoveryv1::EndpointSlice;
use apimachinery::ObjectKey;
use netlink::netns::OwnedNetns;
use nft::Kernel;
use nft::conntrack::KernelConntrack;
use serde_json::json;
use service_proxy::{NodeFacts, Rules, ServicePlan, plan_service};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (services, endpoints): (u32, u32) = (number(5000), number(2));
    let space =
        OwnedNetns::create(format!("/run/netns/proxy-load-{}", std::process::id())).expect("root makes namespaces");
    let facts = NodeFacts { name: "node1".to_owned(), cluster_cidr: "10.244.0.0/16".parse().expect("a CIDR") };
    let kernel = Kernel::open_in(space.path()).expect("the namespace has netfilter");
    let conntrack = KernelConntrack::open_in(space.path()).expect("the namespace has netfilter");
    let mut rules = Rules::new(facts.clone(), Box::new(kernel), Box::new(conntrack));

    let objects: Vec<_> = (0..services).map(|index| (service(index), slice(index, endpoints))).collect();
    let started = Instant::now();
    let plans = objects.iter().map(|(service, slice)| plan(service, slice, &facts)).collect();
    let planned = started.elapsed();
    rules.update(plans).expect("the kernel takes the rules");
    println!(
        "{services} services x {endpoints} endpoints: planned in {planned:?}, in the kernel after {:?}",
        started.elapsed()
    );

    let mut changes: Vec<Duration> =
        (0..20).map(|round| change(&mut rules, &objects, &facts, endpoints + 1 + round % 2)).collect();
    changes.sort_unstable();
    println!("one service changed: median {:?}, slowest {:?}", changes[changes.len() / 2], changes[changes.len() - 1]);

    let started = Instant::now();
    rules.restore().expect("the kernel takes the rules");
    println!("the whole table restored in {:?}", started.elapsed());
}

fn change(rules: &mut Rules, objects: &[(Service, Arc<EndpointSlice>)], facts: &NodeFacts, endpoints: u32) -> Duration {
    let started = Instant::now();
    let planned = plan(&objects[0].0, &slice(0, endpoints), facts);
    rules.update(vec![planned]).expect("the kernel takes the change");
    started.elapsed()
}

fn plan(service: &Service, slice: &Arc<EndpointSlice>, facts: &NodeFacts) -> (ObjectKey, ServicePlan) {
    let key = ObjectKey::new("default", service.metadata.name.clone().unwrap_or_default());
    (key, plan_service(service, std::slice::from_ref(slice), facts))
}

fn service(index: u32) -> Service {
    let [_, _, high, low] = index.to_be_bytes();
    let object = json!({
        "metadata": { "namespace": "default", "name": format!("service-{index}") },
        "spec": { "clusterIP": format!("10.96.{high}.{low}"), "ports": [{ "name": "http", "port": 80 }] },
    });
    serde_json::from_value(object).expect("a service")
}

fn slice(index: u32, endpoints: u32) -> Arc<EndpointSlice> {
    let endpoint = |number: u32| {
        let [_, second, third, fourth] = (index * 2 + number).to_be_bytes();
        json!({ "addresses": [format!("10.{}.{third}.{fourth}", 128 + second)], "nodeName": "node2" })
    };
    let object = json!({
        "metadata": { "name": format!("service-{index}-abcde") }, "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080 }],
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
    });
    Arc::new(serde_json::from_value(object).expect("a slice"))
}
