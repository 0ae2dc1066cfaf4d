//! Gives services of type LoadBalancer their addresses.
//!
//! Reads: Services.  Writes: `services/status`, Events.
//! Does not know: nodes, who announces the addresses.  Start at [`crate::allocate::decide`].

use std::net::Ipv4Addr;
use std::sync::Arc;

use api::corev1::Service;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Object, Patch};
use controller_runtime::{Change, Informers, Lister, ReconcileError, Reconciler, Requeue, WorkQueue, run_reconciler};
use parking_lot::Mutex;
use rt::{CancellationToken, TaskSet};
use serde_json::json;

use crate::allocate::{Decision, Taken, decide};
use crate::{Pool, is_ours, recorded};

pub struct AddressController {
    client: Client,
    services: Lister<Service>,
    pool: Pool,
    queue: WorkQueue<ObjectKey>,
    /// Ahead of the cache: an address counts as taken before its record comes back by the watch.
    taken: Mutex<Taken>,
}

impl AddressController {
    pub fn new(client: &Client, informers: &Informers, pool: Pool) -> Self {
        Self {
            client: client.clone(),
            services: informers.lister(),
            pool,
            queue: WorkQueue::new(),
            taken: Mutex::default(),
        }
    }

    pub async fn run(self, shutdown: CancellationToken) {
        if shutdown.run_until_cancelled(self.services.synced()).await.is_none() {
            return;
        }
        let tasks = TaskSet::under(shutdown.clone());
        let events = EventRecorder::new(&self.client, "load-balancer", "", &tasks);
        self.take_up_records();
        let queue = self.queue.clone();
        let enqueue = queue.clone();
        self.services.subscribe(move |change: &Change<Service>| enqueue.add(change.object().key()));
        let reconciler = Arc::new(AddressReconciler { controller: self, events });
        // One worker: two would have to agree on who takes the last address.
        run_reconciler("load-balancer", reconciler, queue, 1, shutdown).await;
        tasks.join().await;
    }

    /// After a restart the services' own records say who has what; where two have the same, the older service keeps it.
    fn take_up_records(&self) {
        let mut services: Vec<_> = self.services.list().into_iter().filter(|service| is_ours(service)).collect();
        services.sort_by_key(|service| (service.metadata.creation_timestamp.clone().map(|time| time.0), service.key()));
        let mut taken = self.taken.lock();
        for service in services {
            for address in recorded(&service).into_iter().filter(|address| self.pool.contains(*address)) {
                taken.entry(address).or_insert_with(|| service.key());
            }
        }
    }

    fn decide(&self, key: &ObjectKey, service: &Service) -> Decision {
        decide(key, service, &self.taken.lock(), &self.pool)
    }

    fn take(&self, key: &ObjectKey, address: Ipv4Addr) {
        let mut taken = self.taken.lock();
        taken.retain(|other, owner| owner != key || *other == address);
        taken.insert(address, key.clone());
    }

    /// Frees what the service had; those that wait for an address get another chance.
    fn free(&self, key: &ObjectKey) {
        let freed = {
            let mut taken = self.taken.lock();
            let before = taken.len();
            taken.retain(|_, owner| owner != key);
            before != taken.len()
        };
        if freed {
            let waiting =
                self.services.list().into_iter().filter(|service| is_ours(service) && recorded(service).is_empty());
            waiting.for_each(|service| self.queue.add(service.key()));
        }
    }

    async fn record(&self, service: &Service, address: Option<Ipv4Addr>) -> Result<(), client::Error> {
        let ingress = address.map(|address| json!([{ "ip": address, "ipMode": "VIP" }]));
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": service.resource_version() },
            "status": { "loadBalancer": { "ingress": ingress } },
        }));
        let api: Api<Service> = Api::namespaced(&self.client, service.namespace());
        api.patch_status(service.name(), &patch).await.map(drop)
    }
}

struct AddressReconciler {
    controller: AddressController,
    events: EventRecorder,
}

#[async_trait]
impl Reconciler for AddressReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let controller = &self.controller;
        let Some(service) = controller.services.get(key) else {
            controller.free(key);
            return Ok(Requeue::AwaitChange);
        };
        match controller.decide(key, &service) {
            Decision::Leave if !is_ours(&service) => controller.free(key),
            Decision::Leave => {}
            Decision::Keep(address) => controller.take(key, address),
            Decision::Assign(address) => {
                controller.take(key, address);
                controller.record(&service, Some(address)).await?;
                tracing::info!(service = %key, %address, "service has an address");
                self.events.normal(
                    &reference(service.as_ref()),
                    "EnsuredLoadBalancer",
                    format!("Assigned address {address}"),
                );
            }
            Decision::Release => {
                controller.record(&service, None).await?;
                controller.free(key);
                tracing::info!(service = %key, "service gave its address back");
                self.events.normal(&reference(service.as_ref()), "DeletedLoadBalancer", "Released the address");
            }
            Decision::Pending(reason) => {
                tracing::warn!(service = %key, reason, "service stays without an address");
                self.events.warning(&reference(service.as_ref()), "SyncLoadBalancerFailed", reason);
            }
        }
        Ok(Requeue::AwaitChange)
    }
}
