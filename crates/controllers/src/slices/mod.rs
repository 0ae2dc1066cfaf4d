//! Keeps the EndpointSlices of each Service with a selector.
//!
//! Reads: Services, Pods, Nodes (zones).  Writes: EndpointSlices.
//! Does not know: the service proxy.  Start at [`plan::plan`].

mod plan;

use std::sync::Arc;

use api::corev1::{Node, Pod, Service};
use api::discoveryv1::EndpointSlice;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::pods::label;
use plan::Action;

use plan::selects;
pub(crate) use plan::{is_endpoint, port_number, selected};

const NAME: &str = "endpointslice-controller";
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (services, pods) = (informers.lister::<Service>(), informers.lister::<Pod>());
    let (slices, nodes) = (informers.lister::<EndpointSlice>(), informers.lister::<Node>());
    let queue = WorkQueue::new();
    let own = queue.clone();
    services.subscribe(move |change| own.add(change.object().key()));
    wake_by_pods(&services, &pods, &queue);
    let changed = queue.clone();
    slices.subscribe(move |change: &Change<EndpointSlice>| {
        let metadata = &change.object().metadata;
        if label(metadata, plan::MANAGED_BY) == plan::MANAGER {
            changed.add(ObjectKey::new(change.object().namespace(), label(metadata, plan::SERVICE_NAME)));
        }
    });
    let client = context.client(NAME);
    let (synced_services, synced_pods, synced_slices) = (services.clone(), pods.clone(), slices.clone());
    let reconciler = SliceReconciler { client, services, pods, slices, nodes };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        synced_services.synced().await;
        synced_pods.synced().await;
        synced_slices.synced().await;
    });
}

/// A pod wakes the services that select it, or did.
pub(crate) fn wake_by_pods(services: &Lister<Service>, pods: &Lister<Pod>, queue: &WorkQueue<ObjectKey>) {
    let (services, queue) = (services.clone(), queue.clone());
    pods.subscribe(move |change: &Change<Pod>| {
        if let Change::Updated { old, new } = change
            && plan::looks_the_same(old, new)
        {
            return;
        }
        for service in services.namespace(change.object().namespace()) {
            let pods = change.old().into_iter().chain([change.object()]);
            if pods.into_iter().any(|pod| selects(&service, pod)) {
                queue.add(service.key());
            }
        }
    });
}

struct SliceReconciler {
    client: Client,
    services: Lister<Service>,
    pods: Lister<Pod>,
    slices: Lister<EndpointSlice>,
    nodes: Lister<Node>,
}

#[async_trait]
impl Reconciler for SliceReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let existing = self.slices_of(key);
        let actions = match self.services.get(key) {
            Some(service) if service.spec.as_ref().is_some_and(|spec| spec.selector.is_some()) => {
                let pods = plan::selected(&service, &self.pods);
                plan::plan(&service, &pods, existing, &|node| self.zone(node))
            }
            // The garbage collector removes the slices of a service that is gone.
            _ => Vec::new(),
        };
        for action in actions {
            self.apply(key, action).await?;
        }
        Ok(Requeue::AwaitChange)
    }
}

impl SliceReconciler {
    fn slices_of(&self, key: &ObjectKey) -> Vec<Arc<EndpointSlice>> {
        let own = |slice: &Arc<EndpointSlice>| {
            label(&slice.metadata, plan::SERVICE_NAME) == key.name
                && label(&slice.metadata, plan::MANAGED_BY) == plan::MANAGER
                && slice.metadata.deletion_timestamp.is_none()
        };
        self.slices.namespace(&key.namespace).into_iter().filter(own).collect()
    }

    fn zone(&self, node: &str) -> Option<String> {
        let node = self.nodes.get(&ObjectKey::cluster(node))?;
        node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
    }

    async fn apply(&self, key: &ObjectKey, action: Action) -> Result<(), ReconcileError> {
        let api = Api::<EndpointSlice>::namespaced(&self.client, &key.namespace);
        match action {
            Action::Create(slice) => drop(api.create(&slice).await?),
            Action::Update(slice) => drop(api.update(&slice).await?),
            Action::Delete(slice) => {
                ignore_not_found(api.delete(slice.name(), &DeleteParams::uid(slice.uid())).await)?;
            }
        }
        Ok(())
    }
}
