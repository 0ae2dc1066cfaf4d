//! Objects for tests, from words.

use std::sync::Arc;

use api::corev1::{Node, Pod};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::core::{Core, Step};
use crate::plugins::default_plugins;
use tokio::time::Instant;

/// `a cpu=4 memory=8Gi pods=110 label:zone=z1 taint=key:NoSchedule cordoned image=name:megabytes`
pub(crate) fn node(words: &str) -> Arc<Node> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let mut node = json!({
        "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": []},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "images": []},
    });
    for word in words {
        let (what, value) = word.split_once('=').unwrap_or((word, ""));
        match what {
            "cpu" | "memory" | "pods" | "example.com/gpu" => node["status"]["allocatable"][what] = value.into(),
            "cordoned" => node["spec"]["unschedulable"] = true.into(),
            "taint" => push(&mut node["spec"]["taints"], taint(value)),
            "image" => {
                let (name, size) = value.rsplit_once(':').expect("name:megabytes");
                let size = size.parse::<i64>().expect("a number") * 1024 * 1024;
                push(&mut node["status"]["images"], json!({"names": [name], "sizeBytes": size}));
            }
            _ => {
                let key = what.strip_prefix("label:").unwrap_or_else(|| panic!("{what}"));
                node["metadata"]["labels"][key] = value.into();
            }
        }
    }
    Arc::new(serde_json::from_value(node).expect("a node"))
}

fn taint(text: &str) -> Value {
    let (key, effect) = text.split_once(':').expect("key:effect");
    json!({"key": key, "effect": effect})
}

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().expect("a list").push(value);
}

/// `web on=a cpu=1 memory=1Gi app=web priority=10 port=80 gated tolerate=key select:zone=z1`, and JSON for the rest of the
/// spec.
pub(crate) fn pod_with(words: &str, spec: Value) -> Arc<Pod> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let container = json!({"name": "c", "image": "web", "resources": {"requests": {}}, "ports": []});
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "namespace": "default", "labels": {}},
        "spec": {"schedulerName": "default-scheduler", "containers": [container], "tolerations": []},
        "status": {"phase": "Pending"},
    });
    for word in words {
        let (what, value) = word.split_once('=').unwrap_or((word, ""));
        let container = &mut pod["spec"]["containers"][0];
        match what {
            "cpu" | "memory" | "example.com/gpu" => container["resources"]["requests"][what] = value.into(),
            "port" => push(
                &mut container["ports"],
                json!({"containerPort": 1, "hostPort": value.parse::<i32>().expect("a port")}),
            ),
            "on" => pod["spec"]["nodeName"] = value.into(),
            "app" => pod["metadata"]["labels"]["app"] = value.into(),
            "priority" => pod["spec"]["priority"] = value.parse::<i32>().expect("a number").into(),
            "gated" => pod["spec"]["schedulingGates"] = json!([{"name": "example.com/gate"}]),
            "tolerate" => push(&mut pod["spec"]["tolerations"], json!({"key": value, "operator": "Exists"})),
            "owner" => {
                let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": value, "uid": value, "controller": true});
                pod["metadata"]["ownerReferences"] = json!([owner]);
            }
            "deleted" => pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
            _ => {
                let key = what.strip_prefix("select:").unwrap_or_else(|| panic!("{what}"));
                pod["spec"]["nodeSelector"][key] = value.into();
            }
        }
    }
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

pub(crate) fn pod(words: &str) -> Arc<Pod> {
    pod_with(words, json!({}))
}

/// A core that knows `nodes` and `pods` (as words, divided by `;`).
pub(crate) fn core(nodes: &str, pods: &str, now: Instant) -> Core {
    let mut core = Core::new(default_plugins(), 7);
    for words in parts(nodes) {
        core.node_changed(None, Some(&node(words)), now);
    }
    for words in parts(pods) {
        core.pod_changed(None, Some(&pod(words)), now);
    }
    core
}

fn parts(words: &str) -> impl Iterator<Item = &str> {
    words.split(';').map(str::trim).filter(|words| !words.is_empty())
}

pub(crate) fn print(step: &Step) -> String {
    match step {
        Step::Bind { pod, node } => format!("{} -> {node}", pod.info.key.name),
        Step::Wait(_) => "wait".into(),
        Step::Reject(rejected) => {
            let victims: Vec<_> = rejected.victims.iter().map(|victim| victim.key.name.as_str()).collect();
            let nominate = rejected.nominate.as_deref().filter(|node| !node.is_empty());
            match nominate {
                None => rejected.message.clone(),
                Some(node) => format!("{} | nominate {node}, preempt {victims:?}", rejected.message),
            }
        }
    }
}

/// Steps until nothing is left to do.
pub(crate) fn steps(core: &mut Core, cluster: &Cluster, now: Instant) -> Vec<String> {
    let mut printed = Vec::new();
    loop {
        let step = core.step(cluster, now);
        if let Step::Wait(_) = step {
            return printed;
        }
        printed.push(print(&step));
    }
}
