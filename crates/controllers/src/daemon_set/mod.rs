//! Keeps one pod of each DaemonSet on every node that it fits.
//!
//! Reads: DaemonSets, Pods, Nodes, ControllerRevisions.  Writes: Pods, ControllerRevisions, `daemonsets/status`.
//! Does not know: the scheduler, which binds the pods by their affinity.  Start at [`plan::plan`].

mod plan;
mod revisions;

use std::sync::Arc;

use api::appsv1::{ControllerRevision, DaemonSet};
use api::corev1::{Node, Pod};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference as event_reference};
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use futures::future::join_all;
use rt::Clock;

use crate::Context;
use crate::expectations::Expectations;
use crate::ownership::{claim, controller_key};
use crate::pods::{is_deleted, selector};
use plan::Plan;

const NAME: &str = "daemon-set-controller";
const WORKERS: usize = 2;

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (sets, pods) = (informers.lister::<DaemonSet>(), informers.lister::<Pod>());
    let (nodes, revisions) = (informers.lister::<Node>(), informers.lister::<ControllerRevision>());
    let queue = WorkQueue::new();
    let expectations = Arc::new(Expectations::default());
    let own = queue.clone();
    sets.subscribe(move |change| own.add(change.object().key()));
    subscribe_to_pods(&pods, &queue, &expectations);
    let (by_node, all) = (queue.clone(), sets.clone());
    nodes.subscribe(move |change: &Change<Node>| {
        if !matches!(change, Change::Updated { old, new } if plan::looks_the_same(old, new)) {
            all.list().iter().for_each(|set| by_node.add(set.key()));
        }
    });
    let client = context.client(NAME);
    let reconciler = DaemonSetReconciler {
        events: context.events(&client, "daemonset-controller"),
        client,
        sets: sets.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        revisions: revisions.clone(),
        expectations,
        clock: context.clock.clone(),
    };
    context.run("daemonset-controller", reconciler, queue, WORKERS, async move {
        sets.synced().await;
        pods.synced().await;
        nodes.synced().await;
        revisions.synced().await;
    });
}

fn subscribe_to_pods(pods: &Lister<Pod>, queue: &WorkQueue<ObjectKey>, expectations: &Arc<Expectations>) {
    let (queue, expectations) = (queue.clone(), expectations.clone());
    pods.subscribe(move |change: &Change<Pod>| {
        for pod in change.old().into_iter().chain([change.object()]) {
            let Some(owner) = controller_key(&pod.metadata, "DaemonSet") else { continue };
            match change {
                Change::Added(pod) => expectations.saw_creation(&owner, pod.uid()),
                Change::Deleted(pod) | Change::Replaced { old: pod, .. } => {
                    expectations.saw_deletion(&owner, pod.uid())
                }
                Change::Updated { new, .. } if is_deleted(&new.metadata) => {
                    expectations.saw_deletion(&owner, new.uid())
                }
                Change::Updated { .. } => {}
            }
            queue.add(owner);
        }
    });
}

struct DaemonSetReconciler {
    client: Client,
    events: EventRecorder,
    sets: Lister<DaemonSet>,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    revisions: Lister<ControllerRevision>,
    expectations: Arc<Expectations>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for DaemonSetReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        if is_deleted(&set.metadata) {
            return Ok(Requeue::AwaitChange);
        }
        let hash = self.sync_revisions(&set).await?;
        let spec = set.spec.clone().unwrap_or_default();
        let api = Api::namespaced(&self.client, set.namespace());
        let pods = claim(&api, set.as_ref(), &selector(&spec.selector), self.pods.namespace(set.namespace())).await?;
        let plan = plan::plan(&set, &self.nodes.list(), &pods, &hash, self.clock.now());
        if self.expectations.satisfied(key) {
            self.apply(key, &set, &plan, &hash).await?;
        }
        self.write_status(&set, &plan).await?;
        Ok(plan.check_again.map_or(Requeue::AwaitChange, Requeue::After))
    }
}

impl DaemonSetReconciler {
    /// Makes the present template's revision, and forgets old ones beyond the limit. Returns its hash.
    async fn sync_revisions(&self, set: &DaemonSet) -> Result<String, Error> {
        let api = Api::<ControllerRevision>::namespaced(&self.client, set.namespace());
        let known = self.revisions.by_owner(set.uid());
        let sync = revisions::plan(set, &known, &self.pods.by_owner(set.uid()));
        if let Some(revision) = &sync.create {
            match api.create(revision).await {
                Err(error) if error.is_already_exists() => {}
                result => drop(result?),
            }
        }
        if let Some(revision) = &sync.update {
            api.update(revision).await?;
        }
        for name in &sync.delete {
            match api.delete(name, &DeleteParams::default()).await {
                Err(error) if error.is_not_found() => {}
                result => result?,
            }
        }
        Ok(sync.hash)
    }

    async fn apply(&self, key: &ObjectKey, set: &DaemonSet, plan: &Plan, hash: &str) -> Result<(), Error> {
        self.expectations.begin_creations(key, plan.create.len());
        let created = join_all(plan.create.iter().map(|node| self.create(key, set, node, hash))).await;
        let deleted = join_all(plan.delete.iter().map(|pod| self.delete(key, set, pod))).await;
        created.into_iter().chain(deleted).collect()
    }

    async fn create(&self, key: &ObjectKey, set: &DaemonSet, node: &str, hash: &str) -> Result<(), Error> {
        let pod = plan::new_pod(set, node, hash);
        let created = Api::<Pod>::namespaced(&self.client, set.namespace()).create(&pod).await;
        self.expectations.creation_ended(key, created.as_ref().ok().map(Object::uid));
        let about = event_reference(set);
        match created {
            Ok(pod) => self.events.normal(&about, "SuccessfulCreate", format!("Created pod: {}", pod.name())),
            Err(error) => {
                self.events.warning(&about, "FailedCreate", format!("Error creating: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, set: &DaemonSet, pod: &Pod) -> Result<(), Error> {
        self.expectations.begin_deletion(key, pod.uid());
        let api = Api::<Pod>::namespaced(&self.client, pod.namespace());
        let about = event_reference(set);
        match api.delete(pod.name(), &DeleteParams::uid(pod.uid())).await {
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

    async fn write_status(&self, set: &DaemonSet, plan: &Plan) -> Result<(), Error> {
        if set.status.as_ref() == Some(&plan.status) {
            return Ok(());
        }
        let updated = DaemonSet { status: Some(plan.status.clone()), ..set.clone() };
        match Api::namespaced(&self.client, set.namespace()).update_status(&updated).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }
}
