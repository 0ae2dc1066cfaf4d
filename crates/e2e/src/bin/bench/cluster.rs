//! A cluster of three nodes.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::cluster::binary;
use e2e::{Cluster, Kubectl, eventually, processes};
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::table::{Table, percentiles, seconds, usage};
use crate::{IDLE, NAME};

const NODES: [&str; 3] = ["k8s-master", "k8s-node1", "k8s-node2"];
const PODS_ONE_BY_ONE: usize = 30;
const PODS_AT_ONCE: usize = 100;
/// All that are ever made.
pub const PODS_MAX: usize = PODS_ONE_BY_ONE + PODS_AT_ONCE;

pub fn on_cluster(table: &mut Table, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    let began = Instant::now();
    let cluster = Cluster::start(NAME)?;
    table.row("`dev up` of three nodes until ready", &seconds(began.elapsed()));
    let own = binary();
    let kubectl = cluster.kubectl(&[own.to_str().context("the binary's path is text")?, "kubectl"]);
    served(table, &cluster, &kubectl, began)?;
    if wanted("idle") {
        table.group("idle", idle);
    }
    if wanted("dns") {
        table.group("DNS", |table| dns(table, &cluster));
    }
    if wanted("pods") {
        table.group("pods", |table| pods(table, &cluster));
    }
    Ok(())
}

fn served(table: &mut Table, cluster: &Cluster, kubectl: &Kubectl, began: Instant) -> Result<()> {
    let service =
        include_str!("../../../../../examples/python-web/service.yaml").replace("spec:\n", "spec:\n  type: NodePort\n");
    let text = format!("{}---\n{service}", include_str!("../../../../../examples/python-web/deployment.yaml"));
    let applied = Instant::now();
    kubectl.with_input(&["apply", "-f", "-"], &text)?;
    let port = kubectl.words("get svc python-web-svc", "{.spec.ports[0].nodePort}")?.pop().context("a node port")?;
    let url = format!("172.28.128.10:{port}");
    eventually(&url, || Ok(cluster.client(&["curl", "-sSf", "-m", "2", &url]).ok()))?;
    table.row("`kubectl apply` until the application answers from outside", &seconds(applied.elapsed()));
    table.row("`dev up` until the application answers from outside", &seconds(began.elapsed()));
    kubectl.with_input(&["delete", "-f", "-"], &text).map(drop)
}

/// What each kind of process uses while nobody asks for anything.
fn idle(table: &mut Table) -> Result<()> {
    let read = || -> Result<Vec<processes::Process>> {
        let all = NODES.iter().map(|node| processes::of_node(NAME, node)).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().flatten().collect())
    };
    let before: BTreeMap<u32, u64> = read()?.iter().map(|process| (process.pid, process.ticks)).collect();
    std::thread::sleep(IDLE);
    let mut kinds: BTreeMap<String, (u32, u64, u64)> = BTreeMap::new();
    for process in read()? {
        let (Some(role), Some(ticks), Some(memory)) =
            (process.role(), before.get(&process.pid), process.proportional_memory())
        else {
            continue;
        };
        let kind = kinds.entry(role.to_owned()).or_default();
        *kind = (kind.0 + 1, kind.1 + memory, kind.2 + process.ticks - ticks);
    }
    for (kind, (count, memory, ticks)) in kinds {
        table.row(
            &format!("idle, each of {count} `{kind}`"),
            &usage(memory / u64::from(count), ticks / u64::from(count)),
        );
    }
    Ok(())
}

fn dns(table: &mut Table, cluster: &Cluster) -> Result<()> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("the benchmark's path is text")?;
    let name = "kubernetes.default.svc.cluster.local";
    let rate = cluster.exec("k8s-node1", &[own, "dns-load", "10.96.0.10:53", name])?;
    table.row("DNS through the ClusterIP, 8 at a time", &format!("{} /s", rate.trim()));
    Ok(())
}

fn pods(table: &mut Table, cluster: &Cluster) -> Result<()> {
    let proxy = Proxy::start(&cluster.kubeconfig, Some(&cluster.context()))?;
    let running = proxy.watch_running()?;
    let mut times = Vec::new();
    for number in 0..PODS_ONE_BY_ONE {
        let name = format!("one-{number}");
        let began = Instant::now();
        proxy.post("/api/v1/namespaces/default/pods", &pod(&name))?;
        times.push(running_at(&running, &name)? - began);
        proxy.delete(&format!("/api/v1/namespaces/default/pods/{name}"))?;
    }
    table.row(&format!("pod create→Running, one at a time, {PODS_ONE_BY_ONE} pods"), &percentiles(&mut times));
    let began = Instant::now();
    let created = (0..PODS_AT_ONCE).map(|number| {
        let now = Instant::now();
        let name = format!("many-{number}");
        proxy.post("/api/v1/namespaces/default/pods", &pod(&name)).map(|_| (name, now))
    });
    let mut created: BTreeMap<String, Instant> = created.collect::<Result<_>>()?;
    let mut times = Vec::new();
    while !created.is_empty() {
        let (name, at) = running
            .recv_timeout(Duration::from_secs(60))
            .with_context(|| format!("{} pods do not run", created.len()))?;
        times.extend(created.remove(&name).map(|began| at - began));
    }
    let all = began.elapsed();
    let row = format!("{}, all after {}", percentiles(&mut times), seconds(all));
    table.row(&format!("pod create→Running, {PODS_AT_ONCE} at once"), &row);
    Ok(())
}

fn running_at(running: &Receiver<(String, Instant)>, name: &str) -> Result<Instant> {
    loop {
        let (seen, at) =
            running.recv_timeout(Duration::from_secs(60)).with_context(|| format!("{name} does not run"))?;
        if seen == name {
            return Ok(at);
        }
    }
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "it", "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sleep", "600"]}],
    }})
}
