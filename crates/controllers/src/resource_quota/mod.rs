//! Keeps the status of every ResourceQuota: what is allowed, and what is used of it.
//!
//! Admission charges for what is created; this controller counts anew when a quota changes and when objects go.
//!
//! Reads: ResourceQuotas, Pods, Services, PersistentVolumeClaims, the metadata of everything else.
//! Writes: `resourcequotas/status`.  Does not know: what a kind costs (that is the crate `quota`).  Start at [`plan::plan`].

mod plan;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use api::resourcev1::ResourceClaim;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object, PartialObject};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use quota::Evaluator;
use rt::Clock;
use serde_json::Value;

use crate::Context;
use crate::ignore::ignore_not_found;
use crate::resources::{Monitor, Resources};
use plan::{Cause, Counted};

const NAME: &str = "resourcequota-controller";
const WORKERS: usize = 5;
/// A resource that cannot be listed for so long makes the pass fail.
const LIST_MAX: Duration = Duration::from_secs(10);

/// A quota, and why it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    quota: ObjectKey,
    cause: Cause,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.quota.fmt(f)
    }
}

pub(crate) fn start(context: &Context, resources: &Arc<Resources>) {
    let informers = &context.informers;
    let wakes = Wakes { quotas: informers.lister(), queue: WorkQueue::new() };
    let queue = wakes.queue.clone();
    wakes.quotas.subscribe(move |change: &Change<ResourceQuota>| {
        let same = change.old().is_some_and(|old| plan::hard(old) == plan::hard(change.object()));
        // Somebody else may have written the status.
        let strayed = plan::has_strayed(change.object());
        if matches!(change, Change::Added(_) | Change::Replaced { .. }) || !same || strayed {
            queue.add(Key { quota: change.object().key(), cause: Cause::Anew });
        }
    });
    let (pods, services, claims) = (informers.lister(), informers.lister(), informers.lister());
    let device_claims = informers.lister();
    wakes.follow_whole::<Pod>(&pods, Evaluator::Pods);
    wakes.follow_whole::<Service>(&services, Evaluator::Services);
    wakes.follow_whole::<PersistentVolumeClaim>(&claims, Evaluator::Claims);
    wakes.follow_whole::<ResourceClaim>(&device_claims, Evaluator::DeviceClaims);
    let by_resource = wakes.clone();
    resources.subscribe(move |resource, lister| {
        if let Some(evaluator) = counted_by_number(&resource.group, &resource.name, resource.namespaced) {
            by_resource.follow_metadata(lister, evaluator);
        }
    });
    let reconciler = QuotaReconciler {
        client: context.client(NAME),
        clock: context.clock.clone(),
        resources: resources.clone(),
        quotas: wakes.quotas.clone(),
        pods,
        services,
        claims,
        device_claims,
    };
    let (quotas, resources) = (wakes.quotas, resources.clone());
    context.run(NAME, reconciler, wakes.queue, WORKERS, async move {
        quotas.synced().await;
        resources.synced().await;
    });
}

fn counted_by_number(group: &str, resource: &str, namespaced: bool) -> Option<Evaluator> {
    Evaluator::of(group, resource).filter(|found| namespaced && matches!(found, Evaluator::Objects { .. }))
}

/// Who is told of changes.
#[derive(Clone)]
struct Wakes {
    quotas: Lister<ResourceQuota>,
    queue: WorkQueue<Key>,
}

impl Wakes {
    fn wake(&self, namespace: &str, evaluator: &Evaluator, cause: Cause) {
        for quota in self.quotas.namespace(namespace).iter().filter(|quota| plan::concerns(quota, evaluator)) {
            self.queue.add(Key { quota: quota.key(), cause });
        }
    }

    /// Objects whose content counts.
    fn follow_whole<K: Object>(&self, objects: &Lister<K>, evaluator: Evaluator) {
        let wakes = self.clone();
        objects.subscribe(move |change: &Change<K>| {
            let usage = |object: &K| evaluator.usage(&serde_json::to_value(object).unwrap_or_default(), i64::MIN);
            let namespace = change.object().namespace();
            match change {
                Change::Added(_) => wakes.wake(namespace, &evaluator, Cause::Arrival),
                Change::Updated { old, new } if usage(old) == usage(new) => {}
                _ => wakes.wake(namespace, &evaluator, Cause::Anew),
            }
        });
    }

    /// A resource that comes to be served is counted for the first time.
    fn follow_metadata(&self, objects: &Lister<PartialObject>, evaluator: Evaluator) {
        for quota in self.quotas.list().iter().filter(|quota| plan::concerns(quota, &evaluator)) {
            self.queue.add(Key { quota: quota.key(), cause: Cause::Anew });
        }
        let wakes = self.clone();
        objects.subscribe(move |change: &Change<PartialObject>| match change {
            Change::Added(object) => wakes.wake(object.namespace(), &evaluator, Cause::Arrival),
            Change::Deleted(object) => wakes.wake(object.namespace(), &evaluator, Cause::Anew),
            Change::Updated { .. } | Change::Replaced { .. } => {}
        });
    }
}

