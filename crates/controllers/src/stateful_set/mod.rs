//! Keeps one pod for each number of a StatefulSet, with its own name and its own claims.
//!
//! Reads: StatefulSets, Pods, PersistentVolumeClaims, ControllerRevisions.  Writes: Pods, PersistentVolumeClaims,
//! ControllerRevisions, `statefulsets/status`.  Does not know: volumes, nodes.  Start at [`plan::plan`].

mod identity;
mod plan;
mod revisions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use api::appsv1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use api::corev1::{PersistentVolumeClaim, Pod};
use api::k8s::Resource;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::ownership::{candidates, claim, wake_owners};
use crate::pod_control::PodControl;
use plan::{Action, Observed};

const NAME: &str = "statefulset-controller";
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (sets, pods) = (informers.lister::<StatefulSet>(), informers.lister::<Pod>());
    let (claims, revisions) = (informers.lister::<PersistentVolumeClaim>(), informers.lister::<ControllerRevision>());
    let queue = WorkQueue::new();
    let client = context.client(NAME);
    let events = context.events(&client, NAME);
    let pod_control = PodControl::new(&client, events.clone(), &pods, StatefulSet::KIND);
    let own = queue.clone();
    sets.subscribe(move |change| own.add(change.object().key()));
    wake_owners(&pods, &sets, plan::pod_selector, &queue);
    wake_for_claims(&claims, &sets, &queue);
    let reconciler = StatefulSetReconciler {
        client,
        events,
        pod_control,
        sets: sets.clone(),
        pods: pods.clone(),
        claims: claims.clone(),
        revisions: revisions.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        sets.synced().await;
        pods.synced().await;
        claims.synced().await;
        revisions.synced().await;
    });
}

/// A pod may wait for the end of a claim that went with its predecessor.
fn wake_for_claims(claims: &Lister<PersistentVolumeClaim>, sets: &Lister<StatefulSet>, queue: &WorkQueue<ObjectKey>) {
    let (sets, queue) = (sets.clone(), queue.clone());
    claims.subscribe(move |change: &Change<PersistentVolumeClaim>| {
        if matches!(change, Change::Deleted(_) | Change::Replaced { .. }) {
            let near = sets.namespace(change.object().namespace());
            near.iter().for_each(|set| queue.add(set.key()));
        }
    });
}

struct StatefulSetReconciler {
    client: Client,
    events: EventRecorder,
    pod_control: PodControl,
    sets: Lister<StatefulSet>,
    pods: Lister<Pod>,
    claims: Lister<PersistentVolumeClaim>,
    revisions: Lister<ControllerRevision>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for StatefulSetReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(set) = self.sets.get(key) else {
            self.pod_control.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        let caught_up = self.pod_control.is_caught_up(key);
        let pods = self.pods_of(&set).await?;
        let history = self.sync_revisions(&set, &pods).await?;
        let claims = self.claims.namespace(set.namespace()).into_iter();
        let observed = Observed {
            set: &set,
            pods: &pods,
            claims: claims.map(|claim| (claim.name().to_owned(), claim)).collect(),
            current: &history.current,
            update: &history.update,
            now: self.clock.now(),
        };
        let plan = plan::plan(&observed);
        let applied = if caught_up { self.apply(&set, &plan.actions).await } else { Ok(()) };
        self.write_status(&set, &plan.status).await?;
        applied?;
        self.forget_revisions(&set, &history.delete).await?;
        Ok(plan.check_again.map_or(Requeue::AwaitChange, Requeue::After))
    }
}

/// Puts its identity's labels on a pod. The cache has less than the whole pod: what is written back is the server's.
async fn identify_live(api: &Api<Pod>, identified: &Pod) -> Result<(), Error> {
    let mut live = api.get(identified.name()).await?;
    if live.uid() != identified.uid() {
        return Ok(()); // another one by now, that comes to be looked at by itself
    }
    let labels = identified.metadata.labels.clone().unwrap_or_default();
    let own = labels.into_iter().filter(|(name, _)| identity::is_own_label(name));
    live.metadata.labels.get_or_insert_default().extend(own);
    api.update(&live).await.map(drop)
}

impl StatefulSetReconciler {
    /// Only pods whose names are the set's are claimed: others may match its labels.
    async fn pods_of(&self, set: &StatefulSet) -> Result<Vec<Arc<Pod>>, Error> {
        let selector = plan::pod_selector(set);
        let near = candidates(&self.pods, set, &selector).into_iter();
        let named = near.filter(|pod| identity::ordinal(set, pod).is_some()).collect();
        let api = Api::namespaced(&self.client, set.namespace());
        claim(&api, set, &selector, named).await
    }

