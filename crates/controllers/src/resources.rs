//! Which resources there are, and the metadata of their objects, for controllers that know no kind.
//!
//! Reads: discovery, again whenever a CustomResourceDefinition or an APIService changes; every resource that can be listed,
//! watched and deleted.  Does not know: what is done with the objects.  Start at [`Resources::run`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::apiextensionsv1::CustomResourceDefinition;
use api::apiregistrationv1::APIService;
use api::metav1::ObjectMeta;
use client::{ApiResource, Client, Discovered, Error, PartialObject, discover_available};
use controller_runtime::{Informers, Lister};
use parking_lot::{Mutex, RwLock};
use rt::{Backoff, TaskSet};
use tokio::sync::watch;

use crate::Context;
use crate::pods::is_deleted;

const NAME: &str = "resources";
/// Events are owned by nobody and many.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];
const RETRY_INITIAL: Duration = Duration::from_millis(50);
/// A group that fails for good says so by its APIService; until then it is asked ever more rarely.
const RETRY_MAX: Duration = Duration::from_mins(5);
/// How long caches are waited for: one that never comes must not stop the others.
const SYNC_MAX: Duration = Duration::from_secs(30);

/// Follows one resource. Its reflector ends with the tasks.
pub(crate) struct Monitor {
    pub lister: Lister<PartialObject>,
    tasks: TaskSet,
}

pub(crate) type Monitors = BTreeMap<Arc<ApiResource>, Arc<Monitor>>;
type Handler = Box<dyn Fn(&Arc<ApiResource>, &Lister<PartialObject>) + Send + Sync>;

pub(crate) struct Resources {
    client: Client,
    tasks: TaskSet,
    /// Replaced as a whole, so that readers hold no lock.
    monitors: RwLock<Arc<Monitors>>,
    /// Held while resources are added and told, so that every handler sees each once.
    handlers: Mutex<Vec<Handler>>,
    /// Whether the server has answered once.
    discovered: watch::Sender<bool>,
}

pub(crate) fn start(context: &Context) -> Arc<Resources> {
    let resources = Arc::new(Resources::new(context.informers.client(), &context.tasks));
    let (definitions, services) = (context.informers.lister(), context.informers.lister());
    context.tasks.spawn_until_cancelled(NAME, resources.clone().run(definitions, services));
    resources
}

/// They are most of a definition, and many times as large here as they are in JSON.
pub(crate) fn forget_schemas(definition: &mut CustomResourceDefinition) {
    for version in &mut definition.spec.versions {
        version.schema = None;
        version.additional_printer_columns = None;
    }
}

/// Who an object is, who owns it and what holds it up is kept: all that those ask who know no kind.
fn forget_description(object: &mut PartialObject) {
    let known = std::mem::take(object).metadata;
    object.metadata = ObjectMeta {
        name: known.name,
        namespace: known.namespace,
        uid: known.uid,
        resource_version: known.resource_version,
        owner_references: known.owner_references,
        finalizers: known.finalizers,
        deletion_timestamp: known.deletion_timestamp,
        ..ObjectMeta::default()
    };
}

impl Resources {
    pub fn new(client: &Client, tasks: &TaskSet) -> Self {
        Self {
            client: client.clone(),
            tasks: tasks.clone(),
            monitors: RwLock::default(),
            handlers: Mutex::default(),
            discovered: watch::Sender::new(false),
        }
    }