struct QuotaReconciler {
    client: Client,
    clock: Arc<dyn Clock>,
    resources: Arc<Resources>,
    quotas: Lister<ResourceQuota>,
    pods: Lister<Pod>,
    services: Lister<Service>,
    claims: Lister<PersistentVolumeClaim>,
    device_claims: Lister<ResourceClaim>,
}

#[async_trait]
impl Reconciler for QuotaReconciler {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Requeue, ReconcileError> {
        let Some(quota) = self.quotas.get(&key.quota) else { return Ok(Requeue::AwaitChange) };
        let observed = tokio::time::timeout(LIST_MAX, self.observe(&quota)).await;
        let counted =
            observed.map_err(|_| ReconcileError::retry("a resource that the quota names cannot be listed"))?;
        let Some(status) = plan::plan(&quota, &counted, key.cause, self.clock.now().as_second()) else {
            return Ok(Requeue::AwaitChange);
        };
        let changed = ResourceQuota { status: Some(status), ..quota.as_ref().clone() };
        let api = Api::<ResourceQuota>::namespaced(&self.client, quota.namespace());
        ignore_not_found(api.update_status(&changed).await)?;
        Ok(Requeue::AwaitChange)
    }
}

impl QuotaReconciler {
    /// All objects of the kinds that the quota names.
    async fn observe(&self, quota: &ResourceQuota) -> Vec<Counted> {
        let namespace = quota.namespace();
        let mut counted = Vec::new();
        whole(&mut counted, quota, Evaluator::Pods, &self.pods).await;
        whole(&mut counted, quota, Evaluator::Services, &self.services).await;
        whole(&mut counted, quota, Evaluator::Claims, &self.claims).await;
        whole(&mut counted, quota, Evaluator::DeviceClaims, &self.device_claims).await;
        for (resource, monitor) in self.resources.monitors().iter() {
            let evaluator = counted_by_number(&resource.group, &resource.name, resource.namespaced);
            if let Some(evaluator) = evaluator.filter(|evaluator| plan::concerns(quota, evaluator)) {
                let number = number(monitor, namespace).await;
                counted.push((evaluator, vec![Value::Null; number]));
            }
        }
        counted
    }
}

async fn whole<K: Object>(
    counted: &mut Vec<Counted>,
    quota: &ResourceQuota,
    evaluator: Evaluator,
    objects: &Lister<K>,
) {
    if !plan::concerns(quota, &evaluator) {
        return;
    }
    objects.synced().await;
    let objects = objects.namespace(quota.namespace());
    let values = objects.iter().map(|object| serde_json::to_value(object.as_ref()).unwrap_or_default());
    counted.push((evaluator, values.collect()));
}

async fn number(monitor: &Monitor, namespace: &str) -> usize {
    monitor.lister.synced().await;
    monitor.lister.count_in(namespace)
}

#[cfg(test)]
mod tests {
    use controller_runtime::Informers;
    use rt::{SystemClock, TaskSet};
    use serde_json::json;
    use testkit::FakeApi;

    use super::*;

    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

    fn run() -> (FakeApi, TaskSet) {
        let (api, tasks) = (FakeApi::new(), TaskSet::new());
        let client = api.client();
        let context = Context {
            informers: Informers::new(&client, &tasks),
            client_for: Arc::new(move |_: &str| client.clone()),
            tasks: tasks.clone(),
            clock: Arc::new(SystemClock),
            config: Arc::default(),
        };
        start(&context, &crate::resources::start(&context));
        (api, tasks)
    }

    async fn wait_used(api: &FakeApi, name: &str, amount: &str) {
        let path = format!("{QUOTAS}/q");
        let used = api.wait(&path, |quota| quota.is_some_and(|quota| quota["status"]["used"][name] == amount));
        tokio::time::timeout(Duration::from_secs(30), used).await.expect("the quota is counted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_follows_custom_resources_that_come_and_go() {
        let (api, tasks) = run();
        let hard = json!({"count/widgets.example.com": "5", "configmaps": "2"});
        api.put(QUOTAS, json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}}));
        wait_used(&api, "configmaps", "0").await;
        let spec = json!({"group": "example.com", "scope": "Namespaced", "versions": [], "names": {"plural": "widgets", "kind": "Widget"}});
        api.serve("example.com", "widgets", "Widget", true);
        api.put(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            json!({"metadata": {"name": "widgets.example.com"}, "spec": spec}),
        );
        wait_used(&api, "count/widgets.example.com", "0").await;
        for name in ["a", "b"] {
            api.put(WIDGETS, json!({"metadata": {"name": name, "namespace": "default"}}));
        }
        wait_used(&api, "count/widgets.example.com", "2").await;
        api.remove(&format!("{WIDGETS}/a"));
        wait_used(&api, "count/widgets.example.com", "1").await;
        tasks.shutdown().await;
    }
}
