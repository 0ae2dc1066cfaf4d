//! Clears the condition `DisruptionTarget` of pods that were not disrupted after all.

use std::sync::Arc;
use std::time::Duration;

use api::corev1::Pod;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object, Patch};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use rt::Clock;
use serde_json::json;

use crate::Context;
use crate::ignore::ignore_gone;
use crate::pods::{condition, is_deleted, phase, seconds};

const NAME: &str = "disruption-controller-stale";
const CONDITION: &str = "DisruptionTarget";
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(2);

pub(super) fn start(context: &Context, client: &Client, pods: &Lister<Pod>) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    pods.subscribe(move |change: &Change<Pod>| {
        if stale_at(change.object()).is_some() {
            own.add(change.object().key());
        }
    });
    let reconciler = StaleReconciler { client: client.clone(), pods: pods.clone(), clock: context.clock.clone() };
    let pods = pods.clone();
    context.run(NAME, reconciler, queue, 1, async move { pods.synced().await });
}

/// The kubelet's own condition is never stale: the pod may take long to end.
fn stale_at(pod: &Pod) -> Option<Timestamp> {
    let target = condition(pod, CONDITION).filter(|target| target.status == "True")?;
    let by_kubelet = target.reason.as_deref() == Some("TerminationByKubelet");
    if by_kubelet || is_deleted(&pod.metadata) || matches!(phase(pod), "Succeeded" | "Failed") {
        return None;
    }
    Some(target.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0) + STALE_AFTER)
}

struct StaleReconciler {
    client: Client,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for StaleReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(pod) = self.pods.get(key) else { return Ok(Requeue::AwaitChange) };
        let Some(at) = stale_at(&pod) else { return Ok(Requeue::AwaitChange) };
        let now = self.clock.now();
        if let Some(wait) = Duration::try_from(at - now).ok().filter(|wait| !wait.is_zero()) {
            return Ok(Requeue::After(wait));
        }
        let cleared = json!({
            "type": CONDITION, "status": "False", "reason": null, "message": null,
            "observedGeneration": pod.metadata.generation, "lastTransitionTime": seconds(now),
        });
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [cleared]}});
        let pods = Api::<Pod>::namespaced(&self.client, pod.namespace());
        ignore_gone(pods.patch_status(pod.name(), &Patch::Strategic(patch)).await)?;
        Ok(Requeue::AwaitChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reason: &str, status: &str, phase: &str) -> bool {
        let target = json!({"type": CONDITION, "status": status, "reason": reason, "lastTransitionTime": "2027-01-15T08:00:00Z"});
        let pod = json!({"metadata": {}, "status": {"phase": phase, "conditions": [target]}});
        stale_at(&serde_json::from_value(pod).expect("a pod")).is_some()
    }

    #[test]
    fn only_a_living_pod_that_others_meant_to_disrupt_is_cleared() {
        assert!(check("EvictionByEvictionAPI", "True", "Running"));
        assert!(!check("TerminationByKubelet", "True", "Running"));
        assert!(!check("EvictionByEvictionAPI", "False", "Running"));
        assert!(!check("EvictionByEvictionAPI", "True", "Failed"));
    }
}
