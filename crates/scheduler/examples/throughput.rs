//! How many pods a second the core places, without any I/O: 5,000 nodes and 10,000 pods unless told otherwise.
//!
//! Run with `cargo run --release -p scheduler --example throughput [nodes] [pods]`.

use std::sync::Arc;

use api::corev1::{Node, Pod};
use scheduler::cluster::Cluster;
use scheduler::core::{Core, Step};
use scheduler::plugins::default_plugins;
use serde_json::json;
use tokio::time::Instant;

fn node(index: usize) -> Arc<Node> {
    let name = format!("node-{index}");
    let node = json!({
        "metadata": {"name": name, "uid": name,
            "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
        "status": {"allocatable": {"cpu": "32", "memory": "64Gi", "pods": "110"}},
    });
    Arc::new(serde_json::from_value(node).expect("a node"))
}

fn pod(index: usize) -> Arc<Pod> {
    let name = format!("pod-{index}");
    let pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": format!("app-{}", index / 10)}},
        "spec": {"containers": [{"name": "c", "image": "app", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]},
    });
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<usize>().expect("a number"));
    let (nodes, pods) = (arguments.next().unwrap_or(5_000), arguments.next().unwrap_or(10_000));
    let (cluster, now) = (Cluster::empty(), Instant::now());
    let mut core = Core::new(default_plugins(), 7);
    (0..nodes).for_each(|index| core.node_changed(None, Some(&node(index)), now));
    (0..pods).for_each(|index| core.pod_changed(None, Some(&pod(index)), now));
    let begin = Instant::now();
    let mut placed: u32 = 0;
    while let Step::Bind { pod, .. } = core.step(&cluster, now) {
        core.bound(&pod.info.uid);
        placed += 1;
    }
    let elapsed = begin.elapsed();
    println!(
        "{placed} pods on {nodes} nodes in {elapsed:.2?}: {:.0} pods/s",
        f64::from(placed) / elapsed.as_secs_f64()
    );
}
