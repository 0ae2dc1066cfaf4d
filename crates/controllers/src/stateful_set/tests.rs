//! Plans of StatefulSets, printed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::Object;
use expect_test::{Expect, expect};
use rt::{SystemClock, TaskSet};
use serde_json::{Value, json};
use testkit::FakeApi;

use super::*;
use revisions::Revision;

const NOW: &str = "2027-01-15T08:00:00Z";

fn pod(words: &str) -> Arc<Pod> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let index = name.rsplit_once('-').expect("a number").1;
    let labels = json!({"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": index, "controller-revision-hash": "s-new"});
    let mut pod = json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": labels}, "status": {"phase": "Pending"}});
    for word in words {
        match word {
            "ready" => {
                let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-15T07:59:55Z"});
                pod["status"] = json!({"phase": "Running", "conditions": [ready]});
            }
            "failed" => pod["status"]["phase"] = "Failed".into(),
            "deleted" => pod["metadata"]["deletionTimestamp"] = NOW.into(),
            "old" => pod["metadata"]["labels"]["controller-revision-hash"] = "s-old".into(),
            other => panic!("{other}"),
        }
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn check(mut spec: Value, pods: &[&str], claims: &[Value], want: Expect) {
    spec["selector"] = json!({"matchLabels": {"app": "a"}});
    spec["template"] = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}});
    spec["serviceName"] = json!("svc");
    let set = json!({"metadata": {"name": "s", "namespace": "default", "uid": "s", "generation": 1}, "spec": spec});
    let set: StatefulSet = serde_json::from_value(set).expect("a set");
    let template = set.spec.as_ref().expect("a spec").template.clone();
    let revision = |name: &str| Revision { name: name.into(), template: template.clone() };
    let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
    let claims =
        claims.iter().map(|claim| serde_json::from_value::<PersistentVolumeClaim>(claim.clone()).expect("a claim"));
    let claims: HashMap<_, _> = claims.map(|claim| (claim.name().to_owned(), Arc::new(claim))).collect();
    let (current, update) = (revision("s-old"), revision("s-new"));
    let now = NOW.parse().expect("a time");
    let plan = plan::plan(&Observed { set: &set, pods: &pods, claims, current: &current, update: &update, now });
    let mut lines: Vec<String> = plan.actions.iter().map(print).collect();
    let status = &plan.status;
    let number = |number: Option<i32>| number.unwrap_or(0);
    lines.push(format!(
        "replicas {} ready {} available {} current {} updated {} of {}, again {:?}",
        status.replicas,
        number(status.ready_replicas),
        number(status.available_replicas),
        number(status.current_replicas),
        number(status.updated_replicas),
        status.current_revision.as_deref().unwrap_or_default(),
        plan.check_again,
    ));
    want.assert_eq(&lines.join("\n"));
}

fn print(action: &Action) -> String {
    let owners = |claim: &PersistentVolumeClaim| {
        let owners = claim.metadata.owner_references.iter().flatten();
        owners.map(|owner| format!("{} {}", owner.kind, owner.name)).collect::<Vec<_>>().join(", ")
    };
    match action {
        Action::CreateClaim(claim, pod) => format!("create claim {} for {pod} of [{}]", claim.name(), owners(claim)),
        Action::UpdateClaim(claim) => format!("update claim {} of [{}]", claim.name(), owners(claim)),
        Action::Create(pod) => format!("create {} as {}", pod.name(), identity::revision_of(pod)),
        Action::Update(pod) => format!("update {}", pod.name()),
        Action::Delete(pod) => format!("delete {}", pod.name()),
    }
}

#[test]
fn pods_come_one_after_the_other_or_all_at_once() {
    check(
        json!({"replicas": 3}),
        &[],
        &[],
        expect![[r#"
        create s-0 as s-new
        replicas 0 ready 0 available 0 current 0 updated 0 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 3}),
        &["s-0"],
        &[],
        expect!["replicas 1 ready 0 available 0 current 0 updated 1 of s-old, again None"],
    );
    check(
        json!({"replicas": 3, "ordinals": {"start": 5}}),
        &["s-5 ready"],
        &[],
        expect![[r#"
        create s-6 as s-new
        replicas 1 ready 1 available 1 current 0 updated 1 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 3, "podManagementPolicy": "Parallel"}),
        &["s-1"],
        &[],
        expect![[r#"
        create s-0 as s-new
        create s-2 as s-new
        replicas 1 ready 0 available 0 current 0 updated 1 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 2, "minReadySeconds": 10}),
        &["s-0 ready"],
        &[],
        expect!["replicas 1 ready 1 available 0 current 0 updated 1 of s-old, again Some(5s)"],
    );
}

