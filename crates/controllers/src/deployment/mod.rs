//! Rolls each Deployment from its old ReplicaSets to the one that has its template.
//!
//! Reads: Deployments, ReplicaSets (owned or adoptable), Pods.  Writes: ReplicaSets, `deployments/status`, the revision
//! annotation.  Does not know: pods' insides, nodes.  Start at [`plan::plan`]; [`rolling`] and [`scaling`] count.

mod plan;
mod revision;
mod rolling;
mod scaling;
mod status;

use std::sync::Arc;

use api::appsv1::{Deployment, ReplicaSet};
use api::corev1::Pod;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference as event_reference};
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::{claim, controller_key, controller_of, wake_owners};
use crate::pods::{is_active, is_deleted};
use plan::{Action, Observed};

pub(crate) use plan::scaled;

const NAME: &str = "deployment-controller";
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let deployments = context.informers.lister::<Deployment>();
    let (sets, pods) = (context.informers.lister::<ReplicaSet>(), context.informers.lister::<Pod>());
    let own = queue.clone();
    deployments.subscribe(move |change| own.add(change.object().key()));
    wake_owners(&sets, &deployments, plan::set_selector, &queue);
    subscribe_to_pods(&deployments, &sets, &pods, &queue);
    let reconciler = DeploymentReconciler {
        events: context.events(&client, NAME),
        client,
        deployments: deployments.clone(),
        sets: sets.clone(),
        pods: pods.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        deployments.synced().await;
        sets.synced().await;
        pods.synced().await;
    });
}

/// Recreate waits for the last old pod.
fn subscribe_to_pods(
    deployments: &Lister<Deployment>,
    sets: &Lister<ReplicaSet>,
    pods: &Lister<Pod>,
    queue: &WorkQueue<ObjectKey>,
) {
    let (deployments, sets, queue) = (deployments.clone(), sets.clone(), queue.clone());
    pods.subscribe(move |change: &Change<Pod>| {
        if !matches!(change, Change::Deleted(_) | Change::Replaced { .. }) {
            return;
        }
        let pod = change.old().unwrap_or(change.object());
        let set = controller_key(&pod.metadata, "ReplicaSet").and_then(|key| sets.get(&key));
        let owner = set.and_then(|set| controller_key(&set.metadata, "Deployment"));
        if let Some(owner) = owner.filter(|owner| deployments.get(owner).is_some_and(|d| plan::recreates(&d))) {
            queue.add(owner);
        }
    });
}

struct DeploymentReconciler {
    client: Client,
    events: EventRecorder,
    deployments: Lister<Deployment>,
    sets: Lister<ReplicaSet>,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for DeploymentReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(Requeue::AwaitChange) };
        let observed = self.observe(&deployment).await?;
        let plan = plan::plan(&observed, self.clock.now());
        for action in &plan.actions {
            self.apply(&deployment, action).await?;
        }
        self.write(&deployment, &plan).await?;
        Ok(plan.check_again.map_or(Requeue::AwaitChange, Requeue::After))
    }
}

impl DeploymentReconciler {
    async fn observe(&self, deployment: &Arc<Deployment>) -> Result<Observed, Error> {
        let api = Api::namespaced(&self.client, deployment.namespace());
        let candidates = self.sets.namespace(deployment.namespace());
        let mut sets = claim(&api, deployment.as_ref(), &plan::set_selector(deployment), candidates).await?;
        sets.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.name().to_owned()));
        let running = |set: &ReplicaSet| {
            self.pods.by_owner(set.uid()).iter().any(|pod| is_active(pod) || is_deleted(&pod.metadata))
        };
        let running = sets.iter().filter(|set| running(set)).map(|set| set.uid().to_owned()).collect();
        Ok(Observed { deployment: deployment.clone(), sets, sets_with_pods: running })
    }

    async fn apply(&self, deployment: &Deployment, action: &Action) -> Result<(), ReconcileError> {
        let api = Api::<ReplicaSet>::namespaced(&self.client, deployment.namespace());
        let about = event_reference(deployment);
        match action {
            Action::Create(set) => {
                self.create(deployment, &api, set).await?;
            }
            Action::Update(set) => drop(api.update(set).await?),
            Action::Scale { set, from, to } => {
                api.update(set).await?;
                let direction = if to > from { "up" } else { "down" };
                let message = format!("Scaled {direction} replica set {} from {from} to {to}", set.name());
                self.events.normal(&about, "ScalingReplicaSet", message);
            }
            Action::Delete(set) => {
                ignore_not_found(api.delete(set.name(), &DeleteParams::uid(set.uid())).await)?;
            }
        }
        Ok(())
    }

    /// A name that is taken by another template's set: the hash collided, and the next pass takes another one.
    async fn create(
        &self,
        deployment: &Deployment,
        api: &Api<ReplicaSet>,
        set: &ReplicaSet,
    ) -> Result<(), ReconcileError> {
        let about = event_reference(deployment);
        match api.create(set).await {
            Ok(set) => {
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                if replicas > 0 {
                    let message = format!("Scaled up replica set {} from 0 to {replicas}", set.name());
                    self.events.normal(&about, "ScalingReplicaSet", message);
                }
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                let taken = api.get(set.name()).await?;
                if controller_of(&taken.metadata).is_some_and(|owner| owner.uid == deployment.uid())
                    && plan::same_template(&taken, deployment)
                {
                    return Ok(());
                }
                let mut bumped = deployment.clone();
                let status = bumped.status.get_or_insert_default();
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                Api::namespaced(&self.client, deployment.namespace()).update_status(&bumped).await?;
                Err(ReconcileError::retry("the name of the new replica set is taken by another template's"))
            }
            Err(error) => {
                self.events.warning(
                    &about,
                    "ReplicaSetCreateError",
                    format!("Failed to create new replica set \"{}\": {error}", set.name()),
                );
                Err(error.into())
            }
        }
    }

    /// Both in one write, and through the status: an annotation that is written there makes no new generation.
    async fn write(&self, deployment: &Deployment, plan: &plan::Plan) -> Result<(), Error> {
        let mut current = deployment.clone();
        if let Some(revision) = &plan.revision {
            revision::set(&mut current.metadata, revision);
        }
        current.status = Some(plan.status.clone());
        if current == *deployment {
            return Ok(());
        }
        Api::namespaced(&self.client, deployment.namespace()).update_status(&current).await.map(drop)
    }
}
