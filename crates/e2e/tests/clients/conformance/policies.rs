//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: expressions that refuse or change, and the life of their objects.

use serde_json::{Value, json};

use super::api::{Answer, Api, names};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/harbour/deployments";

fn deployment(name: &str, replicas: u32) -> Value {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "example.org/a:1"}]}});
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template}})
}

/// For new deployments.
fn constraints() -> Value {
    json!({"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]})
}

fn here() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"conformance": "harbour"}}})
}

async fn validating(api: &Api, name: &str, spec: Value) {
    let mut spec = spec;
    spec["matchConstraints"] = constraints();
    let path = format!("{GROUP}/validatingadmissionpolicies");
    api.post(&path, &json!({"metadata": {"name": name}, "spec": spec})).await.ok();
    let binding = json!({"policyName": name, "matchResources": here(), "validationActions": ["Deny"]});
    let bindings = format!("{GROUP}/validatingadmissionpolicybindings");
    api.post(&bindings, &json!({"metadata": {"name": name}, "spec": binding})).await.ok();
}

#[tokio::test]
async fn a_policy_refuses_deployments_by_expressions_and_variables() {
    let api = Api::start("policies-validate").await;
    api.namespace("harbour").await;
    let plain = json!({"validations": [{"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)"}]});
    validating(&api, "replicas", plain).await;
    api.post(DEPLOYMENTS, &deployment("two", 2)).await.ok();
    let text = "ValidatingAdmissionPolicy 'replicas' with binding 'replicas' denied request: wants replicas > 1, got 1";
    let refused = api.post(DEPLOYMENTS, &deployment("one", 1)).await.refused(422, text);
    assert_eq!(refused["reason"], "Invalid");
    api.post(&DEPLOYMENTS.replace("harbour", "default"), &deployment("one", 1)).await.ok();
    let variables = json!({
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}],
        "validations": [{"expression": "variables.replicas > 1"}, {"expression": "variables.oddReplicas"}],
    });
    validating(&api, "odd", variables).await;
    api.post(DEPLOYMENTS, &deployment("four", 4)).await.refused(422, "failed expression: variables.oddReplicas");
    api.post(DEPLOYMENTS, &deployment("three", 3)).await.ok();
}

async fn mutating(api: &Api, name: &str, mutation: Value) {
    let spec = json!({
        "matchConstraints": constraints(), "mutations": [mutation], "reinvocationPolicy": "Never", "failurePolicy": "Fail",
        "variables": [{"name": "suffix", "expression": "'-' + object.metadata.name"}],
    });
    api.post(&format!("{GROUP}/mutatingadmissionpolicies"), &json!({"metadata": {"name": name}, "spec": spec}))
        .await
        .ok();
    let binding = json!({"policyName": name, "matchResources": here()});
    let bindings = format!("{GROUP}/mutatingadmissionpolicybindings");
    api.post(&bindings, &json!({"metadata": {"name": name}, "spec": binding})).await.ok();
}

#[tokio::test]
async fn a_policy_changes_deployments_by_apply_configuration_and_by_patch() {
    let api = Api::start("policies-mutate").await;
    api.namespace("harbour").await;
    let expression = "Object{spec: Object.spec{replicas: object.spec.replicas + 10}}";
    mutating(
        &api,
        "more",
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}),
    )
    .await;
    assert_eq!(api.post(DEPLOYMENTS, &deployment("one", 1)).await.ok()["spec"]["replicas"], 11);
    let expression =
        r#"[JSONPatch{op: "add", path: "/metadata/annotations", value: {"mutated": "by" + variables.suffix}}]"#;
    mutating(&api, "notes", json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})).await;
    let made = api.post(DEPLOYMENTS, &deployment("two", 2)).await.ok();
    assert_eq!(
        (&made["spec"]["replicas"], &made["metadata"]["annotations"]["mutated"]),
        (&json!(12), &json!("by-two"))
    );
    let elsewhere = api.post(&DEPLOYMENTS.replace("harbour", "default"), &deployment("one", 1)).await.ok();
    assert_eq!(elsewhere["spec"]["replicas"], 1);
}

/// Makes, gets, lists, watches, patches, updates and deletes, alone and together.
async fn lives(api: &Api, resource: &str, spec: Value) {
    let path = format!("{GROUP}/{resource}");
    let one = |name: &str| json!({"metadata": {"name": name, "labels": {"of": "conformance"}}, "spec": spec});
    for name in ["a", "b", "c"] {
        api.post(&path, &one(name)).await.ok();
    }
    if resource == "validatingadmissionpolicies" {
        // The server's own write of a status would be in the way of the update.
        let judged = |answer: &Answer| (answer.body["status"]["observedGeneration"] == 1).then_some(());
        api.until(&format!("{path}/a"), judged).await;
    }
    let made = api.get(&format!("{path}/a")).await.ok();
    let selected = format!("{path}?labelSelector=of%3Dconformance");
    let list = api.get(&selected).await.ok();
    assert_eq!(names(&list), ["a", "b", "c"]);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    // Of this one alone: the server writes the others' status.
    let of_one = format!("{path}?fieldSelector=metadata.name%3Da&resourceVersion={version}");
    let mut watch = api.watch(&of_one).await;
    let own = format!("{path}/a");
    let patched = api.merge(&own, &json!({"metadata": {"annotations": {"patched": "yes"}}})).await.ok();
    assert_eq!(patched["metadata"]["annotations"]["patched"], "yes");
    assert_eq!(patched["metadata"]["generation"], made["metadata"]["generation"]);
    let mut updated = api.get(&own).await.ok();
    updated["metadata"]["annotations"]["updated"] = json!("yes");
    assert_eq!(api.put(&own, &updated).await.ok()["metadata"]["annotations"]["updated"], "yes");
    api.delete(&own).await.ok();
    api.get(&own).await.refused(404, "not found");
    let seen = watch.names(2).await;
    assert_eq!(seen, ["MODIFIED a", "MODIFIED a"]);
    api.delete(&selected).await.ok();
    assert!(names(&api.get(&selected).await.ok()).is_empty());
}

#[tokio::test]
async fn policies_and_their_bindings_live_as_objects_do() {
    let api = Api::start("policies-objects").await;
    let validation = json!([{"expression": "object.spec.replicas > 100"}]);
    lives(&api, "validatingadmissionpolicies", json!({"matchConstraints": constraints(), "validations": validation}))
        .await;
    lives(&api, "validatingadmissionpolicybindings", json!({"policyName": "none", "validationActions": ["Deny"]}))
        .await;
    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}});
    let spec = json!({"matchConstraints": constraints(), "mutations": [apply], "reinvocationPolicy": "Never"});
    lives(&api, "mutatingadmissionpolicies", spec).await;
    lives(&api, "mutatingadmissionpolicybindings", json!({"policyName": "none"})).await;
}
