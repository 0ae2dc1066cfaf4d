//! Garbage collector: what goes with its owner, what stays, and in which order.

use serde_json::{Value, json};

use super::api::{Api, CORE, pod};

const APPS: &str = "/apis/apps/v1/namespaces/default";

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "gc"}}, "spec": {"containers": [{"name": "main", "image": "example.org/main:1"}]}})
}

fn controller(name: &str, replicas: u32, app: &str) -> Value {
    let mut template = template();
    template["metadata"]["labels"]["app"] = json!(app);
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"app": app}, "template": template}})
}

fn deployment() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "gc"}}, "template": template()}})
}

/// Until as many of these are there.
async fn count(api: &Api, path: &str, wanted: usize) -> Vec<Value> {
    let items =
        |answer: &super::api::Answer| answer.body["items"].as_array().filter(|items| items.len() == wanted).cloned();
    api.until(path, items).await
}

fn options(policy: &str) -> Value {
    json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy})
}

#[tokio::test]
async fn pods_go_with_their_replication_controller_or_stay_without_an_owner() {
    let api = Api::start("gc-controller").await;
    let (controllers, pods) = (format!("{CORE}/replicationcontrollers"), format!("{CORE}/pods"));
    api.post(&controllers, &controller("one", 2, "gc")).await.ok();
    count(&api, &pods, 2).await;
    api.delete_with(&format!("{controllers}/one"), &options("Background")).await.ok();
    count(&api, &pods, 0).await;
    api.post(&controllers, &controller("two", 3, "gc")).await.ok();
    count(&api, &pods, 3).await;
    api.delete_with(&format!("{controllers}/two"), &options("Orphan")).await.ok();
    api.gone(&format!("{controllers}/two")).await;
    let kept = count(&api, &pods, 3).await;
    assert!(kept.iter().all(|pod| pod["metadata"]["ownerReferences"].is_null()), "{kept:?}");
    let default = api.post(&controllers, &controller("three", 1, "other")).await.ok();
    count(&api, &format!("{pods}?labelSelector=app%3Dother"), 1).await;
    assert_eq!(default["metadata"]["finalizers"], Value::Null);
    api.delete_with(&format!("{controllers}/three"), &json!({"orphanDependents": true})).await.ok();
    api.gone(&format!("{controllers}/three")).await;
    count(&api, &format!("{pods}?labelSelector=app%3Dother"), 1).await;
}

#[tokio::test]
async fn replica_sets_go_with_their_deployment_or_stay_without_an_owner() {
    let api = Api::start("gc-deployment").await;
    let (deployments, sets) = (format!("{APPS}/deployments"), format!("{APPS}/replicasets"));
    api.post(&deployments, &deployment()).await.ok();
    count(&api, &sets, 1).await;
    api.delete_with(&format!("{deployments}/web"), &options("Background")).await.ok();
    count(&api, &sets, 0).await;
    count(&api, &format!("{CORE}/pods"), 0).await;
    api.post(&deployments, &deployment()).await.ok();
    count(&api, &sets, 1).await;
    count(&api, &format!("{CORE}/pods"), 2).await;
    api.delete_with(&format!("{deployments}/web"), &options("Orphan")).await.ok();
    api.gone(&format!("{deployments}/web")).await;
    let kept = count(&api, &sets, 1).await;
    assert!(kept[0]["metadata"]["ownerReferences"].is_null(), "{kept:?}");
    count(&api, &format!("{CORE}/pods"), 2).await;
}

#[tokio::test]
async fn an_owner_in_the_foreground_waits_for_its_pods() {
    let api = Api::start("gc-foreground").await;
    let (controllers, pods) = (format!("{CORE}/replicationcontrollers"), format!("{CORE}/pods"));
    api.post(&controllers, &controller("one", 2, "gc")).await.ok();
    let made = count(&api, &pods, 2).await;
    let held = format!("{pods}/{}", made[0]["metadata"]["name"].as_str().unwrap());
    api.merge(&held, &json!({"metadata": {"finalizers": ["example.org/held"]}})).await.ok();
    api.delete_with(&format!("{controllers}/one"), &options("Foreground")).await.ok();
    count(&api, &pods, 1).await;
    let owner = api.get(&format!("{controllers}/one")).await.ok();
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    api.merge(&held, &json!({"metadata": {"finalizers": null}})).await.ok();
    api.gone(&format!("{controllers}/one")).await;
    count(&api, &pods, 0).await;
}

#[tokio::test]
async fn what_has_another_valid_owner_stays_when_one_owner_waits_for_its_dependents() {
    let api = Api::start("gc-shared").await;
    let (controllers, pods) = (format!("{CORE}/replicationcontrollers"), format!("{CORE}/pods"));
    api.post(&controllers, &controller("goes", 4, "gc")).await.ok();
    let stays = api.post(&controllers, &controller("stays", 0, "other")).await.ok();
    let made = count(&api, &pods, 4).await;
    let other =
        json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "stays", "uid": stays["metadata"]["uid"]});
    for pod in &made[..2] {
        let path = format!("{pods}/{}", pod["metadata"]["name"].as_str().unwrap());
        let add = json!([{"op": "add", "path": "/metadata/ownerReferences/-", "value": other}]);
        api.patch(&path, "json-patch+json", &add).await.ok();
    }
    api.delete_with(&format!("{controllers}/goes"), &options("Foreground")).await.ok();
    api.gone(&format!("{controllers}/goes")).await;
    let kept = count(&api, &pods, 2).await;
    for pod in kept {
        let owners = pod["metadata"]["ownerReferences"].as_array().unwrap();
        assert_eq!(owners.len(), 1, "{owners:?}");
        assert_eq!(owners[0]["name"], "stays");
        assert_eq!(pod["metadata"]["deletionTimestamp"], Value::Null);
    }
}

#[tokio::test]
async fn a_circle_of_owners_goes_as_a_whole() {
    let api = Api::start("gc-circle").await;
    let pods = format!("{CORE}/pods");
    let mut uids = Vec::new();
    for name in ["a", "b", "c"] {
        uids.push(api.post(&pods, &pod(name)).await.ok()["metadata"]["uid"].clone());
    }
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let (before, uid) = (["c", "a", "b"][index], &uids[(index + 2) % 3]);
        let owner = json!({
            "apiVersion": "v1", "kind": "Pod", "name": before, "uid": uid, "controller": true,
            "blockOwnerDeletion": true,
        });
        api.merge(&format!("{pods}/{name}"), &json!({"metadata": {"ownerReferences": [owner]}})).await.ok();
    }
    api.delete_with(&format!("{pods}/a"), &options("Foreground")).await.ok();
    count(&api, &pods, 0).await;
}
