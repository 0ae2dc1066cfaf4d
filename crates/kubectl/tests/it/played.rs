//! Verbs that need nodes, at a server that plays them: usage, events that come, drains that budgets hold up, logs.
//!
//! Each kubectl has a server of its own that gives the same answers; what they print, and what they asked of pods, is the
//! same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rt::TaskSet;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::compare::{Outcome, our_line, real_kubectl, real_line, release};

/// A status and a body for each time that something is asked for; the last one for all times after.
type Answers = BTreeMap<&'static str, Vec<(u16, String)>>;

/// A server that says what it was told to say.
#[derive(Clone)]
struct Play {
    answers: Arc<Mutex<Answers>>,
    /// What was asked of single pods.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Play {
    fn new(answers: Answers) -> Self {
        Self { answers: Arc::new(Mutex::new(answers)), asked: Arc::default() }
    }

    async fn start(&self, tasks: &TaskSet) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (play, connections) = (self.clone(), tasks.clone());
        tasks.spawn_until_cancelled("play", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let play = play.clone();
                connections.spawn_until_cancelled("connection", async move {
                    let service = hyper::service::service_fn(move |request| {
                        let play = play.clone();
                        async move { Ok::<_, Infallible>(play.answer(request).await) }
                    });
                    // A client may leave when it likes.
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        format!("http://{address}")
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch="));
        let key = format!("{} {path}", if is_watch { "WATCH" } else { method });
        if path.contains("/log") || path.contains("/metrics.k8s.io/v1beta1/") || ["POST", "DELETE"].contains(&method) {
            // What is not JSON is protobuf, which ours does not send.
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let body = if method == "DELETE" { Value::Null } else { body };
            let mut query: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
            query.sort_unstable();
            let asked = [key.as_str(), &query.join("&"), &body.to_string()].join(" ");
            self.asked.lock().unwrap().push(asked);
        }
        let (status, body) = self.next(&key);
        let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
        Response::builder().status(status).header("content-type", kind).body(Full::new(body.into())).unwrap()
    }

    fn next(&self, key: &str) -> (u16, String) {
        match self.answers.lock().unwrap().get_mut(key) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => (404, status(404, "NotFound", "not found")),
        }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }
}

fn status(code: u16, reason: &str, message: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
        "metadata": {}})
    .to_string()
}

fn ok(object: &Value) -> Vec<(u16, String)> {
    vec![(200, object.to_string())]
}

fn list(api_version: &str, kind: &str, items: &[Value]) -> Vec<(u16, String)> {
    let list = format!("{kind}List");
    ok(&json!({"apiVersion": api_version, "kind": list, "metadata": {"resourceVersion": "5"}, "items": items}))
}

fn resource(name: &str, kind: &str, namespaced: bool) -> Value {
    let singular = kind.to_lowercase();
    let verbs = ["get", "list", "watch", "create", "delete", "patch"];
    json!({"name": name, "singularName": singular, "kind": kind, "namespaced": namespaced, "verbs": verbs})
}

fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}],
            "initContainers": [{"name": "first", "image": "i"}]},
        "status": {"phase": "Running"},
    })
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"name": name}}, "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi"}, "capacity": {"cpu": "8", "memory": "8Gi"}}})
}

fn node_usage(name: &str, cpu: &str, memory: &str) -> Value {
    json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "metadata": {"name": name},
        "timestamp": "2026-01-01T00:00:00Z", "window": "10s", "usage": {"cpu": cpu, "memory": memory}})
}

fn pod_usage(name: &str, of: &[(&str, &str, &str)]) -> Value {
    let container =
        |(name, cpu, memory): &(&str, &str, &str)| json!({"name": name, "usage": {"cpu": cpu, "memory": memory}});
    json!({"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "timestamp": "2026-01-01T00:00:00Z", "window": "10s",
        "containers": of.iter().map(container).collect::<Vec<_>>()})
}

fn event(name: &str, object: &str, kind: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"}, "type": kind,
        "reason": "Because", "message": format!("{object} did it"), "involvedObject": {"kind": "Pod", "name": object},
        "firstTimestamp": "2020-01-01T00:00:00Z", "lastTimestamp": "2020-01-01T00:00:00Z", "count": 1})
}

