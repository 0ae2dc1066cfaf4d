//! Empties a Namespace that is deleted, pods first, and lets it go.
//!
//! Reads: Namespaces, Pods, discovery.  Writes: deletions of everything in the namespace, its conditions and finalizers.
//! Does not know: any kind.  Start at [`NamespaceReconciler::empty`].

use std::time::Duration;

use api::corev1::{Namespace, NamespaceCondition, Pod};
use api::metav1::Time;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{
    Api, ApiResource, Client, DeleteParams, Error, ListParams, Object, PartialObject, Propagation, discover_available,
};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use jiff::Timestamp;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::pods::is_deleted;

const NAME: &str = "namespace-controller";
const WORKERS: usize = 4;
const FINALIZER: &str = "kubernetes";
/// Objects that finalizers hold up are looked at again after this time; pods wake the namespace when they go.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(crate) fn start(context: &Context) {
    let (namespaces, pods) = (context.informers.lister::<Namespace>(), context.informers.lister::<Pod>());
    let queue = WorkQueue::new();
    let own = queue.clone();
    namespaces.subscribe(move |change| {
        if is_deleted(&change.object().metadata) {
            own.add(change.object().key());
        }
    });
    let (by_pod, known) = (queue.clone(), namespaces.clone());
    pods.subscribe(move |change: &Change<Pod>| {
        let key = ObjectKey::cluster(change.object().namespace());
        let ending = known.get(&key).is_some_and(|namespace| is_deleted(&namespace.metadata));
        if ending && matches!(change, Change::Deleted(_)) {
            by_pod.add(key);
        }
    });
    let reconciler = NamespaceReconciler { client: context.client(NAME), namespaces: namespaces.clone() };
    context.run(NAME, reconciler, queue, WORKERS, async move { namespaces.synced().await });
}

struct NamespaceReconciler {
    client: Client,
    namespaces: Lister<Namespace>,
}

/// What is left in a namespace.
#[derive(Default)]
struct Remains {
    /// By resource: how many objects.
    objects: Vec<(String, usize)>,
    /// By finalizer: how many objects it holds.
    finalizers: std::collections::BTreeMap<String, usize>,
    failures: Vec<String>,
    /// Groups whose resources could not be learned, and why.
    undiscovered: Vec<String>,
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
        let remains = self.empty(&key.name).await?;
        if remains.objects.is_empty() && remains.failures.is_empty() && remains.undiscovered.is_empty() {
            self.finalize(&namespace).await?;
            return Ok(Requeue::AwaitChange);
        }
        self.report(&namespace, &remains).await?;
        Ok(Requeue::After(LOOK_AGAIN))
    }
}

impl NamespaceReconciler {
    /// Deletes everything, pods before anything else: what they use must outlive them.
    async fn empty(&self, namespace: &str) -> Result<Remains, Error> {
        let found = discover_available(&self.client).await?;
        let undiscovered = found.failures.iter().map(|(place, error)| format!("{place}: {error}")).collect();
        let resources: Vec<ApiResource> = found
            .resources
            .into_iter()
            .filter(|resource| resource.namespaced && resource.can("list") && resource.can("delete"))
            .collect();
        let (pods, others): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|resource| resource.group.is_empty() && resource.name == "pods");
        let mut remains = Remains { undiscovered, ..Remains::default() };
        for resource in &pods {
            self.empty_resource(namespace, resource, &mut remains).await;
        }
        if remains.objects.is_empty() && remains.failures.is_empty() {
            for resource in &others {
                self.empty_resource(namespace, resource, &mut remains).await;
            }
        }
        Ok(remains)
    }

    async fn empty_resource(&self, namespace: &str, resource: &ApiResource, remains: &mut Remains) {
        let api = resource.api(&self.client, Some(namespace));
        match delete_all(&api, resource).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                for finalizer in left.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
                    *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
                remains.objects.push((format!("{}.{}", resource.name, resource.group), left.len()));
            }
            // Reviews and the like can be named but not listed.
            Err(error) if error.is_not_found() || error.code() == Some(405) => {}
            Err(error) => remains.failures.push(format!("{}: {error}", resource.name)),
        }
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), Error> {
        let mut finalized = namespace.clone();
        let finalizers = finalized.spec.get_or_insert_default().finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        let api = Api::<Namespace>::all(&self.client);
        ignore_not_found(api.update_subresource(namespace.name(), "finalize", &finalized).await)
    }

    async fn report(&self, namespace: &Namespace, remains: &Remains) -> Result<(), Error> {
        let mut reported = namespace.clone();
        let status = reported.status.get_or_insert_default();
        let mut conditions = status.conditions.take().unwrap_or_default();
        for (kind, holds, reason, message) in report(remains) {
            set(&mut conditions, kind, holds, reason, message);
        }
        status.conditions = Some(conditions);
        if reported == *namespace {
            return Ok(());
        }
        ignore_not_found(Api::<Namespace>::all(&self.client).update_status(&reported).await)
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

/// The conditions: kind, whether it holds, reason and message.
fn report(remains: &Remains) -> [(&'static str, bool, &'static str, String); 5] {
    let counts = remains.objects.iter().map(|(resource, count)| format!("{resource} has {count} resource instances"));
    let content = format!("Some resources are remaining: {}", counts.collect::<Vec<_>>().join(", "));
    let counts =
        remains.finalizers.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
    let finalizers =
        format!("Some content in the namespace has finalizers remaining: {}", counts.collect::<Vec<_>>().join(", "));
    let failures = format!(
        "Failed to delete all resource types, {} remaining: {}",
        remains.failures.len(),
        remains.failures.join(", ")
    );
    let undiscovered = format!(
        "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
        remains.undiscovered.len(),
        remains.undiscovered.join(", ")
    );
    let either = |holds: bool, bad: (&'static str, String), good: (&'static str, &str)| {
        if holds { (holds, bad.0, bad.1) } else { (holds, good.0, good.1.to_owned()) }
    };
    let name = |kind, (holds, reason, message)| (kind, holds, reason, message);
    [
        name(
            "NamespaceDeletionDiscoveryFailure",
            either(
                !remains.undiscovered.is_empty(),
                ("DiscoveryFailed", undiscovered),
                ("ResourcesDiscovered", "All resources successfully discovered"),
            ),
        ),
        name(
            "NamespaceDeletionGroupVersionParsingFailure",
            either(false, ("", String::new()), ("ParsedGroupVersions", "All legacy kube types successfully parsed")),
        ),
        name(
            "NamespaceDeletionContentFailure",
            either(
                !remains.failures.is_empty(),
                ("ContentDeletionFailed", failures),
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
        ),
        name(
            "NamespaceContentRemaining",
            either(
                !remains.objects.is_empty(),
                ("SomeResourcesRemain", content),
                ("ContentRemoved", "All content successfully removed"),
            ),
        ),
        name(
            "NamespaceFinalizersRemaining",
            either(
                !remains.finalizers.is_empty(),
                ("SomeFinalizersRemain", finalizers),
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ),
    ]
}

fn set(conditions: &mut Vec<NamespaceCondition>, kind: &str, holds: bool, reason: &str, message: String) {
    let status = if holds { "True" } else { "False" };
    let at = conditions.iter().position(|condition| condition.type_ == kind);
    let same = at.is_some_and(|at| conditions[at].status == status);
    let now = Timestamp::now();
    let since = match at {
        Some(at) if same => conditions[at].last_transition_time.clone(),
        _ => Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
    };
    let condition = NamespaceCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: since,
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}
