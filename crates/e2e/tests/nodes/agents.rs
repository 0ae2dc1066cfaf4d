//! A worker's agent knows its API server, another process on another machine, by TLS alone: it opens no store, and goes on when the
//! server is killed and comes back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use e2e::processes::{self, Process};

use crate::Step;
use crate::user::User;

pub const STEPS: &[Step] = &[
    ("agents, network agents and DNS open no store, which the server alone has open", no_store),
    ("agents go on when their server is killed and started on its data: no pod is restarted", server_comes_back),
];

const SERVER: &str = "k8s-master";
const WORKERS: [&str; 2] = ["k8s-node1", "k8s-node2"];

/// The regular files that a process has open.
fn open_files(process: &Process) -> Result<Vec<PathBuf>> {
    let directory = format!("/proc/{}/fd", process.pid);
    let entries = std::fs::read_dir(&directory).with_context(|| format!("list {directory}"))?;
    // One may have been closed by now.
    let targets = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Ok(targets.filter(|target| target.is_absolute()).collect())
}

fn store_files(process: &Process) -> Result<Vec<PathBuf>> {
    let is_store = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("state.db"));
    Ok(open_files(process)?.into_iter().filter(is_store).collect())
}

fn with_roles(user: &User<'_>, node: &str, roles: &[&str]) -> Result<Vec<Process>> {
    let processes = processes::of_node(&user.cluster.name, node)?;
    let found: Vec<_> =
        processes.into_iter().filter(|process| process.role().is_some_and(|role| roles.contains(&role))).collect();
    for role in roles {
        ensure!(found.iter().any(|process| process.role() == Some(role)), "no {role} on {node}: {found:?}");
    }
    Ok(found)
}

fn no_store(user: &User<'_>) -> Result<()> {
    for process in with_roles(user, SERVER, &["server"])? {
        ensure!(!store_files(&process)?.is_empty(), "the server keeps nothing: {:?}", open_files(&process)?);
    }
    let mut others = with_roles(user, SERVER, &["network-agent"])?;
    for worker in WORKERS {
        others.extend(with_roles(user, worker, &["agent", "network-agent"])?);
        let servers = processes::with_role(&user.cluster.name, worker, "server")?;
        ensure!(servers.is_empty(), "{worker} has a server of its own: {servers:?}");
    }
    let nodes = WORKERS.iter().chain(&[SERVER]);
    for node in nodes {
        others.extend(processes::with_role(&user.cluster.name, node, "dns")?);
    }
    for process in others {
        let open = store_files(&process)?;
        ensure!(open.is_empty(), "{:?} has {open:?} open", process.role());
    }
    Ok(())
}

/// Every container: its pod, its identity, and how often it was restarted.
fn containers(user: &User<'_>) -> Result<Vec<String>> {
    let path = "{range .items[*]}{.metadata.namespace}/{.metadata.name}={range .status.containerStatuses[*]}\
                {.containerID}/{.restartCount},{end} {end}";
    user.kubectl.words("get pods -A", path)
}

fn identities(user: &User<'_>) -> Result<BTreeSet<(u32, u64)>> {
    let mut all = BTreeSet::new();
    for node in WORKERS.iter().chain(&[SERVER]) {
        all.extend(processes::container_identities(&user.cluster.name, node)?);
    }
    Ok(all)
}

fn server_comes_back(user: &User<'_>) -> Result<()> {
    eventually("the pods of earlier steps are gone", || {
        let left = user.kubectl.words("get pods", "{.items[*].metadata.name}")?;
        Ok(left.is_empty().then_some(()))
    })?;
    for worker in WORKERS {
        pod_on(user, worker, "before")?;
    }
    let (before, inside) = (containers(user)?, identities(user)?);
    let agents: Vec<u32> = agents(user)?;
    let server = with_roles(user, SERVER, &["server"])?.remove(0);
    processes::kill(&server)?;
    eventually("another server runs", || {
        let now = processes::with_role(&user.cluster.name, SERVER, "server")?;
        Ok(now.iter().any(|process| process.pid != server.pid && !process.ended).then_some(()))
    })?;
    eventually("it is ready", || Ok(user.kubectl.line("get --raw /readyz").ok()))?;
    // Each agent hears of new pods, and tells of them.
    for worker in WORKERS {
        pod_on(user, worker, "after")?;
        user.remove(&format!("pod after-{worker}"))?;
    }
    ensure!(self::agents(user)? == agents, "an agent was started again");
    ensure!(containers(user)? == before, "containers are others: {before:?} {:?}", containers(user)?);
    let now = identities(user)?;
    let lost: Vec<_> = inside.difference(&now).collect();
    ensure!(lost.is_empty(), "processes in containers are gone: {lost:?}");
    for worker in WORKERS {
        user.remove(&format!("pod before-{worker}"))?;
    }
    no_store(user)
}

fn agents(user: &User<'_>) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for worker in WORKERS {
        all.extend(with_roles(user, worker, &["agent"])?.iter().map(|process| process.pid));
    }
    Ok(all)
}

pub fn pod_on(user: &User<'_>, node: &str, what: &str) -> Result<()> {
    let name = format!("{what}-{node}");
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "c", "image": "yanbin/python-web:latest", "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", crate::user::SLEEP],
        }]},
    });
    eventually("the pod is made", || user.kubectl.with_input(&["apply", "-f", "-"], &pod.to_string()).map(Some))?;
    user.kubectl.run(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=60s"]).map(drop)
}
