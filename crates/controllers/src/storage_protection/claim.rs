//! Claims stay while a pod with a node uses them.
//!
//! Reads: PersistentVolumeClaims, Pods.  Writes: finalizers of PersistentVolumeClaims.

use api::corev1::{PersistentVolumeClaim, Pod};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, ListParams, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use super::apply;
use super::plan::{Step, claims, step, uses_claim};
use crate::Context;

const NAME: &str = "pvc-protection-controller";
const FINALIZER: &str = "kubernetes.io/pvc-protection";

pub(super) fn start(context: &Context) {
    let (all, pods) = (context.informers.lister::<PersistentVolumeClaim>(), context.informers.lister::<Pod>());
    let queue = WorkQueue::new();
    let by_claim = queue.clone();
    all.subscribe(move |change| by_claim.add(change.object().key()));
    let by_pod = queue.clone();
    pods.subscribe(move |change: &Change<Pod>| {
        let pod = change.object();
        claims(pod).iter().for_each(|name| by_pod.add(ObjectKey::new(pod.namespace(), name.as_str())));
    });
    let reconciler = ClaimProtection { client: context.client(NAME), claims: all.clone(), pods: pods.clone() };
    context.run(NAME, reconciler, queue, 1, async move {
        all.synced().await;
        pods.synced().await;
    });
}

struct ClaimProtection {
    client: Client,
    claims: Lister<PersistentVolumeClaim>,
    pods: Lister<Pod>,
}

#[async_trait]
impl Reconciler for ClaimProtection {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(claim) = self.claims.get(key) else { return Ok(Requeue::AwaitChange) };
        let used = || self.pods.namespace(claim.namespace()).iter().any(|pod| uses_claim(pod, &claim));
        let step = step(&claim.metadata, FINALIZER, used);
        if step == Step::Remove && self.is_used_by_now(&claim).await? {
            return Ok(Requeue::AwaitChange);
        }
        let api = Api::<PersistentVolumeClaim>::namespaced(&self.client, claim.namespace());
        apply(&api, claim.as_ref(), FINALIZER, step).await?;
        Ok(Requeue::AwaitChange)
    }
}

impl ClaimProtection {
    /// The cache may be behind: the server has the last word.
    async fn is_used_by_now(&self, claim: &PersistentVolumeClaim) -> Result<bool, client::Error> {
        let pods = Api::<Pod>::namespaced(&self.client, claim.namespace()).list(&ListParams::default()).await?;
        Ok(pods.items.iter().any(|pod| uses_claim(pod, claim)))
    }
}
