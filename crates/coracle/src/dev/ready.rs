//! Waiting for a cluster: shown step by step, ended by events.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use api::appsv1::{DaemonSet, Deployment};
use api::corev1::{Node, NodeCondition};
use client::{Client, Object};
use controller_runtime::{Informers, Lister};
use indicatif::{ProgressBar, ProgressStyle};
use rt::TaskSet;
use tokio::sync::Notify;

use super::state::Cluster;

const WAIT_MAX: Duration = Duration::from_secs(120);

/// What is going on, for people.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub fn step(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }

    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}

struct Seen {
    nodes: Lister<Node>,
    deployments: Lister<Deployment>,
    daemons: Lister<DaemonSet>,
}

/// Waits until every node is ready, the network agent runs on each, and the DNS is complete.
pub async fn wait(cluster: &Cluster, client: &Client, progress: &Progress) -> anyhow::Result<()> {
    let tasks = TaskSet::new();
    let informers = Informers::new(client, &tasks);
    let seen = Seen { nodes: informers.lister(), deployments: informers.lister(), daemons: informers.lister() };
    let changed = Arc::new(Notify::new());
    let wake = || {
        let changed = changed.clone();
        move || changed.notify_one()
    };
    let (by_node, by_deployment, by_daemon) = (wake(), wake(), wake());
    seen.nodes.subscribe(move |_| by_node());
    seen.deployments.subscribe(move |_| by_deployment());
    seen.daemons.subscribe(move |_| by_daemon());
    let mut missing = String::new();
    let waited = tokio::time::timeout(WAIT_MAX, async {
        while let Some(next) = seen.missing(cluster.nodes.len()) {
            progress.step(&next);
            missing = next;
            changed.notified().await;
        }
    });
    let waited = tokio::select! {
        waited = waited => waited,
        died = first_death(cluster) => {
            tasks.shutdown().await;
            bail!("the node {} ended", died?);
        }
    };
    tasks.shutdown().await;
    if waited.is_err() {
        bail!("after {} s the cluster is still {missing}", WAIT_MAX.as_secs());
    }
    Ok(())
}

/// Waits until the first process of a node ends. Returns the node's name.
async fn first_death(cluster: &Cluster) -> anyhow::Result<String> {
    let mut watched = Vec::new();
    for node in &cluster.nodes {
        let Some(pid) = cluster.pid(&node.name) else { return Ok(node.name.clone()) };
        watched.push(Box::pin(async move { container::process_ended(pid).await.map(|()| node.name.clone()) }));
    }
    Ok(futures::future::select_all(watched).await.0?)
}

impl Seen {
    /// What the cluster still lacks, and what the nodes say of themselves that may be why.
    fn missing(&self, nodes: usize) -> Option<String> {
        let waiting = self.waiting(nodes)?;
        let pressures: Vec<String> = self.nodes.list().iter().flat_map(|node| pressures(node)).collect();
        Some(if pressures.is_empty() { waiting } else { format!("{waiting}; {}", pressures.join(", ")) })
    }

    fn waiting(&self, nodes: usize) -> Option<String> {
        let ready = self.nodes.list().iter().filter(|node| is_ready(node)).count();
        if ready < nodes {
            return Some(format!("waiting for nodes ({ready}/{nodes} ready)"));
        }
        let agents =
            self.daemons.list().iter().find(|set| set.name() == "network-agent").map_or(0, |set| {
                set.status.as_ref().map_or(0, |status| usize::try_from(status.number_ready).unwrap_or(0))
            });
        if agents < nodes {
            return Some(format!("waiting for the network ({agents}/{nodes} ready)"));
        }
        let dns = self
            .deployments
            .list()
            .iter()
            .find(|deployment| deployment.name() == "coredns")
            .map_or(0, |dns| dns.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0));
        (dns < 2).then(|| format!("waiting for the DNS ({dns}/2 ready)"))
    }
}

fn is_ready(node: &Node) -> bool {
    holding(node).any(|condition| condition.type_ == "Ready")
}

/// A node under pressure takes no pods that do not tolerate it.
fn pressures(node: &Node) -> Vec<String> {
    let pressing = holding(node).filter(|condition| condition.type_.ends_with("Pressure"));
    pressing.map(|condition| format!("{} has {}", node.name(), condition.type_)).collect()
}

/// The conditions of the node that are true.
fn holding(node: &Node) -> impl Iterator<Item = &NodeCondition> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_under_pressure_is_named() {
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status });
        let conditions =
            [condition("Ready", "True"), condition("DiskPressure", "True"), condition("PIDPressure", "False")];
        let node = json!({ "metadata": { "name": "node1" }, "status": { "conditions": conditions } });
        let node: Node = serde_json::from_value(node).expect("a node");
        assert!(is_ready(&node));
        assert_eq!(pressures(&node), ["node1 has DiskPressure"]);
    }
}
