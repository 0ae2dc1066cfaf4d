//! Namespaces and OrderedNamespaceDeletion: changed, held by finalizers, emptied, pods first.

use serde_json::{Value, json};

use super::api::{Answer, Api, condition, pod};

#[tokio::test]
async fn a_namespace_goes_with_its_pods_and_services_and_comes_back_empty() {
    let api = Api::start("namespaces-empty").await;
    let path = api.namespace("harbour").await;
    api.post(&format!("{path}/pods"), &pod("one")).await.ok();
    let service = json!({"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}});
    api.post(&format!("{path}/services"), &service).await.ok();
    api.delete(&path).await.ok();
    api.gone(&path).await;
    api.namespace("harbour").await;
    for resource in ["pods", "services"] {
        let listed = api.get(&format!("{path}/{resource}")).await.ok();
        assert_eq!(listed["items"], json!([]));
    }
}

#[tokio::test]
async fn a_namespace_is_patched_updated_and_its_status_is_written() {
    let api = Api::start("namespaces-change").await;
    let path = api.namespace("harbour").await;
    let patched =
        api.patch(&path, "strategic-merge-patch+json", &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(patched["metadata"]["labels"]["a"], "b");
    assert_eq!(patched["metadata"]["labels"]["kubernetes.io/metadata.name"], "harbour");
    let mut updated = api.get(&path).await.ok();
    updated["metadata"]["labels"]["c"] = json!("d");
    assert_eq!(api.put(&path, &updated).await.ok()["metadata"]["labels"]["c"], "d");
    status(&api, &path).await;
    let mut finalized = api.get(&path).await.ok();
    finalized["spec"]["finalizers"] = json!(["kubernetes", "example.org/held"]);
    let finalized = api.put(&format!("{path}/finalize"), &finalized).await.ok();
    assert_eq!(finalized["spec"]["finalizers"], json!(["kubernetes", "example.org/held"]));
    held(&api, &path).await;
}

async fn status(api: &Api, path: &str) {
    let one = |kind: &str| json!({"type": kind, "status": "True", "reason": "E2E", "message": "set from a test"});
    let patch =
        json!({"metadata": {"annotations": {"note": "patched"}}, "status": {"conditions": [one("StatusPatch")]}});
    let patched = api.merge(&format!("{path}/status"), &patch).await.ok();
    assert_eq!(condition(&patched, "StatusPatch").unwrap()["reason"], "E2E");
    assert_eq!(patched["metadata"]["annotations"]["note"], "patched");
    let mut updated = api.get(&format!("{path}/status")).await.ok();
    updated["status"]["conditions"].as_array_mut().unwrap().push(one("StatusUpdate"));
    let updated = api.put(&format!("{path}/status"), &updated).await.ok();
    assert_eq!(condition(&updated, "StatusUpdate").unwrap()["status"], "True");
    assert_eq!(updated["status"]["phase"], "Active");
}

/// It stays Terminating until the finalizer is taken out.
async fn held(api: &Api, path: &str) {
    api.delete(path).await.ok();
    let emptied = |answer: &Answer| (answer.body["spec"]["finalizers"] == json!(["example.org/held"])).then_some(());
    api.until(path, emptied).await;
    let mut held = api.get(path).await.ok();
    assert_eq!(held["status"]["phase"], "Terminating");
    held["spec"]["finalizers"] = json!([]);
    api.put(&format!("{path}/finalize"), &held).await.ok();
    api.gone(path).await;
}

#[tokio::test]
async fn a_namespace_that_ends_deletes_its_pods_before_anything_else() {
    let api = Api::start("namespaces-ordered").await;
    let path = api.namespace("harbour").await;
    let mut held = pod("held");
    held["metadata"]["finalizers"] = json!(["example.org/held"]);
    api.post(&format!("{path}/pods"), &held).await.ok();
    api.post(&format!("{path}/configmaps"), &json!({"metadata": {"name": "kept"}})).await.ok();
    api.delete(&path).await.ok();
    let remains = |answer: &Answer| {
        let content = condition(&answer.body, "NamespaceContentRemaining").filter(|it| it["status"] == "True")?;
        let finalizers = condition(&answer.body, "NamespaceFinalizersRemaining").filter(|it| it["status"] == "True")?;
        let message = content["message"].as_str()?.contains("pods. has 1 resource instances");
        (message && finalizers["message"].as_str()?.contains("example.org/held in 1 resource instances")).then_some(())
    };
    api.until(&path, remains).await;
    let kept = api.get(&format!("{path}/configmaps/kept")).await.ok();
    assert_eq!(kept["metadata"]["deletionTimestamp"], Value::Null, "it waits for the pod");
    let more = json!({"metadata": {"name": "more"}});
    api.post(&format!("{path}/configmaps"), &more).await.refused(403, "because it is being terminated");
    api.merge(&format!("{path}/pods/held"), &json!({"metadata": {"finalizers": null}})).await.ok();
    api.gone(&path).await;
}
