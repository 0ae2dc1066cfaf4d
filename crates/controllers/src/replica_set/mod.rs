//! Keeps each ReplicaSet at its replica count.
//!
//! Reads: ReplicaSets, Pods (owned or adoptable).  Writes: Pods, `replicasets/status`.
//! Does not know: Deployments, nodes, why it was woken.  Start at [`plan::plan`].

mod plan;

use std::sync::Arc;

use api::appsv1::ReplicaSet;
use api::corev1::Pod;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference as event_reference};
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use futures::future::join_all;
use rt::Clock;

use crate::Context;
use crate::expectations::Expectations;
use crate::ownership::{claim, controller_key, controller_of, reference};
use crate::pods::{is_deleted, selector};

const NAME: &str = "replicaset-controller";
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let expectations = Arc::new(Expectations::default());
    let (sets, pods) = (context.informers.lister::<ReplicaSet>(), context.informers.lister::<Pod>());
    let sets_queue = queue.clone();
    sets.subscribe(move |change| sets_queue.add(change.object().key()));
    subscribe_to_pods(&sets, &pods, &queue, &expectations);
    let reconciler = ReplicaSetReconciler {
        events: context.events(&client, NAME),
        client,
        sets: sets.clone(),
        pods: pods.clone(),
        expectations,
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        sets.synced().await;
        pods.synced().await;
    });
}

/// A pod wakes its controller; one without wakes those that might adopt it.
fn subscribe_to_pods(
    sets: &Lister<ReplicaSet>,
    pods: &Lister<Pod>,
    queue: &WorkQueue<ObjectKey>,
    expectations: &Arc<Expectations>,
) {
    let (sets, queue, expectations) = (sets.clone(), queue.clone(), expectations.clone());
    pods.subscribe(move |change: &Change<Pod>| {
        for pod in change.old().into_iter().chain([change.object()]) {
            if let Some(owner) = controller_key(&pod.metadata, "ReplicaSet") {
                note(&expectations, &owner, change);
                queue.add(owner);
            }
        }
        let orphan = change.object();
        if controller_of(&orphan.metadata).is_none() && !matches!(change, Change::Deleted(_)) {
            let candidates = sets.namespace(orphan.namespace()).into_iter();
            candidates.filter(|set| plan::selects(set, orphan)).for_each(|set| queue.add(set.key()));
        }
    });
}

fn note(expectations: &Expectations, owner: &ObjectKey, change: &Change<Pod>) {
    match change {
        Change::Added(pod) => expectations.saw_creation(owner, pod.uid()),
        Change::Deleted(pod) => expectations.saw_deletion(owner, pod.uid()),
        Change::Updated { new, .. } if is_deleted(&new.metadata) => expectations.saw_deletion(owner, new.uid()),
        Change::Updated { .. } => {}
        Change::Replaced { old, new } => {
            expectations.saw_deletion(owner, old.uid());
            expectations.saw_creation(owner, new.uid());
        }
    }
}

struct ReplicaSetReconciler {
    client: Client,
    events: EventRecorder,
    sets: Lister<ReplicaSet>,
    pods: Lister<Pod>,
    expectations: Arc<Expectations>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for ReplicaSetReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        let caught_up = self.expectations.satisfied(key);
        let pods = self.pods_of(&set).await?;
        let plan = plan::plan(&set, &pods, self.clock.now());
        let mut failure = None;
        if caught_up && !is_deleted(&set.metadata) {
            failure = self.apply(key, &set, &plan).await.err();
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
        let candidates = self.pods.namespace(set.namespace());
        let api = Api::namespaced(&self.client, set.namespace());
        claim(&api, set, &selector(&set.spec.clone().unwrap_or_default().selector), candidates).await
    }

    async fn apply(&self, key: &ObjectKey, set: &ReplicaSet, plan: &plan::Plan) -> Result<(), Error> {
        self.create(key, set, plan.create).await?;
        let deletions = plan.delete.iter().map(|pod| self.delete(key, set, pod));
        join_all(deletions).await.into_iter().collect()
    }

    /// Creates in batches that double, so that a quota or a broken webhook is asked once and not five hundred times.
    async fn create(&self, key: &ObjectKey, set: &ReplicaSet, count: usize) -> Result<(), Error> {
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            self.expectations.begin_creations(key, size);
            let created = join_all((0..size).map(|_| self.create_one(key, set))).await;
            created.into_iter().collect::<Result<(), Error>>()?;
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, key: &ObjectKey, set: &ReplicaSet) -> Result<(), Error> {
        let pod = plan::new_pod(set, reference(set));
        let created = Api::<Pod>::namespaced(&self.client, set.namespace()).create(&pod).await;
        self.expectations.creation_ended(key, created.as_ref().ok().map(Object::uid));
        let about = event_reference(set);
        match created {
            Ok(pod) => {
                self.events.normal(&about, "SuccessfulCreate", format!("Created pod: {}", pod.name()));
                Ok(())
            }
            Err(error) if namespace_is_ending(&error) => Ok(()),
            Err(error) => {
                self.events.warning(&about, "FailedCreate", format!("Error creating: {error}"));
                Err(error)
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, set: &ReplicaSet, pod: &Pod) -> Result<(), Error> {
        self.expectations.begin_deletion(key, pod.uid());
        let api = Api::<Pod>::namespaced(&self.client, pod.namespace());
        let result = api.delete(pod.name(), &DeleteParams::uid(pod.uid())).await;
        let about = event_reference(set);
        match result {
            Ok(()) => self.events.normal(&about, "SuccessfulDelete", format!("Deleted pod: {}", pod.name())),
            Err(error) => {
                self.expectations.saw_deletion(key, pod.uid());
                if !error.is_not_found() && !error.is_conflict() {
                    self.events.warning(&about, "FailedDelete", format!("Error deleting: {error}"));
                    return Err(error);
                }
            }
        }
        Ok(())
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
        match Api::namespaced(&self.client, set.namespace()).update_status(&updated).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }
}

/// A creation in a namespace that ends is no failure: nothing is to be created there any more.
fn namespace_is_ending(error: &Error) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref()).map(|details| details.causes.as_slice());
    causes.unwrap_or_default().iter().any(|cause| cause.reason == "NamespaceTerminating")
}
