//! The API server as a test holds it.

use std::sync::Arc;

use apimachinery::Status;
use client::Client;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::discovery::Served;
use crate::path::{Key, Selection};
use crate::state::State;

/// A request, as a reactor sees it.
#[derive(Debug)]
pub struct Call<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub content: &'a Value,
}

type Reactor = Box<dyn Fn(&Call<'_>) -> Option<Status> + Send + Sync>;

/// An API server in memory. Clones share the objects.
///
/// A path is that of an object, `/api/v1/namespaces/default/pods/web`; a collection's ends with the plural name.
#[derive(Clone)]
pub struct FakeApi {
    pub(crate) state: Arc<Mutex<State>>,
    /// Moves with every write, for those who wait.
    pub(crate) revision: watch::Sender<u64>,
    pub(crate) reactors: Arc<Mutex<Vec<Reactor>>>,
}

impl Default for FakeApi {
    fn default() -> Self {
        Self { state: Arc::default(), revision: watch::Sender::new(0), reactors: Arc::default() }
    }
}

impl FakeApi {
    pub fn new() -> FakeApi {
        FakeApi::default()
    }

    pub fn client(&self) -> Client {
        Client::new(Arc::new(self.clone()), "test")
    }

    /// Creates the object in the collection, or replaces it.
    pub fn put(&self, collection: &str, object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.commit(Key::object(collection).named(&name), Some(object)).expect("it is there now")
    }

    /// Takes the object away at once.
    pub fn remove(&self, path: &str) -> Option<Value> {
        self.commit(Key::object(path), None)
    }

    /// What a user's delete does to a pod that runs.
    pub fn mark_deleted(&self, path: &str, grace: i64) {
        let mut object = self.get(path).expect("an object");
        object["metadata"]["deletionTimestamp"] = now();
        object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.commit(Key::object(path), Some(object));
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(&Key::object(path)).cloned()
    }

    pub fn list(&self, collection: &str) -> Vec<Value> {
        let selection = Selection::new(Key::object(collection), "");
        self.state.lock().list(&selection).into_iter().cloned().collect()
    }

    /// Waits until `wanted` says yes to the object at `path`.
    pub async fn wait(&self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        self.wait_until(|api| Some(api.get(path)).filter(|object| wanted(object.as_ref()))).await
    }

    /// Waits until one of the collection is as wanted.
    pub async fn wait_for(&self, collection: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(|api| api.list(collection).into_iter().find(|object| wanted(object))).await
    }

    /// Waits until `look` finds something, which it is asked after every write.
    pub async fn wait_until<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        let mut revision = self.revision.subscribe();
        loop {
            revision.borrow_and_update();
            if let Some(found) = look(self) {
                return found;
            }
            revision.changed().await.expect("the API lives");
        }
    }

    pub fn revision(&self) -> usize {
        self.state.lock().changes.len()
    }

    /// What became of the object after a revision, one state for each change.
    pub fn since(&self, revision: usize, path: &str) -> Vec<Value> {
        let (state, key) = (self.state.lock(), Key::object(path));
        let changes = state.changes[revision..].iter().filter(|change| change.key == key);
        changes.map(|change| change.object.clone()).collect()
    }

    /// Reasons and messages of all events, in the order in which they were last written.
    pub fn events(&self) -> Vec<String> {
        let mut events = self.list("/api/v1/events");
        events.sort_by_key(|event| version(event).and_then(|version| version.parse::<u64>().ok()));
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        events.iter().map(|event| format!("{}: {}", text(event, "reason"), text(event, "message"))).collect()
    }

    /// Asks `reactor` before every request that writes. What it answers is the answer.
    pub fn react(&self, reactor: impl Fn(&Call<'_>) -> Option<Status> + Send + Sync + 'static) {
        self.reactors.lock().push(Box::new(reactor));
    }

    /// Serves one more resource, in version `v1` of a group of its own.
    pub fn serve(&self, group: &str, name: &str, kind: &str, namespaced: bool) {
        let (group, name, kind) = (group.to_owned(), name.to_owned(), kind.to_owned());
        self.state.lock().served.push(Served { group, name, kind, namespaced });
    }

    /// Serves it no more.
    pub fn withdraw(&self, group: &str, name: &str) {
        self.state.lock().served.retain(|served| served.group != group || served.name != name);
    }

    pub(crate) fn commit(&self, key: Key, object: Option<Value>) -> Option<Value> {
        let mut state = self.state.lock();
        let object = state.commit(key, object);
        self.revision.send_replace(state.revision());
        object
    }
}

pub(crate) fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

pub(crate) fn now() -> Value {
    json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use api::corev1::Pod;
    use client::{Api, ListParams, Patch, WatchEvent};
    use futures::StreamExt;

    use super::*;

    const PODS: &str = "/api/v1/namespaces/default/pods";

    fn pod(name: &str, node: &str) -> Value {
        json!({ "metadata": { "name": name, "namespace": "default" }, "spec": { "nodeName": node, "containers": [] } })
    }

    #[tokio::test]
    async fn a_watch_tells_what_came_after_a_version_as_its_selection_sees_it() {
        let api = FakeApi::new();
        api.put(PODS, pod("before", "a"));
        let from = api.revision().to_string();
        api.put(PODS, pod("web", "a"));
        api.put(PODS, pod("web", "a"));
        api.put(PODS, pod("web", "b"));
        api.remove(&format!("{PODS}/before"));
        let pods = Api::<Pod>::all(&api.client());
        let mut events = pods.watch(&ListParams::fields("spec.nodeName=a"), &from).await.expect("a watch");
        let mut told = Vec::new();
        while told.len() < 3 {
            let (kind, pod) = match events.next().await.expect("it goes on").expect("an event") {
                WatchEvent::Added(pod) => ("added", pod),
                WatchEvent::Modified(pod) => ("modified", pod),
                WatchEvent::Deleted(pod) => ("deleted", pod),
                WatchEvent::Bookmark { .. } => continue,
            };
            let (name, version) = (pod.metadata.name, pod.metadata.resource_version);
            told.push(format!("{kind} {} {}", name.expect("a name"), version.expect("a version")));
        }
        assert_eq!(told, ["added web 2", "deleted web 3", "deleted before 4"]);
    }

    #[tokio::test]
    async fn a_write_on_an_old_version_is_a_conflict_and_a_strategic_patch_merges_lists() {
        let api = FakeApi::new();
        let pods = Api::<Pod>::namespaced(&api.client(), "default");
        api.put(PODS, pod("web", "a"));
        let old = pods.get("web").await.expect("a pod");
        for kind in ["Ready", "Initialized"] {
            let patch = json!({ "status": { "conditions": [{ "type": kind, "status": "True" }] } });
            pods.patch_status("web", &Patch::Strategic(patch)).await.expect("a patch");
        }
        let patched = api.get(&format!("{PODS}/web")).expect("a pod");
        assert_eq!(patched["status"]["conditions"].as_array().map(Vec::len), Some(2));
        assert!(pods.update(&old).await.expect_err("a conflict").is_conflict());
    }
}
