//! The scheduler against an API server in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apimachinery::Status;
use controller_runtime::Informers;
use rt::TaskSet;
use serde_json::{Value, json};
use testkit::FakeApi;

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const EVENTS: &str = "/api/v1/namespaces/default/events";

fn node(name: &str, taints: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "generation": 1},
        "spec": {"schedulerName": "default-scheduler", "containers": [{"name": "c"}]},
        "status": {"phase": "Pending"},
    })
}

fn start() -> (FakeApi, TaskSet) {
    let api = FakeApi::new();
    let tasks = TaskSet::new();
    scheduler::start(&api.client(), &Informers::new(&api.client(), &tasks), &tasks);
    (api, tasks)
}

async fn wait_for_pod(api: &FakeApi, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    api.wait(&format!("{PODS}/{name}"), |pod| pod.is_some_and(&holds)).await.expect("a pod")
}

fn is_bound(pod: &Value) -> bool {
    pod["spec"]["nodeName"].is_string()
}

#[tokio::test]
async fn a_waiting_pod_says_why_and_is_bound_as_soon_as_its_node_is_ready() {
    let (api, tasks) = start();
    api.put(NODES, node("k8s-node1", json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])));
    api.put(PODS, pod("web"));
    let waiting = wait_for_pod(&api, "web", |pod| pod["status"]["conditions"].is_array()).await;
    assert_eq!(
        waiting["status"]["conditions"][0]["message"],
        "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1 nodes \
         are available: 1 Preemption is not helpful for scheduling."
    );
    assert_eq!(waiting["status"]["conditions"][0]["reason"], "Unschedulable");
    api.put(NODES, node("k8s-node1", json!([])));
    let bound = wait_for_pod(&api, "web", is_bound).await;
    assert_eq!(bound["spec"]["nodeName"], "k8s-node1");
    let scheduled = api.wait_for(EVENTS, |event| event["reason"] == "Scheduled").await;
    assert_eq!(scheduled["message"], "Successfully assigned default/web to k8s-node1");
    assert_eq!(scheduled["source"]["component"], "default-scheduler");
    tasks.shutdown().await;
}

#[tokio::test]
async fn many_pods_are_spread_and_bound_without_waiting_for_one_another() {
    let (api, tasks) = start();
    for name in ["a", "b", "c"] {
        api.put(NODES, node(name, json!([])));
    }
    for index in 0..30 {
        api.put(PODS, pod(&format!("web-{index}")));
    }
    let mut on_a = 0;
    for index in 0..30 {
        let bound = wait_for_pod(&api, &format!("web-{index}"), is_bound).await;
        on_a += usize::from(bound["spec"]["nodeName"] == "a");
    }
    assert_eq!(on_a, 10, "three like nodes share the pods");
    tasks.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_binding_is_tried_again() {
    let (api, tasks) = start();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    api.react(move |call| {
        let refused = call.path.ends_with("/binding") && count.fetch_add(1, Ordering::Relaxed) < 2;
        refused.then(|| Status::internal("not now"))
    });
    api.put(NODES, node("a", json!([])));
    api.put(PODS, pod("web"));
    wait_for_pod(&api, "web", is_bound).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_victim_is_marked_and_deleted_and_the_important_pod_takes_its_place() {
    let (api, tasks) = start();
    api.put(NODES, node("a", json!([])));
    let mut low = pod("low");
    low["spec"]["nodeName"] = "a".into();
    low["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "4".into();
    api.put(PODS, low);
    let mut high = pod("high");
    high["spec"]["priority"] = 9.into();
    high["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "4".into();
    api.put(PODS, high);
    let bound = wait_for_pod(&api, "high", is_bound).await;
    assert_eq!(bound["spec"]["nodeName"], "a");
    let low = format!("{PODS}/low");
    let marked = api.since(0, &low).pop().expect("it was there");
    assert!(api.get(&low).is_none());
    assert_eq!(marked["status"]["conditions"][0]["reason"], "PreemptionByScheduler");
    tasks.shutdown().await;
}