/// What the server has besides what a line needs.
fn discovery() -> Answers {
    let group = |name: &str, version: &str| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    let groups = [group("metrics.k8s.io", "v1beta1"), group("policy", "v1"), group("apps", "v1")];
    let resources = |version: &str, resources: &[Value]| {
        ok(&json!({"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": version, "resources": resources}))
    };
    let eviction = json!({"name": "pods/eviction", "singularName": "", "kind": "Eviction", "group": "policy",
        "version": "v1", "namespaced": true, "verbs": ["create"]});
    let core =
        [resource("pods", "Pod", true), eviction, resource("nodes", "Node", false), resource("events", "Event", true)];
    let apps = [resource("daemonsets", "DaemonSet", true), resource("deployments", "Deployment", true)];
    let usage = [resource("nodes", "NodeMetrics", false), resource("pods", "PodMetrics", true)];
    BTreeMap::from([
        ("GET /api", ok(&json!({"kind": "APIVersions", "versions": ["v1"]}))),
        ("GET /apis", ok(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))),
        ("GET /api/v1", resources("v1", &core)),
        ("GET /apis/apps/v1", resources("apps/v1", &apps)),
        ("GET /apis/policy/v1", resources("policy/v1", &[])),
        ("GET /apis/metrics.k8s.io/v1beta1", resources("metrics.k8s.io/v1beta1", &usage)),
    ])
}

async fn run(kubectl: Option<&Path>, answers: Answers, line: &str) -> (Outcome, Vec<String>) {
    let (play, tasks, directory) = (Play::new(answers), TaskSet::new(), tempfile::tempdir().unwrap());
    let address = play.start(&tasks).await;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": address}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "users": [{"name": "it", "user": {}}],
    });
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let words = [format!("--kubeconfig={}", file.display()), format!("--cache-dir={}", directory.path().display())];
    let line: Vec<String> = words.into_iter().chain(line.split(' ').map(str::to_owned)).collect();
    let outcome = match kubectl {
        Some(kubectl) => real_line(kubectl, line).await,
        None => our_line(line).await,
    };
    tasks.shutdown().await;
    (outcome, play.asked())
}

/// Several logs come in any order, and ages pass.
fn settled((mut outcome, asked): (Outcome, Vec<String>), line: &str) -> (Outcome, Vec<String>) {
    if line.starts_with("logs -l") || line.contains("--all-containers") {
        let mut lines: Vec<&str> = outcome.out.split_inclusive('\n').collect();
        lines.sort_unstable();
        outcome.out = lines.concat();
    }
    let age = regex::Regex::new("age: [0-9hms.]+").unwrap();
    outcome.err = age.replace(&outcome.err, "age: AGE").into_owned();
    (outcome, asked)
}

