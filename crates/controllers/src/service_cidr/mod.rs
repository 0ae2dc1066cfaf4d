//! Keeps ServiceCIDRs while addresses are in use that no other range has, and says whether Services get addresses of them.
//!
//! Reads: ServiceCIDRs, IPAddresses.  Writes: finalizers and `servicecidrs/status`.
//! Does not know: Services, and how addresses are given.  Start at [`plan::plan`].

mod plan;
mod prefix;

use std::sync::Arc;
use std::time::Duration;

use api::networkingv1::{IPAddress, ServiceCIDR};
use apimachinery::{ObjectKey, time};
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Object, Patch};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;
use serde_json::{Value, json};

use crate::Context;
use crate::ignore::ignore_not_found;
use plan::{Condition, Step};

/// The name of the account.
const NAME: &str = "service-cidrs-controller";
/// Who reports, and the manager of the conditions.
const COMPONENT: &str = "service-cidr-controller";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const WORKERS: usize = 5;

pub(crate) fn start(context: &Context) {
    let cidrs = context.informers.lister::<ServiceCIDR>();
    let addresses = context.informers.lister::<IPAddress>();
    let queue = WorkQueue::new();
    let (by_cidr, all) = (queue.clone(), cidrs.clone());
    cidrs.subscribe(move |change| touched(change, &all).for_each(|key| by_cidr.add(key)));
    let (by_address, all) = (queue.clone(), cidrs.clone());
    addresses.subscribe(move |change: &Change<IPAddress>| {
        containing(change.object(), &all).for_each(|key| by_address.add(key));
    });
    let client = context.client(NAME);
    let reconciler = CidrReconciler {
        events: context.events(&client, COMPONENT),
        client,
        cidrs: cidrs.clone(),
        addresses: addresses.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        cidrs.synced().await;
        addresses.synced().await;
    });
}

/// A range that comes may free others that overlap it.
fn touched(change: &Change<ServiceCIDR>, all: &Lister<ServiceCIDR>) -> impl Iterator<Item = ObjectKey> {
    let cidr = change.object();
    let others = match change.old() {
        None => plan::overlapping(cidr, &all.list()),
        Some(_) => Vec::new(),
    };
    [cidr.key()].into_iter().chain(others.into_iter().map(ObjectKey::cluster))
}

/// An address may hold the ranges that have it.
fn containing(address: &IPAddress, all: &Lister<ServiceCIDR>) -> impl Iterator<Item = ObjectKey> {
    let names = match plan::address(address) {
        Some(address) => plan::containing(address, &all.list()),
        None => Vec::new(),
    };
    names.into_iter().map(ObjectKey::cluster)
}

struct CidrReconciler {
    client: Client,
    events: EventRecorder,
    cidrs: Lister<ServiceCIDR>,
    addresses: Lister<IPAddress>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for CidrReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(cidr) = self.cidrs.get(key) else { return Ok(Requeue::AwaitChange) };
        let now = self.clock.now().as_second();
        let step = plan::plan(&cidr, &self.cidrs.list(), || self.addresses.list(), now);
        self.apply(&cidr, step).await
    }
}

impl CidrReconciler {
    async fn apply(&self, cidr: &ServiceCIDR, step: Step) -> Result<Requeue, ReconcileError> {
        match step {
            Step::Keep => {}
            Step::Wait(seconds) => return Ok(Requeue::After(Duration::from_secs(seconds))),
            Step::Hold(condition) => self.say(cidr, condition).await?,
            Step::Release => self.patch(cidr, "$deleteFromPrimitiveList/finalizers").await?,
            Step::Serve { finalizer, condition } => {
                if finalizer {
                    self.patch(cidr, "finalizers").await?;
                }
                if let Some(condition) = condition {
                    let said = self.say(cidr, condition).await;
                    said.inspect_err(|_| {
                        self.events.warning(&reference(cidr), "KubernetesServiceCIDRError", NOT_SAID)
                    })?;
                }
            }
        }
        Ok(Requeue::AwaitChange)
    }

    async fn patch(&self, cidr: &ServiceCIDR, directive: &str) -> Result<(), client::Error> {
        let patch = Patch::Strategic(json!({"metadata": {directive: [FINALIZER]}}));
        ignore_not_found(Api::<ServiceCIDR>::all(&self.client).patch(cidr.name(), &patch).await)
    }

    async fn say(&self, cidr: &ServiceCIDR, condition: Condition) -> Result<(), client::Error> {
        let configuration = configuration(cidr.name(), condition, &time::format(self.clock.now()));
        let api = Api::<ServiceCIDR>::all(&self.client);
        ignore_not_found(api.apply_status(cidr.name(), COMPONENT, &configuration).await)
    }
}

const NOT_SAID: &str = "The ServiceCIDR Status can not be set to Ready=True";

fn configuration(name: &str, condition: Condition, now: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": name},
        "status": {"conditions": [{
            "type": plan::READY,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": now,
        }]},
    })
}
