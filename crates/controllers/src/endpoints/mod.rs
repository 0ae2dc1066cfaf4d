//! Keeps the Endpoints object of each Service with a selector: the older form of what EndpointSlices say.
//!
//! Reads: Services, Pods.  Writes: Endpoints.  Does not know: slices.  Start at [`plan::subsets`].

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::{Endpoints, Pod, Service};
use api::metav1::ObjectMeta;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Error, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::slices::{selected, wake_by_pods};

const NAME: &str = "endpoint-controller";
const WORKERS: usize = 4;
const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Subsets name a thousand addresses at most, and an annotation says when there are more.
const ADDRESSES_MAX: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

pub(crate) fn start(context: &Context) {
    let informers = &context.informers;
    let (services, pods) = (informers.lister::<Service>(), informers.lister::<Pod>());
    let endpoints = informers.lister::<Endpoints>();
    let queue = WorkQueue::new();
    let own = queue.clone();
    services.subscribe(move |change| own.add(change.object().key()));
    wake_by_pods(&services, &pods, &queue);
    let changed = queue.clone();
    endpoints.subscribe(move |change: &Change<Endpoints>| changed.add(change.object().key()));
    let (all_services, all_pods, all_endpoints) = (services.clone(), pods.clone(), endpoints.clone());
    let reconciler = EndpointsReconciler { client: context.client(NAME), services, pods, endpoints };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        all_services.synced().await;
        all_pods.synced().await;
        all_endpoints.synced().await;
    });
}

struct EndpointsReconciler {
    client: Client,
    services: Lister<Service>,
    pods: Lister<Pod>,
    endpoints: Lister<Endpoints>,
}

#[async_trait]
impl Reconciler for EndpointsReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let existing = self.endpoints.get(key);
        match self.services.get(key) {
            None => self.remove(key, existing).await?,
            Some(service) if service.spec.as_ref().is_some_and(|spec| spec.selector.is_some()) => {
                self.sync(&service, existing).await?;
            }
            Some(_) => {}
        }
        Ok(Requeue::AwaitChange)
    }
}

impl EndpointsReconciler {
    /// An Endpoints object goes with its service, unless it never was one's: leader elections use such.
    async fn remove(&self, key: &ObjectKey, existing: Option<Arc<Endpoints>>) -> Result<(), Error> {
        let Some(existing) = existing.filter(|existing| is_managed(existing)) else { return Ok(()) };
        let api = Api::<Endpoints>::namespaced(&self.client, &key.namespace);
        ignore_not_found(api.delete(&key.name, &DeleteParams::uid(existing.uid())).await)
    }

    async fn sync(&self, service: &Service, existing: Option<Arc<Endpoints>>) -> Result<(), Error> {
        let pods = selected(service, &self.pods);
        let (subsets, cut) = plan::subsets(service, &pods, ADDRESSES_MAX);
        let api = Api::<Endpoints>::namespaced(&self.client, service.namespace());
        let mut wanted = existing.as_deref().cloned().unwrap_or_else(|| new_endpoints(service));
        wanted.subsets = (!subsets.is_empty()).then_some(subsets);
        wanted.metadata.labels = Some(labels(service));
        note_capacity(&mut wanted.metadata, cut);
        match existing {
            None => api.create(&wanted).await.map(drop),
            Some(existing) if *existing != wanted => api.update(&wanted).await.map(drop),
            Some(_) => Ok(()),
        }
    }
}

fn is_managed(endpoints: &Endpoints) -> bool {
    crate::pods::label(&endpoints.metadata, MANAGED_BY) == NAME
}

fn new_endpoints(service: &Service) -> Endpoints {
    let metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        ..ObjectMeta::default()
    };
    Endpoints { metadata, subsets: None }
}

fn note_capacity(metadata: &mut ObjectMeta, cut: bool) {
    if cut {
        metadata.annotations.get_or_insert_default().insert(OVER_CAPACITY.into(), "truncated".into());
    } else if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(OVER_CAPACITY);
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), NAME.into());
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}
