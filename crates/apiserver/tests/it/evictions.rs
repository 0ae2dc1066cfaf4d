//! Evictions: what budgets allow, refuse and lose to a race.

use serde_json::{Value, json};

use crate::{Answer, Bench};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A pod that a node runs, so that a deletion only marks it.
async fn pod(bench: &Bench, name: &str, status: &Value) {
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    let pod = json!({"metadata": {"name": name, "labels": {"app": "x"}}, "spec": spec});
    let created = bench.post(PODS, &pod).await;
    assert_eq!(created.code, 201, "{}", created.body);
    bench.patch(&format!("{PODS}/{name}/status"), "merge", &json!({"status": status})).await;
}

fn running(ready: &str) -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]})
}

async fn budget(bench: &Bench, name: &str, spec: Value, status: Value) {
    let mut whole = json!({"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": {}}});
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    assert_eq!(bench.post(BUDGETS, &whole).await.code, 201);
    let mut status = status;
    status["observedGeneration"] = status.get("observedGeneration").cloned().unwrap_or(json!(1));
    let set = bench.patch(&format!("{BUDGETS}/{name}/status"), "merge", &json!({"status": status})).await;
    assert_eq!(set.code, 200, "{}", set.body);
}

async fn evict(bench: &Bench, name: &str, options: Value) -> Answer {
    let mut eviction = json!({"metadata": {"name": name}});
    if !options.is_null() {
        eviction["deleteOptions"] = options;
    }
    bench.post(&format!("{PODS}/{name}/eviction"), &eviction).await
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

#[tokio::test]
async fn an_evicted_pod_says_why_it_goes_and_its_budget_pays() {
    let bench = Bench::new().await;
    pod(&bench, "p", &running("True")).await;
    budget(&bench, "b", json!({}), json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1})).await;
    assert_eq!(evict(&bench, "p", json!(null)).await.code, 201);
    let evicted = bench.get(&format!("{PODS}/p")).await.body;
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    let why = condition(&evicted, "DisruptionTarget").unwrap();
    assert_eq!((&why["reason"], &why["message"]), (&json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting")));
    let paid = bench.get(&format!("{BUDGETS}/b")).await.body;
    assert_eq!(paid["status"]["disruptionsAllowed"], 0);
    assert!(paid["status"]["disruptedPods"]["p"].is_string());
    let allowed = condition(&paid, "DisruptionAllowed").unwrap();
    let shown = (&allowed["status"], &allowed["reason"], &allowed["observedGeneration"]);
    assert_eq!(shown, (&json!("False"), &json!("InsufficientPods"), &json!(1)));
    let manager =
        paid["metadata"]["managedFields"].as_array().unwrap().iter().find(|m| m["manager"] == "kube-apiserver");
    assert_eq!(manager.unwrap()["subresource"], "status");
}

#[tokio::test]
async fn of_many_evictions_at_once_a_budget_grants_what_it_has() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    for name in &names {
        pod(&bench, name, &running("True")).await;
    }
    budget(&bench, "b", json!({}), json!({"disruptionsAllowed": 3, "currentHealthy": 12, "desiredHealthy": 9})).await;
    let answers = futures::future::join_all(names.iter().map(|name| evict(&bench, name, json!(null)))).await;
    let granted = answers.iter().filter(|answer| answer.code == 201).count();
    assert_eq!((granted, answers.iter().filter(|answer| answer.code == 429).count()), (3, 9));
    let paid = bench.get(&format!("{BUDGETS}/b")).await.body;
    assert_eq!(paid["status"]["disruptedPods"].as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn a_budget_tells_why_it_refuses() {
    let failed = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let other = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "Own", "message": "why",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let cases = [
        (json!({"observedGeneration": 0}), 10, "x is still being processed by the server."),
        (json!({"currentHealthy": 1, "desiredHealthy": 1}), 0, "x needs 1 healthy pods and has 1 currently"),
        (json!({"conditions": failed}), 0, "x does not allow evicting pods currently because it failed sync: why"),
        (json!({"currentHealthy": 2, "desiredHealthy": 1}), 0, "x does not allow evicting pods currently"),
        (
            json!({"currentHealthy": 2, "desiredHealthy": 1, "conditions": other}),
            0,
            "x does not allow evicting pods currently (Own): why",
        ),
    ];
    for (status, retry_after, cause) in cases {
        let bench = Bench::new().await;
        pod(&bench, "p", &running("True")).await;
        budget(&bench, "x", json!({}), status).await;
        let refused = evict(&bench, "p", json!(null)).await;
        assert_eq!((refused.code, &refused.body["reason"]), (429, &json!("TooManyRequests")), "{cause}");
        assert_eq!(refused.body["details"]["causes"][0]["message"], format!("The disruption budget {cause}"));
        assert_eq!(refused.body["details"]["retryAfterSeconds"].as_u64().unwrap_or(0), retry_after, "{cause}");
        let kept = bench.get(&format!("{PODS}/p")).await.body;
        assert!(condition(&kept, "DisruptionTarget").is_none(), "{cause}");
    }
}

#[tokio::test]
async fn pods_that_are_not_healthy_go_as_their_budget_says() {
    for (policy, status, code) in [
        (json!(null), json!({"currentHealthy": 0, "desiredHealthy": 1}), 429),
        (json!("IfHealthyBudget"), json!({"currentHealthy": 1, "desiredHealthy": 1}), 201),
        (json!("AlwaysAllow"), json!({"currentHealthy": 0, "desiredHealthy": 1}), 201),
    ] {
        let bench = Bench::new().await;
        pod(&bench, "p", &running("False")).await;
        budget(&bench, "b", json!({"unhealthyPodEvictionPolicy": policy}), status).await;
        let answer = evict(&bench, "p", json!(null)).await;
        assert_eq!(answer.code, code, "{policy}: {}", answer.body);
        let budget = bench.get(&format!("{BUDGETS}/b")).await.body;
        assert_eq!(budget["status"].get("disruptedPods"), None);
    }
}

#[tokio::test]
async fn two_budgets_make_a_failure() {
    let bench = Bench::new().await;
    pod(&bench, "p", &running("True")).await;
    for name in ["a", "b"] {
        budget(&bench, name, json!({}), json!({"disruptionsAllowed": 1})).await;
    }
    let answer = evict(&bench, "p", json!(null)).await;
    assert_eq!((answer.code, &answer.body["code"], &answer.body["status"]), (201, &json!(500), &json!("Failure")));
    // What no budget counts goes all the same.
    pod(&bench, "done", &json!({"phase": "Succeeded"})).await;
    assert_eq!(evict(&bench, "done", json!(null)).await.body["code"], 201);
}

#[tokio::test]
async fn a_dry_run_of_the_request_or_of_the_body_changes_nothing() {
    let bench = Bench::new().await;
    pod(&bench, "p", &running("True")).await;
    budget(&bench, "b", json!({}), json!({"disruptionsAllowed": 1})).await;
    let before = bench.get(&format!("{PODS}/p")).await.body;
    let body = json!({"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 1}});
    assert_eq!(bench.post(&format!("{PODS}/p/eviction?dryRun=All"), &body).await.code, 201);
    assert_eq!(evict(&bench, "p", json!({"dryRun": ["All"]})).await.code, 201);
    assert_eq!(bench.get(&format!("{PODS}/p")).await.body, before);
    assert_eq!(bench.get(&format!("{BUDGETS}/b")).await.body["status"]["disruptionsAllowed"], 1);
    let differs = json!({"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["All", "All"]}});
    let refused = bench.post(&format!("{PODS}/p/eviction?dryRun=All"), &differs).await;
    let why = "Non-matching dry-run options in request and content: [All] and [All All]";
    assert_eq!((refused.code, &refused.body["message"]), (500, &json!(why)));
}

#[tokio::test]
async fn only_the_pod_that_was_meant_is_evicted() {
    let bench = Bench::new().await;
    pod(&bench, "p", &running("True")).await;
    let version = bench.get(&format!("{PODS}/p")).await.body["metadata"]["resourceVersion"].clone();
    for stale in [json!({"resourceVersion": "1"}), json!({"uid": "another"})] {
        let refused = evict(&bench, "p", json!({"preconditions": stale})).await;
        assert_eq!((refused.code, &refused.body["details"]["kind"]), (409, &json!("Pod")), "{}", refused.body);
        assert!(condition(&bench.get(&format!("{PODS}/p")).await.body, "DisruptionTarget").is_none());
    }
    assert_eq!(evict(&bench, "p", json!({"preconditions": {"resourceVersion": version}})).await.code, 201);
    let unnamed = bench.post(&format!("{PODS}/p/eviction"), &json!({})).await;
    let why = "name in URL does not match name in Eviction object";
    assert_eq!((unnamed.code, &unnamed.body["message"]), (400, &json!(why)));
}
