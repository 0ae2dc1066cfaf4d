use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::Bench;
use crate::watching::Watch;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let bench = Bench::new().await;
    let created = bench.post(MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    assert_eq!((created.code, &created.body["kind"]), (201, &json!("ConfigMap")));
    let path = format!("{MAPS}/a");
    assert_eq!(bench.get(&path).await.body, created.body);
    let patched = bench.patch(&path, "merge", &json!({"data": {"k": null, "l": "w"}})).await;
    assert_eq!(patched.body["data"], json!({"l": "w"}));
    assert_ne!(patched.body["metadata"]["resourceVersion"], created.body["metadata"]["resourceVersion"]);
    let stale = bench.put(&path, &created.body).await;
    assert_eq!((stale.code, &stale.body["reason"]), (409, &json!("Conflict")));
    let deleted = bench.delete(&path).await;
    assert_eq!((deleted.code, &deleted.body["status"]), (200, &json!("Success")));
    assert_eq!(bench.get(&path).await.code, 404);
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_not_written() {
    let bench = Bench::new().await;
    let created = bench.post(MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let same = bench.patch(&format!("{MAPS}/a"), "merge", &json!({"data": {"k": "v"}})).await;
    assert_eq!(same.body["metadata"]["resourceVersion"], created.body["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_dry_run_answers_but_stores_nothing() {
    let bench = Bench::new().await;
    let answer = bench.post(&format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(answer.code, 201);
    assert_eq!(bench.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn pages_of_a_list_are_of_one_revision() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.post(MAPS, &json!({"metadata": {"name": name}})).await;
    }
    let first = bench.get(&format!("{MAPS}?limit=2")).await.body;
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    bench.post(MAPS, &json!({"metadata": {"name": "d"}})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = bench.get(&format!("{MAPS}?limit=2&continue={token}")).await.body;
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let bench = Bench::new().await;
    let map = json!({"metadata": {"name": "a", "finalizers": ["example.com/x"]}});
    bench.post(MAPS, &map).await;
    let path = format!("{MAPS}/a");
    let marked = bench.delete(&path).await.body;
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(bench.get(&path).await.code, 200);
    bench.patch(&path, "merge", &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(bench.get(&path).await.code, 404);
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_ends() {
    let bench = Bench::new().await;
    bench.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    assert_eq!(bench.delete("/api/v1/namespaces/n").await.body["status"]["phase"], "Terminating");
    let refused = bench.post("/api/v1/namespaces/n/configmaps", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    let missing = bench.post("/api/v1/namespaces/none/configmaps", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(missing.code, 404);
    let mut namespace = bench.get("/api/v1/namespaces/n").await.body;
    namespace["spec"] = json!({"finalizers": []});
    assert_eq!(bench.put("/api/v1/namespaces/n/finalize", &namespace).await.code, 200);
    assert_eq!(bench.get("/api/v1/namespaces/n").await.code, 404);
}

#[tokio::test]
async fn a_pod_is_bound_once_and_evicted_within_its_budget() {
    let bench = Bench::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "metadata": {"name": "p", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let created = bench.post(pods, &pod).await;
    assert_eq!(created.code, 201, "{}", created.body);
    assert_eq!(created.body["spec"]["serviceAccountName"], "default");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(bench.post(&format!("{pods}/p/binding"), &binding).await.code, 201);
    assert_eq!(bench.post(&format!("{pods}/p/binding"), &binding).await.code, 409);
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    bench.patch(&format!("{pods}/p/status"), "merge", &status).await;
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    let budget = bench.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", &budget).await;
    assert_eq!(budget.code, 201, "{}", budget.body);
    let eviction = json!({"metadata": {"name": "p"}});
    assert_eq!(bench.post(&format!("{pods}/p/eviction"), &eviction).await.code, 429);
    bench.delete("/apis/policy/v1/namespaces/default/poddisruptionbudgets/b").await;
    assert_eq!(bench.post(&format!("{pods}/p/eviction"), &eviction).await.code, 201);
    assert!(bench.get(&format!("{pods}/p")).await.body["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn a_pod_waits_for_the_default_account_of_a_new_namespace() {
    let bench = Bench::new().await;
    assert_eq!(bench.post("/api/v1/namespaces", &json!({"metadata": {"name": "fresh"}})).await.code, 201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let account = json!({"metadata": {"name": "default"}});
    // The pod is asked for first, and cannot be answered before the account is there.
    let (pod, account) = tokio::join!(
        bench.post("/api/v1/namespaces/fresh/pods", &pod),
        bench.post("/api/v1/namespaces/fresh/serviceaccounts", &account),
    );
    assert_eq!((pod.code, account.code), (201, 201), "{}", pod.body);
    assert_eq!(pod.body["spec"]["serviceAccountName"], "default");
}

#[tokio::test]
async fn a_strict_patch_names_the_unknown_field() {
    let bench = Bench::new().await;
    let path = "/api/v1/namespaces/default/configmaps";
    assert_eq!(bench.post(path, &json!({"metadata": {"name": "c"}})).await.code, 201);
    let answer = bench.patch(&format!("{path}/c?fieldValidation=Strict"), "merge", &json!({"dat": {"a": "b"}})).await;
    assert_eq!(answer.code, 422);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.ends_with(r#": strict decoding error: unknown field "dat""#), "{message}");
    let renamed = bench.patch(&format!("{path}/c"), "merge", &json!({"kind": "Secret"})).await;
    assert_eq!(renamed.code, 422, "{}", renamed.body);
}

const PODS: &str = "/api/v1/namespaces/default/pods";

/// As the collector of pods does, who saw them end.
async fn collect(bench: Arc<Bench>) {
    let mut watch = Watch::at(&bench, &format!("{PODS}?watch=1")).await;
    while let Some((_, pod)) = watch.next().await {
        if pod["metadata"]["deletionTimestamp"].is_string() {
            bench.delete(&format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap())).await;
        }
    }
}

/// As the scheduler does, who cannot place the newest pod.
async fn write(bench: Arc<Bench>, newest: Arc<AtomicUsize>) {
    for count in 0.. {
        let path = format!("{PODS}/p{}/status", newest.load(Ordering::Relaxed));
        bench.patch(&path, "merge", &json!({"status": {"message": format!("try {count}")}})).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deletion_succeeds_whoever_writes_the_pod_or_takes_it_away_meanwhile() {
    let (bench, newest) = (Arc::new(Bench::new().await), Arc::new(AtomicUsize::new(0)));
    let mut others = tokio::task::JoinSet::new();
    others.spawn(collect(bench.clone()));
    others.spawn(write(bench.clone(), newest.clone()));
    others.spawn(write(bench.clone(), newest.clone()));
    for index in 0..200 {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let created = bench.post(PODS, &json!({"metadata": {"name": format!("p{index}")}, "spec": spec})).await;
        assert_eq!(created.code, 201);
        newest.store(index, Ordering::Relaxed);
        let answer = bench.delete(&format!("{PODS}/p{index}")).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
    }
}

#[tokio::test]
async fn one_name_is_found_in_all_namespaces() {
    let bench = Bench::new().await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "a"}})).await.code, 201);
    let list = bench.get("/api/v1/configmaps?fieldSelector=metadata.name%3Da").await;
    assert_eq!((list.code, list.body["items"].as_array().map(Vec::len)), (200, Some(1)));
    let put = bench.put("/api/v1/configmaps", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(put.code, 405, "{}", put.body);
}

#[tokio::test]
async fn a_patch_changes_nothing_that_says_which_object_it_is() {
    let bench = Bench::new().await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "a"}})).await.code, 201);
    let path = format!("{MAPS}/a");
    for (metadata, code) in [
        (json!(null), 400),
        (json!({"name": null}), 400),
        (json!({"name": "b"}), 400),
        (json!({"uid": "u"}), 422),
        (json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), 422),
        (json!({"deletionGracePeriodSeconds": 5}), 422),
        (json!({"resourceVersion": "1"}), 409),
        (json!({"resourceVersion": "0"}), 200),
        (json!({"creationTimestamp": "2020-01-01T00:00:00Z", "generation": 7}), 200),
    ] {
        let answer = bench.patch(&path, "merge", &json!({"metadata": metadata})).await;
        assert_eq!(answer.code, code, "{metadata}: {}", answer.body);
    }
}

#[tokio::test]
async fn statuses_are_written_with_labels_but_for_the_kinds_that_keep_them() {
    let bench = Bench::new().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let storage = json!({"requests": {"storage": "1Gi"}});
    let claim = json!({"metadata": {"name": "a"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": storage}});
    assert_eq!(bench.post(claims, &claim).await.code, 201);
    let pod = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"x": "y"}}, "template": pod});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(bench.post(deployments, &json!({"metadata": {"name": "a"}, "spec": spec})).await.code, 201);
    let labelled = json!({"metadata": {"labels": {"l": "m"}}});
    let claim = bench.patch(&format!("{claims}/a/status"), "merge", &labelled).await;
    assert_eq!(claim.body["metadata"]["labels"], json!({"l": "m"}));
    let deployment = bench.patch(&format!("{deployments}/a/status"), "merge", &labelled).await;
    assert_eq!((deployment.code, deployment.body["metadata"].get("labels")), (200, None));
}

#[tokio::test]
async fn a_limit_range_without_a_name_gets_one() {
    let bench = Bench::new().await;
    let made = bench.post("/api/v1/namespaces/default/limitranges", &json!({"spec": {"limits": []}})).await;
    assert_eq!((made.code, made.body["metadata"]["name"].as_str().map(str::len)), (201, Some(36)), "{}", made.body);
}