    async fn run(self: Arc<Self>, definitions: Lister<CustomResourceDefinition>, services: Lister<APIService>) {
        let (changed, mut wait) = watch::channel(());
        let by_definition = changed.clone();
        definitions.subscribe(move |_| by_definition.send_modify(|()| {}));
        services.subscribe(move |_| changed.send_modify(|()| {}));
        let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX, 2.0);
        loop {
            wait.borrow_and_update();
            let complete = self.rediscover(&definitions).await.unwrap_or_else(|error| {
                tracing::info!(error = &error as &dyn std::error::Error, "discovery failed; trying again");
                false
            });
            if complete {
                backoff.reset();
                if wait.changed().await.is_err() {
                    return;
                }
            } else if let Ok(changed) = tokio::time::timeout(backoff.next(), wait.changed()).await {
                backoff.reset();
                if changed.is_err() {
                    return;
                }
            }
        }
    }

    /// Returns whether the server told everything, and nothing older than the definitions that are known here.
    async fn rediscover(&self, definitions: &Lister<CustomResourceDefinition>) -> Result<bool, Error> {
        let mut found = discover_available(&self.client).await?;
        for (place, error) in &found.failures {
            let error = error as &dyn std::error::Error;
            tracing::info!(place, error, "a group's resources cannot be discovered; what was known of it stays");
        }
        let settled = definitions.list().iter().all(|definition| is_told(definition, &found));
        let complete = settled && found.failures.is_empty();
        self.keep_failed(&mut found);
        self.follow(found.resources.into_iter().filter(followed).collect());
        self.discovered.send_replace(true);
        Ok(complete)
    }

    /// Of a group that does not answer, the last answer counts.
    fn keep_failed(&self, found: &mut Discovered) {
        for resource in self.monitors().keys() {
            let failed = found.failures.iter().any(|(place, _)| *place == resource.api_version());
            let told = || {
                let mut others = found.resources.iter();
                others.any(|other| other.group == resource.group && other.name == resource.name)
            };
            if failed && !told() {
                found.resources.push(resource.as_ref().clone());
            }
        }
    }

    /// Monitors exactly these resources from now on.
    pub fn follow(&self, resources: Vec<ApiResource>) {
        let handlers = self.handlers.lock();
        let known = self.monitors();
        let (mut monitors, mut fresh) = (Monitors::new(), Vec::new());
        for resource in resources.into_iter().map(Arc::new) {
            let running = known.get(&resource).filter(|monitor| !monitor.tasks.token().is_cancelled());
            let monitor = running.cloned().unwrap_or_else(|| {
                let monitor = Arc::new(self.monitor(&resource));
                fresh.push((resource.clone(), monitor.lister.clone()));
                monitor
            });
            monitors.insert(resource, monitor);
        }
        let gone = known.iter().filter(|(resource, _)| !monitors.contains_key(*resource));
        gone.for_each(|(_, monitor)| monitor.tasks.cancel());
        *self.monitors.write() = Arc::new(monitors);
        for (resource, lister) in &fresh {
            handlers.iter().for_each(|handler| handler(resource, lister));
        }
    }

    fn monitor(&self, resource: &ApiResource) -> Monitor {
        let tasks = self.tasks.child();
        let informers = Informers::new(&self.client, &tasks).without(forget_description).as_text::<PartialObject>();
        Monitor { lister: informers.metadata_lister(resource), tasks }
    }

    pub fn monitors(&self) -> Arc<Monitors> {
        self.monitors.read().clone()
    }

    /// Calls `handler` for every resource that is served, or comes to be. It may read monitors but not subscribe here.
    pub fn subscribe(&self, handler: impl Fn(&Arc<ApiResource>, &Lister<PartialObject>) + Send + Sync + 'static) {
        let mut handlers = self.handlers.lock();
        for (resource, monitor) in self.monitors().iter() {
            handler(resource, &monitor.lister);
        }
        handlers.push(Box::new(handler));
    }

    /// Waits until the resources are known and their objects are listed, or until that takes too long.
    pub async fn synced(&self) {
        let mut discovered = self.discovered.subscribe();
        if discovered.wait_for(|discovered| *discovered).await.is_err() {
            return;
        }
        let monitors = self.monitors();
        let listed = futures::future::join_all(monitors.values().map(|monitor| monitor.lister.synced()));
        if tokio::time::timeout(SYNC_MAX, listed).await.is_err() {
            tracing::warn!("not every resource can be listed; going on with what can");
        }
    }
}

