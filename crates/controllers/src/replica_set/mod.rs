//! Keeps each ReplicaSet at its replica count.
//!
//! Reads: ReplicaSets, Pods (owned or adoptable).  Writes: Pods, `replicasets/status`.
//! Does not know: Deployments, nodes, why it was woken.  Start at [`plan::plan`].

pub(crate) mod plan;

use std::sync::Arc;

use api::appsv1::ReplicaSet;
use api::corev1::Pod;
use api::k8s::Resource;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Error, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::{candidates, claim, wake_owners};
use crate::pod_control::PodControl;
use crate::pods::is_deleted;

const NAME: &str = "replicaset-controller";
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let (sets, pods) = (context.informers.lister::<ReplicaSet>(), context.informers.lister::<Pod>());
    let pod_control = PodControl::new(&client, context.events(&client, NAME), &pods, ReplicaSet::KIND);
    let sets_queue = queue.clone();
    sets.subscribe(move |change| sets_queue.add(change.object().key()));
    wake_owners(&pods, &sets, plan::pod_selector, &queue);
    let reconciler = ReplicaSetReconciler {
        client,
        pod_control,
        sets: sets.clone(),
        pods: pods.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        sets.synced().await;
        pods.synced().await;
    });
}

struct ReplicaSetReconciler {
    client: Client,
    pod_control: PodControl,
    sets: Lister<ReplicaSet>,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for ReplicaSetReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(set) = self.sets.get(key) else {
            self.pod_control.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        let caught_up = self.pod_control.is_caught_up(key);
        let pods = self.pods_of(&set).await?;
        let plan = plan::plan(&set, &pods, self.clock.now());
        let mut failure = None;
        if caught_up && !is_deleted(&set.metadata) {
            failure = self.apply(&set, &plan).await.err();
        }
        self.write_status(&set, &plan, failure.as_ref()).await?;
        match (failure, plan.next_available) {
            (Some(error), _) => Err(error.into()),
            (None, Some(wait)) => Ok(Requeue::After(wait)),
            (None, None) => Ok(Requeue::AwaitChange),
        }
    }
}

impl ReplicaSetReconciler {
    async fn pods_of(&self, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, Error> {
        let (selector, api) = (plan::pod_selector(set), Api::namespaced(&self.client, set.namespace()));
        claim(&api, set, &selector, candidates(&self.pods, set, &selector)).await
    }

    async fn apply(&self, set: &ReplicaSet, plan: &plan::Plan) -> Result<(), Error> {
        let missing = vec![plan::new_pod(set); plan.create];
        self.pod_control.create(set, &missing).await?;
        self.pod_control.delete(set, &plan.delete).await
    }

    async fn write_status(
        &self,
        set: &ReplicaSet,
        plan: &plan::Plan,
        failure: Option<&Error>,
    ) -> Result<(), ReconcileError> {
        let failure = failure.map(|error| plan::failure(plan, error.to_string(), self.clock.now()));
        let status = plan::with_failure(plan.status.clone(), failure);
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let updated = ReplicaSet { status: Some(status), ..set.clone() };
        Ok(ignore_not_found(Api::namespaced(&self.client, set.namespace()).update_status(&updated).await)?)
    }
}