    /// Makes the present template's revision.
    async fn sync_revisions(&self, set: &StatefulSet, pods: &[Arc<Pod>]) -> Result<revisions::Sync, ReconcileError> {
        let api = Api::<ControllerRevision>::namespaced(&self.client, set.namespace());
        let candidates = self.revisions.namespace(set.namespace());
        let known = claim(&api, set, &plan::pod_selector(set), candidates).await?;
        let sync = revisions::plan(set, &known, pods);
        if let Some(revision) = &sync.create {
            self.create_revision(set, &api, revision).await?;
        }
        if let Some(revision) = &sync.renumber {
            api.update(revision).await?;
        }
        Ok(sync)
    }

    /// A name that another template's revision has is counted, and the next attempt takes another one.
    async fn create_revision(
        &self,
        set: &StatefulSet,
        api: &Api<ControllerRevision>,
        revision: &ControllerRevision,
    ) -> Result<(), ReconcileError> {
        match api.create(revision).await {
            Err(error) if error.is_already_exists() => {}
            result => return Ok(result.map(drop)?),
        }
        if api.get_opt(revision.name()).await?.is_some_and(|known| known.data == revision.data) {
            return Ok(());
        }
        let mut status = set.status.clone().unwrap_or_default();
        status.collision_count = Some(revisions::collisions(set) + 1);
        self.write_status(set, &status).await?;
        Err(ReconcileError::retry("the name of the new revision is taken by another template's"))
    }

    async fn forget_revisions(&self, set: &StatefulSet, names: &[String]) -> Result<(), Error> {
        let api = Api::<ControllerRevision>::namespaced(&self.client, set.namespace());
        for name in names {
            ignore_not_found(api.delete(name, &DeleteParams::default()).await)?;
        }
        Ok(())
    }

    /// In order, and no further than the first failure.
    async fn apply(&self, set: &StatefulSet, actions: &[Action]) -> Result<(), Error> {
        for action in actions {
            self.act(set, action).await?;
        }
        Ok(())
    }

    async fn act(&self, set: &StatefulSet, action: &Action) -> Result<(), Error> {
        let pods = Api::<Pod>::namespaced(&self.client, set.namespace());
        let claims = Api::<PersistentVolumeClaim>::namespaced(&self.client, set.namespace());
        match action {
            Action::CreateClaim(claim, pod) => {
                let made = claims.create(claim).await;
                self.tell_claim(set, claim, pod, made.as_ref().err());
                match made {
                    Err(error) if error.is_already_exists() => Ok(()),
                    made => made.map(drop),
                }
            }
            Action::UpdateClaim(claim) => ignore_not_found(claims.update(claim).await),
            Action::Create(pod) => {
                let made = self.pod_control.create_untold(set, pod).await.map(drop);
                self.tell(set, "Create", pod, made.as_ref().err());
                made
            }
            Action::Update(pod) => {
                let made = identify_live(&pods, pod).await;
                self.tell(set, "Update", pod, made.as_ref().err());
                made
            }
            Action::Delete(pod) => {
                let gone = self.pod_control.delete_untold(set, pod).await.map(drop);
                self.tell(set, "Delete", pod, gone.as_ref().err());
                gone
            }
        }
    }

    fn tell(&self, set: &StatefulSet, verb: &str, pod: &Pod, error: Option<&Error>) {
        let (about, what) = (reference(set), verb.to_lowercase());
        let name = format!("{what} Pod {} in StatefulSet {}", pod.name(), set.name());
        match error {
            None => self.events.normal(&about, &format!("Successful{verb}"), format!("{name} successful")),
            Some(error) if error.is_already_exists() => {}
            Some(error) => {
                self.events.warning(&about, &format!("Failed{verb}"), format!("{name} failed error: {error}"))
            }
        }
    }

    fn tell_claim(&self, set: &StatefulSet, claim: &PersistentVolumeClaim, pod: &str, error: Option<&Error>) {
        let (about, claim, set) = (reference(set), claim.name(), set.name());
        match error {
            None => {
                let message = format!("create Claim {claim} Pod {pod} in StatefulSet {set} success");
                self.events.normal(&about, "SuccessfulCreate", message);
            }
            Some(error) if error.is_already_exists() => {}
            Some(error) => {
                let message = format!("create Claim {claim} for Pod {pod} in StatefulSet {set} failed error: {error}");
                self.events.warning(&about, "FailedCreate", message);
            }
        }
    }

    async fn write_status(&self, set: &StatefulSet, status: &StatefulSetStatus) -> Result<(), Error> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let updated = StatefulSet { status: Some(status.clone()), ..set.clone() };
        ignore_not_found(Api::namespaced(&self.client, set.namespace()).update_status(&updated).await)
    }
}
