//! AdmissionWebhook: configurations are listed, changed and refused, and are in force from the next request on.

use serde_json::{Value, json};

use super::api::{Api, CORE, names};
use super::https::Https;

pub const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
pub const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// A configuration of these webhooks.
pub fn configuration(name: &str, hooks: Vec<Value>) -> Value {
    json!({"metadata": {"name": name}, "webhooks": hooks})
}

/// A webhook without side effects.
pub fn hook(name: &str, client_config: Value, rules: Value) -> Value {
    json!({
        "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1", "v1beta1"], "clientConfig": client_config, "rules": rules,
    })
}

fn maps(operations: &[&str]) -> Value {
    json!([{"operations": operations, "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}])
}

/// Refuses in a validating configuration, adds a key in a mutating one.
async fn server(path: &'static str) -> Https {
    // [{"op":"add","path":"/data/touched","value":"yes"}]
    const PATCH: &str = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEvdG91Y2hlZCIsInZhbHVlIjoieWVzIn1d";
    Https::reviewing(move |_, _| match path {
        VALIDATING => json!({"allowed": false, "status": {"message": "refused"}}),
        _ => json!({"allowed": true, "patchType": "JSONPatch", "patch": PATCH}),
    })
    .await
}

/// Whether a new config map meets the webhook.
async fn touched(api: &Api, name: &str) -> bool {
    let made = api.post(&format!("{CORE}/configmaps"), &json!({"metadata": {"name": name}, "data": {"a": "b"}})).await;
    made.code == 400 || made.code == 403 || made.ok()["data"]["touched"] == "yes"
}

#[tokio::test]
async fn configurations_of_webhooks_are_in_force_as_they_are_changed() {
    let api = Api::start("webhooks-change").await;
    for (path, word) in [(VALIDATING, "validating"), (MUTATING, "mutating")] {
        let server = server(path).await;
        let one = hook("one.example.org", server.client_config("/"), maps(&["CREATE"]));
        let mut stored = api.post(path, &configuration(word, vec![one])).await.ok();
        assert!(touched(&api, &format!("{word}-1")).await);
        let own = format!("{path}/{word}");
        stored["webhooks"][0]["rules"] = maps(&["UPDATE"]);
        api.put(&own, &stored).await.ok();
        assert!(!touched(&api, &format!("{word}-2")).await);
        let back = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations/0", "value": "CREATE"}]);
        api.patch(&own, "json-patch+json", &back).await.ok();
        assert!(touched(&api, &format!("{word}-3")).await);
        api.delete(&own).await.ok();
        assert!(!touched(&api, &format!("{word}-4")).await);
    }
}

#[tokio::test]
async fn configurations_of_webhooks_are_listed_and_deleted_together() {
    let api = Api::start("webhooks-list").await;
    for path in [VALIDATING, MUTATING] {
        let server = server(path).await;
        for name in ["a", "b", "c"] {
            let one = hook("one.example.org", server.client_config("/"), maps(&["CREATE"]));
            let mut made = configuration(name, vec![one]);
            made["metadata"]["labels"] = json!({"of": "conformance"});
            api.post(path, &made).await.ok();
        }
        let list = format!("{path}?labelSelector=of%3Dconformance");
        assert_eq!(names(&api.get(&list).await.ok()), ["a", "b", "c"]);
        let name = path.rsplit_once('/').unwrap().1;
        assert!(touched(&api, &format!("{name}-1")).await);
        api.delete(&list).await.ok();
        assert!(names(&api.get(&list).await.ok()).is_empty());
        assert!(!touched(&api, &format!("{name}-2")).await);
    }
    discovered(&api).await;
}

async fn discovered(api: &Api) {
    let groups = api.get("/apis").await.ok();
    let group = groups["groups"].as_array().unwrap().iter().find(|it| it["name"] == "admissionregistration.k8s.io");
    let version = json!({"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"});
    assert!(group.unwrap()["versions"].as_array().unwrap().contains(&version), "{group:?}");
    let resources = api.get("/apis/admissionregistration.k8s.io/v1").await.ok();
    let resources: Vec<_> = resources["resources"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    for path in [VALIDATING, MUTATING] {
        assert!(resources.contains(&json!(path.rsplit_once('/').unwrap().1)), "{resources:?}");
    }
}

#[tokio::test]
async fn match_conditions_choose_what_a_webhook_is_asked_and_must_compile() {
    let api = Api::start("webhooks-conditions").await;
    for path in [VALIDATING, MUTATING] {
        let word = path.rsplit_once('/').unwrap().1;
        let server = server(path).await;
        let mut one = hook("one.example.org", server.client_config("/"), maps(&["CREATE"]));
        one["matchConditions"] = json!([{"name": "named", "expression": "object.metadata.name == 'none'"}]);
        let stored = api.post(path, &configuration("conditions", vec![one.clone()])).await.ok();
        assert_eq!(stored["webhooks"][0]["matchConditions"], one["matchConditions"]);
        assert!(!touched(&api, &format!("{word}-1")).await);
        let other = json!({"name": "kind", "expression": "object.metadata.name.startsWith('validating') || true"});
        let changed = json!([{"op": "replace", "path": "/webhooks/0/matchConditions", "value": [other]}]);
        let own = format!("{path}/conditions");
        let stored = api.patch(&own, "json-patch+json", &changed).await.ok();
        assert_eq!(stored["webhooks"][0]["matchConditions"], json!([other]));
        assert!(touched(&api, &format!("{word}-2")).await);
        api.delete(&own).await.ok();
        invalid(&api, path, one).await;
    }
}

async fn invalid(api: &Api, path: &str, mut hook: Value) {
    hook["matchConditions"] = json!([{"name": "broken", "expression": "... [] bad expression"}]);
    let refused =
        api.post(path, &configuration("invalid", vec![hook.clone()])).await.refused(422, "compilation failed");
    assert_eq!(refused["details"]["causes"][0]["field"], "webhooks[0].matchConditions[0].expression");
    hook["matchConditions"] = json!([{"name": "not a name", "expression": "true"}]);
    api.post(path, &configuration("invalid", vec![hook])).await.refused(422, "matchConditions[0].name");
}
