//! Binds PersistentVolumeClaims and PersistentVolumes to each other, and says how they stand.
//!
//! Reads: PersistentVolumes, PersistentVolumeClaims, StorageClasses, Pods that wait.
//! Writes: PersistentVolumes, PersistentVolumeClaims, their status.  Does not know: what a volume is made of, who makes one.
//! Start at [`plan::plan_claim`] and [`plan::plan_volume`].

mod matching;
mod plan;

use std::fmt;

use api::corev1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use api::storagev1::StorageClass;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::pods::is_active;
use plan::{AroundClaim, Plan, Step, plan_claim, plan_volume};

const NAME: &str = "persistent-volume-binder";
const COMPONENT: &str = "persistentvolume-controller";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Claim(ObjectKey),
    Volume(ObjectKey),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(key) => write!(f, "claim {key}"),
            Self::Volume(key) => write!(f, "volume {key}"),
        }
    }
}

#[derive(Clone)]
struct Seen {
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
    classes: Lister<StorageClass>,
    pods: Lister<Pod>,
}

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (claims, volumes, classes) = (informers.lister(), informers.lister(), informers.lister());
    let seen = Seen { claims, volumes, classes, pods: informers.lister() };
    let queue = WorkQueue::new();
    follow(&seen, &queue);
    let client = context.client(NAME);
    let events = context.events(&client, COMPONENT);
    // One worker: two claims that look for a volume at the same time would choose the same one.
    let binder = Binder { client, events, seen: seen.clone() };
    context.run(NAME, binder, queue, 1, async move {
        seen.claims.synced().await;
        seen.volumes.synced().await;
        seen.classes.synced().await;
        seen.pods.synced().await;
    });
}

fn follow(seen: &Seen, queue: &WorkQueue<Key>) {
    let (own, volumes) = (queue.clone(), seen.volumes.clone());
    seen.claims.subscribe(move |change: &Change<PersistentVolumeClaim>| {
        let claim = change.object();
        own.add(Key::Claim(claim.key()));
        for volume in volumes.list().iter().filter(|volume| claim_of(volume).is_some_and(|key| key == claim.key())) {
            own.add(Key::Volume(volume.key()));
        }
    });
    let (own, claims) = (queue.clone(), seen.claims.clone());
    seen.volumes.subscribe(move |change: &Change<PersistentVolume>| {
        let volume = change.object();
        own.add(Key::Volume(volume.key()));
        change
            .old()
            .into_iter()
            .chain([volume])
            .filter_map(|state| claim_of(state))
            .for_each(|key| own.add(Key::Claim(key)));
        // Claims that name the volume, and those that may now find one.
        for claim in claims.list().iter().filter(|claim| names(claim, volume.name()) || seeks(claim)) {
            own.add(Key::Claim(claim.key()));
        }
    });
    let (own, claims) = (queue.clone(), seen.claims.clone());
    seen.classes.subscribe(move |change: &Change<StorageClass>| {
        let class = change.object().name();
        for claim in claims.list().iter().filter(|claim| seeks(claim) && matching::class_of_claim(claim) == class) {
            own.add(Key::Claim(claim.key()));
        }
    });
    let (own, claims) = (queue.clone(), seen.claims.clone());
    seen.pods.subscribe(move |change: &Change<Pod>| {
        let Change::Added(pod) = change else { return };
        for name in claims_of(pod) {
            let key = ObjectKey::new(pod.namespace(), name);
            if claims.get(&key).is_some_and(|claim| seeks(&claim)) {
                own.add(Key::Claim(key));
            }
        }
    });
}

fn claim_of(volume: &PersistentVolume) -> Option<ObjectKey> {
    let ObjectReference { namespace, name, .. } = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(ObjectKey::new(namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default()))
}

fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

fn names(claim: &PersistentVolumeClaim, volume: &str) -> bool {
    volume_name(claim) == volume
}

/// Has no volume and names none.
fn seeks(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_empty()
}

fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref()).map(|source| source.claim_name.as_str())
}

struct Binder {
    client: Client,
    events: EventRecorder,
    seen: Seen,
}

#[async_trait]
impl Reconciler for Binder {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Requeue, ReconcileError> {
        let planned = match key {
            Key::Claim(key) => self.claim(key),
            Key::Volume(key) => self.volume(key).await?,
        };
        if let Some((about, plan)) = planned {
            self.apply(&about, plan).await?;
        }
        Ok(Requeue::AwaitChange)
    }
}

impl Binder {
    fn claim(&self, key: &ObjectKey) -> Option<(ObjectReference, Plan)> {
        let claim = self.seen.claims.get(key)?;
        let volumes = self.seen.volumes.list();
        let class = self.seen.classes.get(&ObjectKey::cluster(matching::class_of_claim(&claim)));
        let pods = if seeks(&claim) { self.waiting_pods(&claim) } else { Vec::new() };
        let around = AroundClaim { volumes: &volumes, class: class.as_deref(), pods: &pods };
        Some((reference(claim.as_ref()), plan_claim(&claim, &around)))
    }

    /// Pods without a node that use the claim.
    fn waiting_pods(&self, claim: &PersistentVolumeClaim) -> Vec<String> {
        let has_node = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let waits = |pod: &Pod| is_active(pod) && !has_node(pod) && claims_of(pod).any(|name| name == claim.name());
        let pods = self.seen.pods.namespace(claim.namespace());
        pods.iter().filter(|pod| waits(pod)).map(|pod| pod.name().to_owned()).collect()
    }

    async fn volume(&self, key: &ObjectKey) -> Result<Option<(ObjectReference, Plan)>, Error> {
        let Some(volume) = self.seen.volumes.get(key) else { return Ok(None) };
        let claim = match claim_of(&volume) {
            Some(key) => self.find_claim(&volume, &key).await?,
            None => None,
        };
        Ok(Some((reference(volume.as_ref()), plan_volume(&volume, claim.as_ref()))))
    }

    /// The cache may be behind: before a volume is given up, the server is asked.
    async fn find_claim(
        &self,
        volume: &PersistentVolume,
        key: &ObjectKey,
    ) -> Result<Option<PersistentVolumeClaim>, Error> {
        let uid = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).and_then(|claim| claim.uid.as_deref());
        let Some(uid) = uid.filter(|uid| !uid.is_empty()) else { return Ok(None) };
        match self.seen.claims.get(key) {
            Some(claim) if claim.uid() == uid => Ok(Some(claim.as_ref().clone())),
            _ => Api::namespaced(&self.client, &key.namespace).get_opt(&key.name).await,
        }
    }

    async fn apply(&self, about: &ObjectReference, plan: Plan) -> Result<(), Error> {
        match plan.step {
            None => {}
            Some(Step::Volume(volume)) => {
                ignore_not_found(Api::<PersistentVolume>::all(&self.client).update(&volume).await)?
            }
            Some(Step::VolumeStatus(volume)) => {
                ignore_not_found(Api::<PersistentVolume>::all(&self.client).update_status(&volume).await)?
            }
            Some(Step::Claim(claim)) => {
                let api = Api::<PersistentVolumeClaim>::namespaced(&self.client, claim.namespace());
                ignore_not_found(api.update(&claim).await)?
            }
            Some(Step::ClaimStatus(claim)) => {
                let api = Api::<PersistentVolumeClaim>::namespaced(&self.client, claim.namespace());
                ignore_not_found(api.update_status(&claim).await)?
            }
        }
        if let Some(note) = plan.note {
            self.events.record(about, note.kind, note.reason, note.message);
        }
        Ok(())
    }
}
