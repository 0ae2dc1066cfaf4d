//! Keeps one pod of each DaemonSet on every node that it fits.
//!
//! Reads: DaemonSets, Pods, Nodes, ControllerRevisions.  Writes: Pods, ControllerRevisions, `daemonsets/status`.
//! Does not know: the scheduler, which binds the pods by their affinity.  Start at [`plan::plan`].

mod plan;
mod revisions;

use std::sync::Arc;

use api::appsv1::{ControllerRevision, DaemonSet};
use api::corev1::{Node, Pod};
use api::k8s::Resource;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::{candidates, claim, wake_owners};
use crate::pod_control::PodControl;
use crate::pods::is_deleted;
use plan::Plan;

const NAME: &str = "daemon-set-controller";
const WORKERS: usize = 2;

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (sets, pods) = (informers.lister::<DaemonSet>(), informers.lister::<Pod>());
    let (nodes, revisions) = (informers.lister::<Node>(), informers.lister::<ControllerRevision>());
    let queue = WorkQueue::new();
    let client = context.client(NAME);
    let events = context.events(&client, "daemonset-controller");
    let pod_control = PodControl::new(&client, events, &pods, DaemonSet::KIND);
    let own = queue.clone();
    sets.subscribe(move |change| own.add(change.object().key()));
    wake_owners(&pods, &sets, plan::pod_selector, &queue);
    let (by_node, all) = (queue.clone(), sets.clone());
    nodes.subscribe(move |change: &Change<Node>| {
        if !matches!(change, Change::Updated { old, new } if plan::looks_the_same(old, new)) {
            all.list().iter().for_each(|set| by_node.add(set.key()));
        }
    });
    let reconciler = DaemonSetReconciler {
        client,
        pod_control,
        sets: sets.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        revisions: revisions.clone(),
        clock: context.clock.clone(),
    };
    context.run("daemonset-controller", reconciler, queue, WORKERS, async move {
        sets.synced().await;
        pods.synced().await;
        nodes.synced().await;
        revisions.synced().await;
    });
}

struct DaemonSetReconciler {
    client: Client,
    pod_control: PodControl,
    sets: Lister<DaemonSet>,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    revisions: Lister<ControllerRevision>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for DaemonSetReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(set) = self.sets.get(key) else {
            self.pod_control.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        if is_deleted(&set.metadata) {
            return Ok(Requeue::AwaitChange);
        }
        let hash = self.sync_revisions(&set).await?;
        let api = Api::namespaced(&self.client, set.namespace());
        let selector = plan::pod_selector(&set);
        let pods = claim(&api, set.as_ref(), &selector, candidates(&self.pods, set.as_ref(), &selector)).await?;
        let plan = plan::plan(&set, &self.nodes.list(), &pods, &hash, self.clock.now());
        if self.pod_control.is_caught_up(key) {
            self.apply(&set, &plan, &hash).await?;
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
            ignore_not_found(api.delete(name, &DeleteParams::default()).await)?;
        }
        Ok(sync.hash)
    }

    /// What cannot be created is no reason to keep what is to go.
    async fn apply(&self, set: &DaemonSet, plan: &Plan, hash: &str) -> Result<(), Error> {
        let missing: Vec<Pod> = plan.create.iter().map(|node| plan::new_pod(set, node, hash)).collect();
        let created = self.pod_control.create(set, &missing).await;
        let deleted = self.pod_control.delete(set, &plan.delete).await;
        created.and(deleted)
    }

    async fn write_status(&self, set: &DaemonSet, plan: &Plan) -> Result<(), Error> {
        if set.status.as_ref() == Some(&plan.status) {
            return Ok(());
        }
        let updated = DaemonSet { status: Some(plan.status.clone()), ..set.clone() };
        ignore_not_found(Api::namespaced(&self.client, set.namespace()).update_status(&updated).await)
    }
}