#[test]
fn pods_go_from_the_highest_down() {
    check(
        json!({"replicas": 1}),
        &["s-0 ready", "s-1 ready", "s-2 ready"],
        &[],
        expect![[r#"
        delete s-2
        replicas 3 ready 3 available 3 current 0 updated 3 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 1}),
        &["s-0 ready", "s-1 ready", "s-2 ready deleted"],
        &[],
        expect!["replicas 3 ready 3 available 3 current 0 updated 2 of s-old, again None"],
    );
    check(
        json!({"replicas": 1}),
        &["s-0 ready", "s-1", "s-2 ready"],
        &[],
        expect![[r#"
        delete s-2
        replicas 3 ready 2 available 2 current 0 updated 3 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 0, "podManagementPolicy": "Parallel"}),
        &["s-0 ready", "s-1"],
        &[],
        expect![[r#"
        delete s-1
        delete s-0
        replicas 2 ready 1 available 1 current 0 updated 2 of s-old, again None"#]],
    );
}

#[test]
fn a_failed_pod_is_made_anew_once_it_is_gone() {
    check(
        json!({"replicas": 2}),
        &["s-0 failed", "s-1 ready"],
        &[],
        expect![[r#"
        delete s-0
        replicas 2 ready 1 available 1 current 0 updated 2 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 2}),
        &["s-0 failed deleted", "s-1 ready"],
        &[],
        expect!["replicas 2 ready 1 available 1 current 0 updated 1 of s-old, again None"],
    );
}

#[test]
fn an_update_rolls_from_the_highest_down_to_the_partition() {
    let old = ["s-0 old ready", "s-1 old ready", "s-2 old ready"];
    let rolling =
        |rolling: Value| json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
    check(
        rolling(json!({"partition": 0})),
        &old,
        &[],
        expect![[r#"
        delete s-2
        replicas 3 ready 3 available 3 current 2 updated 0 of s-old, again None"#]],
    );
    check(
        rolling(json!({"partition": 2})),
        &["s-0 old ready", "s-1 old ready", "s-2 ready"],
        &[],
        expect!["replicas 3 ready 3 available 3 current 2 updated 1 of s-old, again None"],
    );
    check(
        rolling(json!({"partition": 1})),
        &["s-1 old ready", "s-2 ready"],
        &[],
        expect![[r#"
        create s-0 as s-old
        replicas 2 ready 2 available 2 current 1 updated 1 of s-old, again None"#]],
    );
    check(
        rolling(json!({"partition": 0, "maxUnavailable": 2})),
        &old,
        &[],
        expect![[r#"
        delete s-2
        delete s-1
        replicas 3 ready 3 available 3 current 1 updated 0 of s-old, again None"#]],
    );
    check(
        json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}),
        &old,
        &[],
        expect!["replicas 3 ready 3 available 3 current 3 updated 0 of s-old, again None"],
    );
    check(
        rolling(json!({})),
        &["s-0 ready", "s-1 ready", "s-2 ready"],
        &[],
        expect!["replicas 3 ready 3 available 3 current 3 updated 3 of s-new, again None"],
    );
}

#[test]
fn claims_come_before_their_pod_and_go_as_the_policy_says() {
    let spec = |deleted: &str, scaled: &str, replicas: i32| {
        json!({"replicas": replicas,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}})
    };
    let claim =
        |owners: Value| json!({"metadata": {"name": "data-s-0", "namespace": "default", "ownerReferences": owners}});
    check(
        spec("Retain", "Retain", 1),
        &[],
        &[],
        expect![[r#"
        create claim data-s-0 for s-0 of []
        create s-0 as s-new
        replicas 0 ready 0 available 0 current 0 updated 0 of s-old, again None"#]],
    );
    check(
        spec("Delete", "Retain", 1),
        &[],
        &[],
        expect![[r#"
        create claim data-s-0 for s-0 of [StatefulSet s]
        create s-0 as s-new
        replicas 0 ready 0 available 0 current 0 updated 0 of s-old, again None"#]],
    );
    check(
        spec("Delete", "Retain", 1),
        &["s-0 ready"],
        &[claim(json!([]))],
        expect![[r#"
        update claim data-s-0 of [StatefulSet s]
        replicas 1 ready 1 available 1 current 1 updated 1 of s-new, again None"#]],
    );
    check(
        spec("Retain", "Delete", 0),
        &["s-0 ready"],
        &[claim(json!([]))],
        expect![[r#"
        update claim data-s-0 of [Pod s-0]
        delete s-0
        replicas 1 ready 1 available 1 current 0 updated 1 of s-old, again None"#]],
    );
    let stale = json!([{"apiVersion": "v1", "kind": "Pod", "name": "s-0", "uid": "earlier", "controller": true}]);
    check(
        spec("Retain", "Delete", 1),
        &[],
        &[claim(stale)],
        expect!["replicas 0 ready 0 available 0 current 0 updated 0 of s-old, again None"],
    );
}

#[test]
fn a_pod_is_named_numbered_and_mounted() {
    let set = json!({"metadata": {"name": "s", "namespace": "default", "uid": "s"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "serviceName": "svc", "template": {}, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
    let set: StatefulSet = serde_json::from_value(set).expect("a set");
    let pod = identity::new_pod(&set, &Revision { name: "s-new".into(), template: Default::default() }, 3);
    let labels = serde_json::to_string(&pod.metadata.labels).expect("JSON");
    let spec = serde_json::to_string(&pod.spec).expect("JSON");
    expect![[r#"
        s-3 {"apps.kubernetes.io/pod-index":"3","controller-revision-hash":"s-new","statefulset.kubernetes.io/pod-name":"s-3"}
        {"containers":[],"hostname":"s-3","subdomain":"svc","volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data-s-3"}}]}"#]].assert_eq(&format!("{} {labels}\n{spec}", pod.name()));
}

/// The cache has not the whole pod: nothing of it may be lost when the pod gets its labels.
#[tokio::test(start_paused = true)]
async fn a_pod_without_its_labels_gets_them_and_keeps_all_else() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let (api, tasks) = (FakeApi::new(), TaskSet::new());
    let client = api.client();
    let context = Context {
        informers: crate::informers(&client, &tasks),
        client_for: Arc::new(move |_: &str| client.clone()),
        tasks: tasks.clone(),
        clock: Arc::new(SystemClock),
        config: Arc::default(),
    };
    let container = json!({"name": "c", "image": "web", "env": [{"name": "MODE", "value": "on"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}}});
    let labels = json!({"app": "s"});
    let spec = json!({"replicas": 1, "serviceName": "s", "selector": {"matchLabels": labels}, "updateStrategy": {"type": "OnDelete"},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}});
    api.put(
        "/apis/apps/v1/namespaces/default/statefulsets",
        json!({"metadata": {"name": "s", "namespace": "default", "uid": "s"}, "spec": spec}),
    );
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "s", "controller": true});
    let metadata =
        json!({"name": "s-0", "namespace": "default", "uid": "p", "labels": labels, "ownerReferences": [owner]});
    let secret = json!({"name": "key", "secret": {"secretName": "key"}});
    let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let spec = json!({"containers": [container], "volumes": [secret], "hostname": "s-0"});
    api.put(PODS, json!({"metadata": metadata, "spec": spec, "status": status}));
    start(&context);
    let labelled = |pod: &serde_json::Value| pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "s-0";
    let pod =
        tokio::time::timeout(Duration::from_secs(60), api.wait_for(PODS, labelled)).await.expect("it is labelled");
    assert_eq!(
        (&pod["metadata"]["uid"], &pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"]),
        (&json!("p"), &json!("0"))
    );
    assert_eq!((&pod["spec"]["containers"][0], &pod["spec"]["volumes"][0]), (&container, &secret));
    tasks.shutdown().await;
}