/// Runs each line with both, at servers that give these answers besides discovery.
async fn check(lines: &[&str], answers: &Answers) {
    let Some(kubectl) = real_kubectl() else {
        eprintln!("SKIPPED: there is no kubectl to compare with; set KUBECTL or put one on the path");
        return;
    };
    if release(&kubectl).await.is_none_or(|release| release.minor < 36) {
        eprintln!("SKIPPED: older kubectls word some of it differently");
        return;
    }
    let all: Answers = discovery().into_iter().chain(answers.clone()).collect();
    let mut differences = Vec::new();
    for line in lines {
        let (theirs, own) = tokio::join!(run(Some(&kubectl), all.clone(), line), run(None, all.clone(), line));
        let (theirs, own) = (settled(theirs, line), settled(own, line));
        if theirs != own {
            differences.push(format!("kubectl {line}\n--- real: {theirs:#?}\n--- ours: {own:#?}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_show_what_nodes_and_pods_use() {
    let usage = [node_usage("n2", "250m", "1Gi"), node_usage("n1", "1500m", "512Mi"), node_usage("n3", "1n", "1Ki")];
    let pods = [
        pod_usage("b", &[("c", "10m", "300Mi"), ("d", "5m", "1Mi")]),
        pod_usage("a", &[("c", "1", "20Mi"), ("d", "0", "0")]),
    ];
    let answers = BTreeMap::from([
        ("GET /api/v1/nodes", list("v1", "Node", &[node("n1", "4"), node("n2", "2"), node("n4", "2")])),
        ("GET /api/v1/nodes/n1", ok(&node("n1", "4"))),
        ("GET /apis/metrics.k8s.io/v1beta1/nodes", list("metrics.k8s.io/v1beta1", "NodeMetrics", &usage)),
        ("GET /apis/metrics.k8s.io/v1beta1/nodes/n1", ok(&usage[1])),
        ("GET /apis/metrics.k8s.io/v1beta1/pods", list("metrics.k8s.io/v1beta1", "PodMetrics", &pods)),
        (
            "GET /apis/metrics.k8s.io/v1beta1/namespaces/default/pods",
            list("metrics.k8s.io/v1beta1", "PodMetrics", &pods),
        ),
        ("GET /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/a", ok(&pods[1])),
        ("GET /apis/metrics.k8s.io/v1beta1/namespaces/none/pods", list("metrics.k8s.io/v1beta1", "PodMetrics", &[])),
        ("GET /api/v1/namespaces/none/pods", list("v1", "Pod", &[])),
        ("GET /apis/metrics.k8s.io/v1beta1/namespaces/old/pods", list("metrics.k8s.io/v1beta1", "PodMetrics", &[])),
        ("GET /api/v1/namespaces/old/pods", list("v1", "Pod", &[pod("old", &json!({}))])),
    ]);
    let lines = [
        "top node",
        "top nodes --sort-by=cpu",
        "top no --sort-by=memory --no-headers",
        "top node n1",
        "top node none",
        "top node --show-capacity",
        "top node n1 -l a=b",
        "top node n1 n2",
        "top node --sort-by=x",
        "top pod",
        "top pods -A",
        "top po --containers",
        "top pod --containers --sum",
        "top pod --sum --no-headers",
        "top pod -A --sort-by=cpu",
        "top pod --sort-by=memory --containers",
        "top pod a",
        "top pod a --containers",
        "top pod none",
        "top pod -n none",
        "top pod -n old",
        "top pod -l a=b --field-selector=metadata.name=a",
        "top pod a --field-selector=metadata.name=a",
        "top pod -l =",
    ];
    check(&lines, &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_say_that_there_is_no_metrics_api() {
    let none = ok(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}));
    check(&["top node", "top pod"], &BTreeMap::from([("GET /apis", none)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_show_events_that_come() {
    let watched = |kind: &str, object: Value| json!({"type": kind, "object": object}).to_string() + "\n";
    let stream = [
        watched("ADDED", event("a", "p", "Normal")),
        watched("MODIFIED", event("b", "a-longer-name", "Warning")),
        watched("DELETED", event("c", "q", "Normal")),
    ];
    let answers = BTreeMap::from([
        (
            "GET /api/v1/namespaces/default/events",
            list("v1", "Event", &[event("z", "first", "Normal"), event("y", "second", "Warning")]),
        ),
        ("GET /api/v1/events", list("v1", "Event", &[event("z", "first", "Normal")])),
        ("WATCH /api/v1/namespaces/default/events", vec![(200, stream.concat())]),
        ("WATCH /api/v1/events", vec![(200, stream.concat())]),
    ]);
    let lines = [
        "events",
        "events --watch",
        "events -w --types=Warning",
        "events -w --no-headers -A",
        "events --for pod/p",
        "events --for pod/p -w",
        "events --for deployment/x --types=Normal",
        "events --for x",
        "events --for a/b/c",
        "events --for nothing/x",
        "events --types=Other",
        "events -w -o name",
        "events -w -o jsonpath={.metadata.name}",
    ];
    check(&lines, &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_drain_as_budgets_let_them() {
    let pods = [pod("p", &json!({"app": "x"})), pod("q", &json!({"app": "y"}))];
    let gone = || (404, status(404, "NotFound", "pods \"p\" not found"));
    let evicted =
        || (201, json!({"apiVersion": "v1", "kind": "Status", "status": "Success", "metadata": {}}).to_string());
    let held =
        || (429, status(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget."));
    let going = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "uid": "p",
        "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}, "spec": {}, "status": {}});
    let base = BTreeMap::from([
        ("GET /api/v1/nodes/n1", ok(&node("n1", "4"))),
        ("GET /api/v1/nodes/n2", ok(&node("n2", "4"))),
        ("PATCH /api/v1/nodes/n1", ok(&node("n1", "4"))),
        ("PATCH /api/v1/nodes/n2", ok(&node("n2", "4"))),
        ("GET /api/v1/pods", list("v1", "Pod", &pods[..1])),
        ("GET /api/v1/namespaces/default/pods/p", vec![gone()]),
        ("GET /api/v1/namespaces/default/pods", list("v1", "Pod", &[])),
        ("WATCH /api/v1/namespaces/default/pods", vec![(200, String::new())]),
        ("POST /api/v1/namespaces/default/pods/p/eviction", vec![evicted()]),
        ("DELETE /api/v1/namespaces/default/pods/p", ok(&pods[0])),
    ]);
    let lines = [
        "drain n1",
        "drain n1 --grace-period=7",
        "drain n1 --disable-eviction --grace-period=0",
        "drain n1 --dry-run=client",
        "drain n1 --dry-run=server",
        "drain n1 --pod-selector=app=x",
        "drain n1 --pod-selector==",
        "drain n1 n2 --timeout=30s",
        "drain n1 --timeout=x",
        "drain none",
    ];
    check(&lines, &base).await;
    let with = |answers: Answers| base.clone().into_iter().chain(answers).collect::<Answers>();
    let eviction = "POST /api/v1/namespaces/default/pods/p/eviction";
    let name = "GET /api/v1/namespaces/default/pods/p";
    let alive = || (200, pods[0].to_string());
    let later = with(BTreeMap::from([(eviction, vec![held(), evicted()]), (name, vec![alive(), gone()])]));
    check(&["drain n1"], &later).await;
    let never = with(BTreeMap::from([(eviction, vec![held()]), (name, vec![alive()])]));
    check(&["drain n1 --timeout=2s"], &never).await;
    let refused = with(BTreeMap::from([(eviction, vec![(403, status(403, "Forbidden", "no"))])]));
    check(&["drain n1", "drain n1 n2"], &refused).await;
    let lingers = with(BTreeMap::from([(name, ok(&going))]));
    check(&["drain n1 --skip-wait-for-delete-timeout=5"], &lingers).await;
    let missing = with(BTreeMap::from([(eviction, vec![gone()])]));
    check(&["drain n1"], &missing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ask_for_the_same_logs() {
    let text = |text: &str| vec![(200, text.to_owned())];
    let (p, q) = (pod("p", &json!({"app": "x"})), pod("q", &json!({"app": "x"})));
    let answers = BTreeMap::from([
        ("GET /api/v1/namespaces/default/pods", list("v1", "Pod", &[p.clone(), q])),
        ("GET /api/v1/namespaces/default/pods/p", ok(&p)),
        ("GET /api/v1/namespaces/default/pods/p/log", text("one\ntwo\n")),
        ("GET /api/v1/namespaces/default/pods/q/log", text("three\n")),
    ]);
    let lines = [
        "logs p",
        "logs p -c d",
        "logs p d",
        "logs p -c none",
        "logs none",
        "logs p --all-containers",
        "logs p --all-containers --prefix",
        "logs -l app=x",
        "logs -l app=x --prefix --tail=3",
        "logs -l app=x --all-containers --max-log-requests=1",
        "logs p --previous --timestamps",
        "logs p -p --limit-bytes=10 --tail=0",
        "logs p --since-time=2026-01-01T00:00:00Z",
        "logs p --since=90s",
        "logs p --since=1h --since-time=2026-01-01T00:00:00Z",
        "logs p --since-time=yesterday",
        "logs p --since-time=2026-01-01",
        "logs p --since-time=2026-01-01T10:00:00",
        "logs p --tail=-2",
        "logs p --since=-1s",
        "logs p --limit-bytes=-1",
        "logs pod/p pod/q",
        "logs",
        "logs -l app=x p",
        "logs p -c c --all-containers",
        "logs p --insecure-skip-tls-verify-backend",
        "logs --all-pods p",
        "logs p --ignore-errors --prefix -c first",
    ];
    check(&lines, &answers).await;
}
