//! Gives each Node its share of the pods' addresses.
//!
//! Reads: Nodes.  Writes: `nodes.spec.podCIDR(s)`.  Does not know: pods, the network.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::corev1::Node;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Object, Patch};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use parking_lot::Mutex;
use serde_json::json;

use crate::Context;

const NAME: &str = "node-controller";

pub(crate) fn start(context: &Context) {
    let nodes = context.informers.lister::<Node>();
    let queue = WorkQueue::new();
    let (own, all) = (queue.clone(), nodes.clone());
    nodes.subscribe(move |change| {
        own.add(change.object().key());
        // A share that became free may be what another node waits for.
        if matches!(change, controller_runtime::Change::Deleted(_)) {
            all.list().iter().filter(|node| share(node).is_none()).for_each(|node| own.add(node.key()));
        }
    });
    let client = context.client(NAME);
    let (base, prefix) = context.config.cluster_cidr;
    let reconciler = IpamReconciler {
        events: context.events(&client, "cidrAllocator"),
        client,
        nodes: nodes.clone(),
        base,
        prefix,
        mask: context.config.node_cidr_mask,
        given: Mutex::default(),
    };
    // One worker: two would give the same share twice.
    context.run("node-ipam-controller", reconciler, queue, 1, async move { nodes.synced().await });
}

struct IpamReconciler {
    client: Client,
    events: EventRecorder,
    nodes: Lister<Node>,
    base: Ipv4Addr,
    prefix: u8,
    mask: u8,
    given: Mutex<Given>,
}

#[async_trait]
impl Reconciler for IpamReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(node) = self.nodes.get(key).filter(|node| share(node).is_none()) else {
            return Ok(Requeue::AwaitChange);
        };
        let Some(cidr) = self.choose(&node) else {
            self.events.warning(
                &reference(node.as_ref()),
                "CIDRNotAvailable",
                format!("Node {} status is now: CIDRNotAvailable", key.name),
            );
            return Ok(Requeue::AwaitChange);
        };
        let patch = json!({"metadata": {"uid": node.uid()}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        match Api::<Node>::all(&self.client).patch(&key.name, &Patch::Strategic(patch)).await {
            Err(error) if error.is_not_found() => {}
            result => {
                result?;
                tracing::info!(node = key.name, cidr, "gave the node its pod addresses");
            }
        }
        Ok(Requeue::AwaitChange)
    }
}

impl IpamReconciler {
    fn choose(&self, node: &Node) -> Option<String> {
        self.given.lock().choose(node, &self.nodes.list(), shares(self.base, self.prefix, self.mask))
    }
}

/// What was given to nodes by UID, and perhaps is not shown by the cache yet.
#[derive(Default)]
struct Given(HashMap<String, String>);

impl Given {
    /// The lowest free share. A node that was given one keeps it: the cache may be behind, and another node's turn may come
    /// before it shows which.
    fn choose(&mut self, node: &Node, nodes: &[Arc<Node>], mut shares: impl Iterator<Item = String>) -> Option<String> {
        self.0.retain(|uid, _| nodes.iter().any(|node| node.uid() == uid));
        if let Some(known) = self.0.get(node.uid()) {
            return Some(known.clone());
        }
        let shown = nodes.iter().filter_map(|node| share(node).map(str::to_owned));
        let taken: BTreeSet<String> = shown.chain(self.0.values().cloned()).collect();
        let free = shares.find(|cidr| !taken.contains(cidr))?;
        self.0.insert(node.uid().to_owned(), free.clone());
        Some(free)
    }
}

fn share(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

/// All shares of the range, lowest first.
fn shares(base: Ipv4Addr, prefix: u8, mask: u8) -> impl Iterator<Item = String> {
    let count = 1u32.checked_shl(u32::from(mask.saturating_sub(prefix))).unwrap_or(0);
    let size = 1u32.checked_shl(32 - u32::from(mask.min(32))).unwrap_or(1);
    (0..count).map(move |number| format!("{}/{mask}", Ipv4Addr::from(u32::from(base) + number * size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_do_not_overlap() {
        let all: Vec<_> = shares(Ipv4Addr::new(10, 244, 0, 0), 16, 24).collect();
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str()), (256, "10.244.0.0/24", "10.244.1.0/24"));
        assert_eq!(all[255], "10.244.255.0/24");
    }

    #[test]
    fn a_node_that_comes_twice_before_the_cache_knows_keeps_its_share() {
        let node = |name: &str| {
            let node = serde_json::json!({"metadata": {"name": name, "uid": name}});
            Arc::new(serde_json::from_value::<Node>(node).unwrap())
        };
        let nodes = [node("a"), node("b")];
        let all = || shares(Ipv4Addr::new(10, 244, 0, 0), 16, 24);
        let mut given = Given::default();
        let mut choose = |index: usize| given.choose(&nodes[index], &nodes, all()).unwrap();
        assert_eq!(
            (choose(0), choose(0), choose(1)),
            ("10.244.0.0/24".into(), "10.244.0.0/24".into(), "10.244.1.0/24".into())
        );
    }
}
