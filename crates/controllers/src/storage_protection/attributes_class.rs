//! Attribute classes stay while a claim or a volume names them.
//!
//! Reads: VolumeAttributesClasses, PersistentVolumeClaims, PersistentVolumes.  Writes: finalizers of VolumeAttributesClasses.

use api::corev1::{PersistentVolume, PersistentVolumeClaim};
use api::storagev1::VolumeAttributesClass;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use super::apply;
use super::plan::{class_of_volume, classes_of_claim, step};
use crate::Context;

const NAME: &str = "volumeattributesclass-protection-controller";
const FINALIZER: &str = "kubernetes.io/vac-protection";

pub(super) fn start(context: &Context) {
    let classes = context.informers.lister::<VolumeAttributesClass>();
    let claims = context.informers.lister::<PersistentVolumeClaim>();
    let volumes = context.informers.lister::<PersistentVolume>();
    let queue = WorkQueue::new();
    let by_class = queue.clone();
    classes.subscribe(move |change| by_class.add(change.object().key()));
    // Who let go of a class is told by the old state.
    let by_claim = queue.clone();
    claims.subscribe(move |change: &Change<PersistentVolumeClaim>| {
        let states = change.old().into_iter().chain([change.object()]);
        states.flat_map(|claim| classes_of_claim(claim)).for_each(|name| by_claim.add(ObjectKey::cluster(name)));
    });
    let by_volume = queue.clone();
    volumes.subscribe(move |change: &Change<PersistentVolume>| {
        let states = change.old().into_iter().chain([change.object()]);
        states.filter_map(|volume| class_of_volume(volume)).for_each(|name| by_volume.add(ObjectKey::cluster(name)));
    });
    let reconciler = ClassProtection {
        client: context.client(NAME),
        classes: classes.clone(),
        claims: claims.clone(),
        volumes: volumes.clone(),
    };
    context.run(NAME, reconciler, queue, 1, async move {
        classes.synced().await;
        claims.synced().await;
        volumes.synced().await;
    });
}

struct ClassProtection {
    client: Client,
    classes: Lister<VolumeAttributesClass>,
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
}

impl ClassProtection {
    fn is_used(&self, class: &str) -> bool {
        let by_claim = |claim: &PersistentVolumeClaim| classes_of_claim(claim).iter().any(|name| name == class);
        self.claims.list().iter().any(|claim| by_claim(claim))
            || self.volumes.list().iter().any(|volume| class_of_volume(volume).as_deref() == Some(class))
    }
}

#[async_trait]
impl Reconciler for ClassProtection {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(class) = self.classes.get(key) else { return Ok(Requeue::AwaitChange) };
        let step = step(&class.metadata, FINALIZER, || self.is_used(class.name()));
        apply(&Api::<VolumeAttributesClass>::all(&self.client), class.as_ref(), FINALIZER, step).await?;
        Ok(Requeue::AwaitChange)
    }
}
