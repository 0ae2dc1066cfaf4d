//! Takes the finalizer off pods that no Job accounts for.

use std::sync::Arc;

use api::batchv1::Job;
use api::corev1::Pod;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Error, Object, Patch};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use serde_json::json;

use super::pods::{FINALIZER, is_tracked};
use super::{is_finished, is_foreign};
use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::controller_of;
use crate::pods::is_deleted;

const NAME: &str = "job-controller-orphans";

pub(super) fn start(context: &Context, client: &Client, jobs: &Lister<Job>, pods: &Lister<Pod>) {
    let queue = WorkQueue::new();
    let changed = queue.clone();
    pods.subscribe(move |change: &Change<Pod>| {
        if is_tracked(change.object()) && !matches!(change, Change::Deleted(_)) {
            changed.add(change.object().key());
        }
    });
    let (ended, of_job) = (queue.clone(), pods.clone());
    jobs.subscribe(move |change: &Change<Job>| {
        let ends = matches!(change, Change::Deleted(_) | Change::Replaced { .. }) || is_finished(change.object());
        if ends || is_deleted(&change.object().metadata) {
            let job = change.old().unwrap_or(change.object());
            of_job.by_owner(job.uid()).iter().filter(|pod| is_tracked(pod)).for_each(|pod| ended.add(pod.key()));
        }
    });
    let reconciler = OrphanReconciler { client: client.clone(), jobs: jobs.clone(), pods: pods.clone() };
    let (jobs, pods) = (jobs.clone(), pods.clone());
    context.run(NAME, reconciler, queue, 1, async move {
        jobs.synced().await;
        pods.synced().await;
    });
}

struct OrphanReconciler {
    client: Client,
    jobs: Lister<Job>,
    pods: Lister<Pod>,
}

#[async_trait]
impl Reconciler for OrphanReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        if let Some(pod) = self.pods.get(key).filter(|pod| is_tracked(pod))
            && self.is_orphan(&pod)
        {
            ignore_not_found(release(&self.client, &pod).await)?;
        }
        Ok(Requeue::AwaitChange)
    }
}

impl OrphanReconciler {
    fn is_orphan(&self, pod: &Pod) -> bool {
        let Some(owner) = controller_of(&pod.metadata) else { return true };
        if owner.kind != "Job" || owner.api_version != "batch/v1" {
            return false;
        }
        let job = self.jobs.get(&ObjectKey::new(pod.namespace(), owner.name.as_str()));
        let job: Option<Arc<Job>> = job.filter(|job| job.uid() == owner.uid);
        job.is_none_or(|job| !is_foreign(&job) && (is_finished(&job) || is_deleted(&job.metadata)))
    }
}

/// Takes the finalizer away.
pub(super) async fn release(client: &Client, pod: &Pod) -> Result<Pod, Error> {
    let patch = json!({"metadata": {"uid": pod.uid(), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    Api::<Pod>::namespaced(client, pod.namespace()).patch(pod.name(), &Patch::Strategic(patch)).await
}
