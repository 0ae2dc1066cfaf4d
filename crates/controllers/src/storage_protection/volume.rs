//! Volumes stay while they are bound.
//!
//! Reads: PersistentVolumes.  Writes: their finalizers.

use api::corev1::PersistentVolume;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use super::apply;
use super::plan::{is_bound, step};
use crate::Context;

const NAME: &str = "pv-protection-controller";
const FINALIZER: &str = "kubernetes.io/pv-protection";

pub(super) fn start(context: &Context) {
    let volumes = context.informers.lister::<PersistentVolume>();
    let queue = WorkQueue::new();
    let by_volume = queue.clone();
    volumes.subscribe(move |change| by_volume.add(change.object().key()));
    let reconciler = VolumeProtection { client: context.client(NAME), volumes: volumes.clone() };
    context.run(NAME, reconciler, queue, 1, async move { volumes.synced().await });
}

struct VolumeProtection {
    client: Client,
    volumes: Lister<PersistentVolume>,
}

#[async_trait]
impl Reconciler for VolumeProtection {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(volume) = self.volumes.get(key) else { return Ok(Requeue::AwaitChange) };
        let step = step(&volume.metadata, FINALIZER, || is_bound(&volume));
        apply(&Api::<PersistentVolume>::all(&self.client), volume.as_ref(), FINALIZER, step).await?;
        Ok(Requeue::AwaitChange)
    }
}