fn followed(resource: &ApiResource) -> bool {
    ["list", "watch", "delete"].iter().all(|verb| resource.can(verb))
        && !IGNORED.contains(&(resource.group.as_str(), resource.name.as_str()))
}

/// Whether discovery agrees with what a definition says of itself: the server may learn of it a little later than a watcher.
fn is_told(definition: &CustomResourceDefinition, found: &Discovered) -> bool {
    let spec = &definition.spec;
    let holds = |kind: &str| {
        let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let expected = holds("Established") && !is_deleted(&definition.metadata);
    let served = spec.versions.iter().any(|version| version.served);
    let told = found.resources.iter().any(|one| one.group == spec.group && one.name == spec.names.plural);
    !expected || !served || told
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::FakeApi;

    use super::*;

    const GROUP: &str = "example.com";

    fn widgets() -> serde_json::Value {
        json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": GROUP, "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]}})
    }

    #[tokio::test]
    async fn definitions_are_kept_without_their_schemas() {
        let (api, tasks) = (FakeApi::new(), TaskSet::new());
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let with_schema = |mut definition: serde_json::Value| {
            definition["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": {"type": "object"}});
            definition
        };
        api.put(path, with_schema(widgets()));
        let lister = crate::informers(&api.client(), &tasks).lister::<CustomResourceDefinition>();
        lister.synced().await;
        let (seen, mut wait) = watch::channel(0);
        lister.subscribe(move |_| seen.send_modify(|seen| *seen += 1));
        let mut gadgets = with_schema(widgets());
        gadgets["metadata"]["name"] = "gadgets.example.com".into();
        api.put(path, gadgets);
        wait.wait_for(|seen| *seen == 2).await.expect("the handler lives");
        for kept in lister.list() {
            assert_eq!((kept.spec.versions[0].name.as_str(), &kept.spec.versions[0].schema), ("v1", &None));
        }
        tasks.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_resource_is_known_when_its_definition_is_and_until_it_is_not() {
        let (api, tasks) = (FakeApi::new(), TaskSet::new());
        let informers = Informers::new(&api.client(), &tasks);
        let resources = Arc::new(Resources::new(&api.client(), &tasks));
        let (told, mut wait) = watch::channel(0);
        resources.subscribe(move |resource, _| told.send_modify(|told| *told += usize::from(resource.group == GROUP)));
        tasks.spawn_until_cancelled("resources", resources.clone().run(informers.lister(), informers.lister()));
        resources.synced().await;
        assert_eq!(*wait.borrow(), 0);
        api.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgets());
        tokio::time::sleep(Duration::from_secs(1)).await; // the server is behind its own definition
        api.serve(GROUP, "widgets", "Widget", true);
        wait.wait_for(|told| *told == 1).await.expect("the handler lives");
        api.withdraw(GROUP, "widgets");
        api.remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(resources.monitors().keys().all(|resource| resource.group != GROUP));
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_resource_that_is_not_served_any_more_is_not_followed() {
        let (api, tasks) = (FakeApi::new(), TaskSet::new());
        api.serve(GROUP, "widgets", "Widget", true);
        let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}]);
        let child =
            json!({"metadata": {"name": "child", "namespace": "default", "uid": "u", "ownerReferences": owner}});
        api.put("/apis/example.com/v1/namespaces/default/widgets", child);
        let resources = Resources::new(&api.client(), &tasks);
        let found = discover_available(&api.client()).await.expect("an answer").resources;
        let widgets = found.into_iter().find(|resource| resource.group == GROUP).expect("a resource");
        resources.follow(vec![widgets.clone()]);
        let lister = resources.monitors()[&Arc::new(widgets.clone())].lister.clone();
        lister.synced().await;
        assert_eq!(lister.by_owner("gone").len(), 1);
        resources.follow(Vec::new());
        assert!(resources.monitors().is_empty());
        tasks.join().await;
    }
}
