//! Empties a Namespace that is deleted, pods first, and lets it go.
//!
//! Reads: Namespaces, Pods, discovery.  Writes: deletions of everything in the namespace, its conditions and finalizers.
//! Does not know: any kind.  Start at [`NamespaceReconciler::empty`].

mod report;

use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Namespace, Pod};
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{
    Api, ApiResource, Client, DeleteParams, Error, ListParams, Object, PartialObject, Propagation, discover_available,
};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::pods::is_deleted;
use crate::resources::Resources;
use report::{Remains, report, set};

const NAME: &str = "namespace-controller";
const WORKERS: usize = 4;
const FINALIZER: &str = "kubernetes";
/// How long finalizers are expected to take.
const FINALIZERS_SECONDS: i64 = 15;

pub(crate) fn start(context: &Context, resources: &Arc<Resources>) {
    let (namespaces, pods) = (context.informers.lister::<Namespace>(), context.informers.lister::<Pod>());
    let queue = WorkQueue::new();
    let own = queue.clone();
    namespaces.subscribe(move |change| {
        if is_deleted(&change.object().metadata) {
            own.add(change.object().key());
        }
    });
    let (by_object, known) = (queue.clone(), namespaces.clone());
    resources.subscribe(move |resource, objects| {
        if resource.namespaced {
            wake_when_gone(objects, &known, &by_object);
        }
    });
    let reconciler = NamespaceReconciler {
        client: context.client(NAME),
        clock: context.clock.clone(),
        namespaces: namespaces.clone(),
        pods: pods.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        namespaces.synced().await;
        pods.synced().await;
    });
}

/// An object that goes may be the last that its namespace waits for.
fn wake_when_gone(objects: &Lister<PartialObject>, namespaces: &Lister<Namespace>, queue: &WorkQueue<ObjectKey>) {
    let (namespaces, queue) = (namespaces.clone(), queue.clone());
    objects.subscribe(move |change: &Change<PartialObject>| {
        let key = ObjectKey::cluster(change.object().namespace());
        let ending = || namespaces.get(&key).is_some_and(|namespace| is_deleted(&namespace.metadata));
        if matches!(change, Change::Deleted(_)) && ending() {
            queue.add(key);
        }
    });
}

struct NamespaceReconciler {
    client: Client,
    clock: Arc<dyn Clock>,
    namespaces: Lister<Namespace>,
    pods: Lister<Pod>,
}

#[async_trait]
impl Reconciler for NamespaceReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(namespace) = self.namespaces.get(key).filter(|namespace| is_deleted(&namespace.metadata)) else {
            return Ok(Requeue::AwaitChange);
        };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Requeue::AwaitChange);
        }
        let remains = self.empty(&namespace).await?;
        let Some(namespace) = self.report(&namespace, &remains).await? else { return Ok(Requeue::AwaitChange) };
        if let Some(seconds) = remains.wait_seconds() {
            return Ok(Requeue::After(Duration::from_secs(seconds)));
        }
        if remains.is_uncertain() {
            return Err(ReconcileError::retry("some content of the namespace could not be deleted"));
        }
        self.finalize(&namespace).await?;
        Ok(Requeue::AwaitChange)
    }
}

impl NamespaceReconciler {
    /// Deletes everything, pods before anything else: what they use must outlive them.
    async fn empty(&self, namespace: &Namespace) -> Result<Remains, Error> {
        let found = discover_available(&self.client).await?;
        let undiscovered = found.failures.iter().map(|(place, error)| format!("{place}: {error}")).collect();
        let resources: Vec<ApiResource> = found
            .resources
            .into_iter()
            .filter(|resource| resource.namespaced && resource.can("list") && resource.can("delete"))
            .collect();
        let (pods, others): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|resource| resource.group.is_empty() && resource.name == "pods");
        let mut remains = Remains::undiscovered(undiscovered);
        for resource in &pods {
            let grace = self.grace_seconds(namespace);
            self.empty_resource(namespace.name(), resource, grace, &mut remains).await;
        }
        if remains.objects.is_empty() && remains.failures.is_empty() {
            for resource in &others {
                self.empty_resource(namespace.name(), resource, 0, &mut remains).await;
            }
        }
        Ok(remains)
    }

    /// How long the pods may take to end; nothing once the namespace is deleted for longer.
    fn grace_seconds(&self, namespace: &Namespace) -> i64 {
        let pods = self.pods.namespace(namespace.name());
        let running = pods.iter().filter(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        });
        let graces = running.filter_map(|pod| pod.spec.as_ref()?.termination_grace_period_seconds);
        let longest = graces.max().unwrap_or(0);
        let since = namespace.metadata.deletion_timestamp.as_ref().map(|at| at.0.as_second());
        let age = since.map_or(0, |since| self.clock.now().as_second() - since);
        if age >= longest { 0 } else { longest }
    }

    /// Deletes the objects of one resource, which may take `grace` seconds, and notes what is left.
    async fn empty_resource(&self, namespace: &str, resource: &ApiResource, grace: i64, remains: &mut Remains) {
        let api = resource.api(&self.client, Some(namespace));
        match delete_all(&api, resource).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => remains.note(namespace, resource, &left, grace),
            // Reviews and the like can be named but not listed.
            Err(error) if error.is_not_found() || error.code() == Some(405) => {}
            Err(error) => remains.failures.push(error.to_string()),
        }
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), Error> {
        let mut finalized = namespace.clone();
        let finalizers = finalized.spec.get_or_insert_default().finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        let api = Api::<Namespace>::all(&self.client);
        ignore_not_found(api.update_subresource(namespace.name(), "finalize", &finalized).await)
    }

    /// Writes the conditions. Returns the newest state of the namespace, unless it is gone.
    async fn report(&self, namespace: &Namespace, remains: &Remains) -> Result<Option<Namespace>, Error> {
        let mut reported = namespace.clone();
        let status = reported.status.get_or_insert_default();
        let mut conditions = status.conditions.take().unwrap_or_default();
        for (kind, holds, reason, message) in report(remains) {
            set(&mut conditions, kind, holds, reason, message);
        }
        status.conditions = Some(conditions);
        if reported == *namespace {
            return Ok(Some(reported));
        }
        match Api::<Namespace>::all(&self.client).update_status(&reported).await {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Deletes all objects of a resource. Returns those that are still there.
async fn delete_all(api: &Api<PartialObject>, resource: &ApiResource) -> Result<Vec<PartialObject>, Error> {
    let all = ListParams::default();
    let found = api.list(&all).await?.items;
    if found.is_empty() {
        return Ok(found);
    }
    let params = DeleteParams { propagation_policy: Some(Propagation::Background), ..DeleteParams::default() };
    if resource.can("deletecollection") {
        api.delete_collection(&params, &all).await?;
    } else {
        for object in &found {
            ignore_not_found(api.delete(object.name(), &params).await)?;
        }
    }
    Ok(api.list(&all).await?.items)
}
