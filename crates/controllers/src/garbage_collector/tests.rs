//! The collector against an API whose resources come and go.

use controller_runtime::Informers;
use rt::{SystemClock, TaskSet};
use serde_json::Value;
use testkit::FakeApi;

use super::*;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const GROUP: &str = "example.com";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
/// More than it takes to discover, to list and to delete.
const PATIENCE: Duration = Duration::from_secs(90);

fn owned_by(api_version: &str, kind: &str) -> Value {
    let owner = json!({"apiVersion": api_version, "kind": kind, "name": "gone", "uid": "gone"});
    json!({"metadata": {"name": "child", "namespace": "default", "uid": "child", "ownerReferences": [owner]}})
}

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
    start(&context);
    (api, tasks)
}

async fn wait_gone(api: &FakeApi, path: &str) {
    let gone = api.wait(path, |object| object.is_none());
    tokio::time::timeout(PATIENCE, gone).await.expect("the object is collected");
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_resource_that_appears_later_are_collected() {
    let (api, tasks) = run();
    api.put(CONFIG_MAPS, owned_by("v1", "ConfigMap"));
    wait_gone(&api, &format!("{CONFIG_MAPS}/child")).await;
    api.serve(GROUP, "widgets", "Widget", true);
    api.put(WIDGETS, owned_by("v1", "ConfigMap"));
    wait_gone(&api, &format!("{WIDGETS}/child")).await;
    tasks.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_of_an_unknown_kind_counts_as_living_until_the_kind_is_served() {
    let (api, tasks) = run();
    api.put(CONFIG_MAPS, owned_by("example.com/v1", "Widget"));
    let child = format!("{CONFIG_MAPS}/child");
    let gone = api.wait(&child, |object| object.is_none());
    tokio::time::timeout(PATIENCE, gone).await.expect_err("nothing is known of the owner");
    api.serve(GROUP, "widgets", "Widget", true);
    wait_gone(&api, &child).await;
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_resource_that_is_not_served_any_more_is_not_followed() {
    let (api, tasks) = (FakeApi::new(), TaskSet::new());
    api.serve(GROUP, "widgets", "Widget", true);
    api.put(WIDGETS, owned_by("v1", "ConfigMap"));
    let graph = Graph::new(&api.client(), &tasks);
    let widgets = resources(&api.client()).await.into_iter().find(|resource| resource.group == GROUP);
    let fresh = graph.follow(vec![widgets.clone().expect("a resource")]);
    graph.synced().await;
    assert_eq!((fresh.len(), graph.dependents("gone").len()), (1, 1));
    assert!(graph.follow(vec![widgets.expect("a resource")]).is_empty());
    api.withdraw(GROUP, "widgets");
    assert!(resources(&api.client()).await.iter().all(|resource| resource.group != GROUP));
    graph.follow(Vec::new());
    assert!(graph.dependents("gone").is_empty());
    tasks.join().await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_deleted_in_the_foreground_takes_its_dependents_along() {
    let (api, tasks) = run();
    let owner = json!({"metadata": {"name": "owner", "namespace": "default", "uid": "owner", "finalizers": [plan::FOREGROUND]}});
    api.put(CONFIG_MAPS, owner);
    let mut child = owned_by("v1", "ConfigMap");
    child["metadata"]["ownerReferences"][0] =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "owner", "blockOwnerDeletion": true});
    api.put(CONFIG_MAPS, child);
    tokio::time::sleep(Duration::from_secs(1)).await;
    api.mark_deleted(&format!("{CONFIG_MAPS}/owner"), 0);
    wait_gone(&api, &format!("{CONFIG_MAPS}/child")).await;
    let free = |object: Option<&Value>| object.is_none_or(|owner| owner["metadata"]["finalizers"] == json!([]));
    let owner = format!("{CONFIG_MAPS}/owner");
    let freed = api.wait(&owner, free);
    tokio::time::timeout(PATIENCE, freed).await.expect("the owner may go");
    tasks.shutdown().await;
}
