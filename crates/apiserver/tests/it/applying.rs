use auth::UserInfo;
use http::Method;
use serde_json::{Value, json};

use crate::{Answer, Bench};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const YAML: &str = "application/apply-patch+yaml";

impl Bench {
    async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.ask(Some(&UserInfo::master("admin")), Method::PATCH, path, YAML, body).await
    }

    async fn apply_text(&self, path: &str, text: &str) -> Answer {
        self.ask_text(Some(&UserInfo::master("admin")), Method::PATCH, path, YAML, text.to_owned()).await
    }

    async fn owner(&self, path: &str, manager: &str) -> Value {
        let object = self.get(path).await.body;
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries.into_iter().find(|entry| entry["manager"] == manager).unwrap_or_default()
    }
}

fn map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(replicas: Option<u32>) -> Value {
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = json!(replicas);
    }
    deployment
}

#[tokio::test]
async fn applying_creates_then_changes_and_writes_nothing_without_a_change() {
    let bench = Bench::new().await;
    let path = format!("{MAPS}/a?fieldManager=m");
    let created = bench.apply(&path, &map(&json!({"k": "1", "l": "1"}))).await;
    assert_eq!(created.code, 201);
    let again = bench.apply(&path, &map(&json!({"k": "1", "l": "1"}))).await;
    assert_eq!((again.code, &again.body), (200, &created.body));
    let changed = bench.apply(&path, &map(&json!({"k": "2"}))).await;
    assert_eq!((changed.code, &changed.body["data"]), (200, &json!({"k": "2"})));
}

#[tokio::test]
async fn an_apply_needs_a_manager_and_says_its_kind_and_name() {
    let bench = Bench::new().await;
    let path = format!("{MAPS}/a");
    assert_eq!(bench.apply(&path, &map(&json!({}))).await.code, 422);
    let named = format!("{MAPS}/b?fieldManager=m");
    assert_eq!(bench.apply(&named, &map(&json!({}))).await.code, 400);
    let kindless = bench.apply(&named, &json!({"metadata": {"name": "b"}})).await;
    assert_eq!(kindless.body["message"], "invalid object type: /, Kind=");
    let admin = UserInfo::master("admin");
    let cbor = bench.ask(Some(&admin), Method::PATCH, &named, "application/apply-patch+cbor", &json!({})).await;
    assert_eq!(cbor.code, 415);
    assert_eq!(
        bench
            .apply(
                "/api/v1/nodes/n/status?fieldManager=m",
                &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
            )
            .await
            .code,
        404
    );
}

#[tokio::test]
async fn an_apply_that_names_a_version_or_uid_means_that_one() {
    let bench = Bench::new().await;
    let path = format!("{MAPS}/a?fieldManager=m");
    let mut wanted = map(&json!({"k": "1"}));
    wanted["metadata"]["uid"] = json!("7");
    assert_eq!(bench.apply(&path, &wanted).await.code, 409);
    let created = bench.apply(&path, &map(&json!({"k": "1"}))).await.body;
    assert_eq!(bench.apply(&path, &wanted).await.code, 422, "a uid is immutable");
    wanted = map(&json!({"k": "2"}));
    wanted["metadata"]["resourceVersion"] = json!("1");
    assert_eq!(bench.apply(&path, &wanted).await.code, 409);
    wanted["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
    assert_eq!(bench.apply(&path, &wanted).await.code, 200);
}

#[tokio::test]
async fn keys_that_stand_there_twice_are_refused_when_strict() {
    let bench = Bench::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: '1'\n  k: '2'\n";
    let path = |validation: &str| format!("{MAPS}/a?fieldManager=m&fieldValidation={validation}");
    assert_eq!(bench.apply_text(&path("Strict"), yaml).await.code, 400);
    let taken = bench.apply_text(&path("Warn"), yaml).await;
    assert_eq!((taken.code, &taken.body["data"]["k"]), (201, &json!("2")));
}

#[tokio::test]
async fn the_owner_of_a_replica_count_is_known_to_the_object_and_to_its_scale() {
    let bench = Bench::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/d";
    let at = |manager: &str| format!("{path}?fieldManager={manager}");
    assert_eq!(bench.apply(&at("a"), &deployment(Some(1))).await.code, 201);
    let scale =
        |replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas}});
    let refused = bench.apply(&format!("{path}/scale?fieldManager=s"), &scale(3)).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["message"]), (409, &json!("conflict with \"a\"")));
    let forced = bench.apply(&format!("{path}/scale?fieldManager=s&force=true"), &scale(3)).await;
    assert_eq!((forced.code, &forced.body["spec"]["replicas"]), (200, &json!(3)));
    let owner = bench.owner(path, "s").await;
    assert_eq!((&owner["subresource"], &owner["apiVersion"]), (&json!("scale"), &json!("apps/v1")));
    assert!(bench.owner(path, "a").await["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    // An updater of the scale takes the count, and is known as one who used it.
    let patched =
        bench.patch(&format!("{path}/scale?fieldManager=hpa"), "merge", &json!({"spec": {"replicas": 4}})).await;
    assert_eq!(patched.code, 200);
    assert!(bench.owner(path, "s").await.is_null());
    let refused = bench.apply(&at("a"), &deployment(Some(1))).await;
    assert_eq!(
        refused.body["details"]["causes"][0]["message"],
        "conflict with \"hpa\" with subresource \"scale\" using apps/v1"
    );
    // Who does not mention the count leaves it alone.
    let left = bench.apply(&at("a"), &deployment(None)).await;
    assert_eq!(left.body["spec"]["replicas"], 4);
}

#[tokio::test]
async fn owners_of_one_version_are_respected_in_another() {
    let bench = Bench::new().await;
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/h");
    let base = |version: &str, max: u32| {
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": max, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
    };
    let mut first = base("v1", 3);
    first["spec"]["targetCPUUtilizationPercentage"] = json!(50);
    assert_eq!(bench.apply(&format!("{}?fieldManager=a", path("v1")), &first).await.code, 201);
    let refused = bench.apply(&format!("{}?fieldManager=b", path("v2")), &base("v2", 4)).await;
    assert_eq!(refused.body["details"]["causes"][0]["field"], ".spec.maxReplicas", "{}", refused.body);
    // The same manager goes on in the other version, and gives up what it had in the first.
    let moved = bench.apply(&format!("{}?fieldManager=a", path("v2")), &base("v2", 4)).await;
    assert_eq!((moved.code, &moved.body["spec"]["maxReplicas"]), (200, &json!(4)));
    let owner = bench.owner(&path("v2"), "a").await;
    assert_eq!(owner["apiVersion"], "autoscaling/v2");
}
