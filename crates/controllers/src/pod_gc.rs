//! Deletes pods that nobody else will: those of nodes that are gone for a while, those that are to end on nodes out of service or
//! were never assigned, and the oldest finished ones beyond a limit.
//!
//! Reads: Pods, Nodes.  Writes: deletions of Pods.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Node, Pod};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Error, Object, Patch};
use controller_runtime::{Change, Index, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ignore::ignore_gone;
use crate::pods::{by_node, is_deleted, phase};
use crate::{Config, Context};

const NAME: &str = "pod-garbage-collector";
const FINISHED: &str = "finished";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// How long a node must be missing: it may be on its way, or come back.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How long its pods are then deleted, until a pod that comes later gives the node another chance.
const CLEARING: Duration = Duration::from_secs(20);

pub(crate) fn start(context: &Context) {
    let (pods, nodes) = (context.informers.lister::<Pod>(), context.informers.lister::<Node>());
    let queue = WorkQueue::new();
    let by_pod = queue.clone();
    pods.subscribe(move |change: &Change<Pod>| by_pod.add(change.object().key()));
    let (by_node, placed) = (queue.clone(), by_node(&pods));
    nodes.subscribe(move |change: &Change<Node>| {
        if matches!(change, Change::Deleted(_)) || is_out_of_service(change.object()) {
            placed.get(change.object().name()).iter().for_each(|pod| by_node.add(pod.key()));
        }
    });
    let reconciler = PodGcReconciler {
        client: context.client(NAME),
        config: context.config.clone(),
        pods: pods.clone(),
        finished: pods.index(FINISHED, |pod| is_finished(pod).then(|| FINISHED.to_owned()).into_iter().collect()),
        nodes: nodes.clone(),
        missing: Mutex::default(),
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
    missing: Mutex<Missing>,
}

/// Since when nodes of pods are missing.
#[derive(Default)]
struct Missing(HashMap<String, Instant>);

impl Missing {
    /// How long the node is still given; `None` when its pods can go.
    fn wait(&mut self, node: &str) -> Option<Duration> {
        let now = Instant::now();
        self.0.retain(|_, since| now - *since < QUARANTINE + CLEARING);
        let since = *self.0.entry(node.to_owned()).or_insert(now);
        QUARANTINE.checked_sub(now - since).filter(|left| !left.is_zero())
    }
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is_ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    !is_ready && taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

#[async_trait]
impl Reconciler for PodGcReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key) else { return Ok(Requeue::AwaitChange) };
        if node(&pod).is_empty() {
            if is_deleted(&pod.metadata) {
                self.delete(&pod).await?;
            }
            return Ok(Requeue::AwaitChange);
        }
        match self.nodes.get(&ObjectKey::cluster(node(&pod))) {
            None => return self.orphaned(&pod).await,
            Some(node) if is_deleted(&pod.metadata) && is_out_of_service(&node) => {
                self.fail(&pod, None).await?;
                self.delete(&pod).await?;
            }
            Some(_) if is_finished(&pod) => self.thin_out().await?,
            Some(_) => {}
        }
        Ok(Requeue::AwaitChange)
    }
}

impl PodGcReconciler {
    /// A pod whose node is in no cache. The cache may be behind: the server has the last word.
    async fn orphaned(&self, pod: &Pod) -> Result<Requeue, ReconcileError> {
        let wait = self.missing.lock().wait(node(pod));
        if let Some(wait) = wait {
            return Ok(Requeue::After(wait));
        }
        if Api::<Node>::all(&self.client).get_opt(node(pod)).await?.is_none() {
            tracing::info!(pod = %pod.key(), node = node(pod), "deleting a pod whose node is gone");
            let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"});
            self.fail(pod, Some(condition)).await?;
            self.delete(pod).await?;
        }
        Ok(Requeue::AwaitChange)
    }

    /// A pod that ran must not look as if it still did, should anybody see it before it is gone.
    async fn fail(&self, pod: &Pod, condition: Option<Value>) -> Result<(), Error> {
        if is_finished(pod) {
            return Ok(());
        }
        let conditions = Value::from_iter(condition);
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": conditions}});
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_missing_node_has_forty_seconds_and_later_pods_give_it_as_many_again() {
        let mut missing = Missing::default();
        assert_eq!(missing.wait("n"), Some(QUARANTINE));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!((missing.wait("n"), missing.wait("other")), (Some(Duration::from_secs(10)), Some(QUARANTINE)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(missing.wait("n"), None);
        tokio::time::advance(CLEARING).await;
        assert_eq!(missing.wait("n"), Some(QUARANTINE));
    }
}
