//! Notices nodes that fell silent: marks and taints them, marks their pods unready, and evicts pods that do not tolerate the
//! taints, when their time is over.
//!
//! Reads: Nodes, Leases, Pods.  Writes: node taints, `nodes/status`, `pods/status`, deletions of Pods.
//! Does not know: what makes a node ready.  Start at [`plan::plan`].

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::coordinationv1::Lease;
use api::corev1::{Node, Pod};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, DeleteParams, Error, Object, Patch};
use controller_runtime::{Change, Index, Lister, ReconcileError, Reconciler, Requeue, Selection, WorkQueue};
use jiff::Timestamp;
use parking_lot::Mutex;
use rt::Clock;
use serde_json::json;
use tokio::time::Instant;

use crate::ignore::ignore_gone;
use crate::pods::{by_node, is_ready};
use crate::{Config, Context};
use plan::Plan;

const NAME: &str = "node-controller";
const WORKERS: usize = 4;
const LEASES: &str = "kube-node-lease";

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (nodes, pods) = (informers.lister::<Node>(), informers.lister::<Pod>());
    let leases = informers.lister_for::<Lease>(Selection { namespace: LEASES.into(), ..Selection::default() });
    let queue = WorkQueue::new();
    let own = queue.clone();
    nodes.subscribe(move |change| own.add(change.object().key()));
    let by_lease = queue.clone();
    leases.subscribe(move |change: &Change<Lease>| by_lease.add(ObjectKey::cluster(change.object().name())));
    let by_pod = queue.clone();
    pods.subscribe(move |change: &Change<Pod>| {
        let assigned = |pod: &Pod| node_name(pod).first().cloned();
        let before = change.old().and_then(|pod| assigned(pod));
        let now = assigned(change.object());
        if before != now {
            now.into_iter().for_each(|node| by_pod.add(ObjectKey::cluster(node)));
        }
    });
    let client = context.client(NAME);
    let reconciler = LifecycleReconciler {
        events: context.events(&client, NAME),
        client,
        config: context.config.clone(),
        on_node: by_node(&pods),
        nodes: nodes.clone(),
        leases: leases.clone(),
        clock: context.clock.clone(),
        heard: Mutex::default(),
    };
    context.run("node-lifecycle-controller", reconciler, queue, WORKERS, async move {
        nodes.synced().await;
        leases.synced().await;
        pods.synced().await;
    });
}

fn node_name(pod: &Pod) -> Vec<String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).into_iter().collect()
}

struct LifecycleReconciler {
    client: Client,
    events: EventRecorder,
    config: Arc<Config>,
    nodes: Lister<Node>,
    leases: Lister<Lease>,
    on_node: Index<Pod>,
    clock: Arc<dyn Clock>,
    /// What each node last said, and when that was heard here: clocks of machines differ.
    heard: Mutex<HashMap<String, (String, Instant)>>,
}

#[async_trait]
impl Reconciler for LifecycleReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(node) = self.nodes.get(key) else {
            self.heard.lock().remove(&key.name);
            return Ok(Requeue::AwaitChange);
        };
        let silent = self.silent_for(&node);
        let pods = self.on_node.get(&key.name);
        let plan = plan::plan(&node, &pods, silent >= self.config.node_monitor_grace_period, self.clock.now());
        self.apply(&node, &plan).await?;
        let until_lost = self.config.node_monitor_grace_period.saturating_sub(silent);
        let lost = (!until_lost.is_zero()).then_some(until_lost + Duration::from_millis(1));
        let next = lost.into_iter().chain(plan.next_eviction).min();
        Ok(next.map_or(Requeue::AwaitChange, Requeue::After))
    }
}

impl LifecycleReconciler {
    fn silent_for(&self, node: &Node) -> Duration {
        let lease = self.leases.get(&ObjectKey::new(LEASES, node.name()));
        let said = format!(
            "{} {}",
            lease.map(|lease| lease.resource_version().to_owned()).unwrap_or_default(),
            plan::heartbeat(node)
        );
        let mut heard = self.heard.lock();
        let now = Instant::now();
        let last = heard.entry(node.name().to_owned()).or_insert_with(|| (said.clone(), now));
        if last.0 != said {
            *last = (said, now);
        }
        now - last.1
    }

    async fn apply(&self, node: &Node, plan: &Plan) -> Result<(), ReconcileError> {
        if !plan.conditions.is_empty() {
            tracing::warn!(node = node.name(), "node stopped posting its status");
            self.events.normal(
                &reference(node),
                "NodeNotReady",
                format!("Node {} status is now: NodeNotReady", node.name()),
            );
            let patch = json!({"metadata": {"uid": node.uid()}, "status": {"conditions": plan.conditions}});
            Api::<Node>::all(&self.client).patch_status(node.name(), &Patch::Strategic(patch)).await?;
        }
        if let Some(taints) = &plan.taints {
            let patch = json!({"metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints}});
            // Conditions were written a moment ago: the version is another one then, and the next pass sets the taints.
            if plan.conditions.is_empty() {
                Api::<Node>::all(&self.client).patch(node.name(), &Patch::Merge(patch)).await?;
            }
        }
        for pod in &plan.unready {
            self.mark_unready(pod).await?;
        }
        for pod in &plan.evict {
            self.evict(pod).await?;
        }
        Ok(())
    }

    async fn mark_unready(&self, pod: &Pod) -> Result<(), Error> {
        let now = apimachinery::time::format(self.clock.now());
        let condition =
            json!({"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": now});
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        self.events.warning(&reference(pod), "NodeNotReady", "Node is not ready");
        ignore_gone(
            Api::<Pod>::namespaced(&self.client, pod.namespace())
                .patch_status(pod.name(), &Patch::Strategic(patch))
                .await,
        )
    }

    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let api = Api::<Pod>::namespaced(&self.client, pod.namespace());
        let now = apimachinery::time::format(self.clock.now());
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": now});
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        ignore_gone(api.patch_status(pod.name(), &Patch::Strategic(patch)).await)?;
        self.events.normal(&reference(pod), "TaintManagerEviction", format!("Marking for deletion Pod {}", pod.key()));
        ignore_gone(api.delete(pod.name(), &DeleteParams::uid(pod.uid())).await)
    }
}

/// Whether the pod is to be marked unready with its node.
fn counts_as_ready(pod: &Pod, now: Timestamp) -> bool {
    let ended = pod.metadata.deletion_timestamp.as_ref().is_some_and(|time| time.0 < now);
    is_ready(pod) && !ended
}
