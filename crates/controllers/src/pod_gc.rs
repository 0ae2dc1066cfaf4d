//! Deletes pods that nobody else will: those of nodes that are gone, those that were never assigned and are to end, and the
//! oldest finished ones beyond a limit.
//!
//! Reads: Pods, Nodes.  Writes: deletions of Pods.

use std::sync::Arc;

use api::corev1::{Node, Pod};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Error, Object, Patch};
use controller_runtime::{Change, Index, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use serde_json::json;

use crate::ignore::ignore_gone;
use crate::pods::{by_node, is_deleted, phase};
use crate::{Config, Context};

const NAME: &str = "pod-garbage-collector";
const FINISHED: &str = "finished";

pub(crate) fn start(context: &Context) {
    let (pods, nodes) = (context.informers.lister::<Pod>(), context.informers.lister::<Node>());
    let queue = WorkQueue::new();
    let by_pod = queue.clone();
    pods.subscribe(move |change: &Change<Pod>| by_pod.add(change.object().key()));
    let (by_node, placed) = (queue.clone(), by_node(&pods));
    nodes.subscribe(move |change: &Change<Node>| {
        if matches!(change, Change::Deleted(_)) {
            placed.get(change.object().name()).iter().for_each(|pod| by_node.add(pod.key()));
        }
    });
    let reconciler = PodGcReconciler {
        client: context.client(NAME),
        config: context.config.clone(),
        pods: pods.clone(),
        finished: pods.index(FINISHED, |pod| is_finished(pod).then(|| FINISHED.to_owned()).into_iter().collect()),
        nodes: nodes.clone(),
    };
    context.run(NAME, reconciler, queue, 1, async move {
        pods.synced().await;
        nodes.synced().await;
    });
}

struct PodGcReconciler {
    client: Client,
    config: Arc<Config>,
    pods: Lister<Pod>,
    finished: Index<Pod>,
    nodes: Lister<Node>,
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

#[async_trait]
impl Reconciler for PodGcReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key) else { return Ok(Requeue::AwaitChange) };
        if !node(&pod).is_empty() {
            if self.node_is_gone(node(&pod)).await? {
                tracing::info!(pod = %key, node = node(&pod), "deleting a pod whose node is gone");
                self.fail(&pod).await?;
                self.delete(&pod).await?;
            } else if is_finished(&pod) {
                self.thin_out().await?;
            }
        } else if is_deleted(&pod.metadata) {
            self.delete(&pod).await?;
        }
        Ok(Requeue::AwaitChange)
    }
}

impl PodGcReconciler {
    /// The cache may be behind: the server has the last word.
    async fn node_is_gone(&self, name: &str) -> Result<bool, Error> {
        if self.nodes.get(&ObjectKey::cluster(name)).is_some() {
            return Ok(false);
        }
        Ok(Api::<Node>::all(&self.client).get_opt(name).await?.is_none())
    }

    /// A pod that ran must not look as if it still did, should anybody see it before it is gone.
    async fn fail(&self, pod: &Pod) -> Result<(), Error> {
        if is_finished(pod) {
            return Ok(());
        }
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"});
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": [condition]}});
        let api = Api::<Pod>::namespaced(&self.client, pod.namespace());
        ignore_gone(api.patch_status(pod.name(), &Patch::Strategic(patch)).await)
    }

    async fn delete(&self, pod: &Pod) -> Result<(), Error> {
        let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::uid(pod.uid()) };
        ignore_gone(Api::<Pod>::namespaced(&self.client, pod.namespace()).delete(pod.name(), &params).await)
    }

    async fn thin_out(&self) -> Result<(), Error> {
        let surplus = self.finished.count(FINISHED).saturating_sub(self.config.terminated_pods_max);
        if surplus == 0 {
            return Ok(());
        }
        let mut finished = self.finished.get(FINISHED);
        finished.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        for pod in finished.iter().take(surplus) {
            self.delete(pod).await?;
        }
        Ok(())
    }
}
