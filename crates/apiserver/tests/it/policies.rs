//! Admission policies and match conditions, through the whole server.

use apimachinery::object;
use auth::UserInfo;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::{Answer, Bench, whole};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules(operations: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"resourceRules": [
        {"operations": operations, "apiGroups": groups, "apiVersions": ["*"], "resources": resources}]})
}

/// Stores a policy about config maps and a binding of the same name.
async fn bind(bench: &Bench, kind: &str, name: &str, mut spec: Value, mut binding: Value) {
    if spec.get("matchConstraints").is_none() {
        spec["matchConstraints"] = rules(&["CREATE", "UPDATE"], &[""], &["configmaps"]);
    }
    binding["policyName"] = name.into();
    if kind == "validating" && binding.get("validationActions").is_none() {
        binding["validationActions"] = json!(["Deny"]);
    }
    let paths = [format!("{kind}admissionpolicies"), format!("{kind}admissionpolicybindings")];
    for (path, spec) in paths.iter().zip([spec, binding]) {
        let body = json!({"metadata": {"name": name}, "spec": spec});
        let created = bench.post(&format!("{GROUP}/{path}"), &body).await;
        assert_eq!(created.code, 201, "{}", created.body);
    }
}

async fn create(bench: &Bench, name: &str, data: Value) -> Answer {
    bench.post(MAPS, &json!({"metadata": {"name": name}, "data": data})).await
}

#[tokio::test]
async fn a_denial_names_policy_binding_and_message() {
    let bench = Bench::new().await;
    let spec = json!({
        "variables": [{"name": "bad", "expression": "has(object.data) && 'bad' in object.data"}],
        "validations": [
            {"expression": "!variables.bad", "messageExpression": "'no ' + object.metadata.name", "reason": "Forbidden"}],
    });
    bind(&bench, "validating", "p", spec, json!({})).await;
    let denied = create(&bench, "x", json!({"bad": "1"})).await;
    assert_eq!((denied.code, &denied.body["reason"]), (403, &json!("Forbidden")));
    let text = "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no x";
    assert_eq!(denied.body["message"], format!("configmaps \"x\" is forbidden: {text}"));
    assert_eq!(denied.body.pointer("/details/causes/0/message"), Some(&json!(text)));
    assert_eq!(create(&bench, "x", json!({"good": "1"})).await.code, 201);
    assert_eq!(
        bench.put(&format!("{MAPS}/x"), &json!({"metadata": {"name": "x"}, "data": {"bad": "1"}})).await.code,
        403
    );
    assert_eq!(bench.delete(&format!("{GROUP}/validatingadmissionpolicybindings/p")).await.code, 200);
    assert_eq!(create(&bench, "y", json!({"bad": "1"})).await.code, 201, "a binding that is gone binds nothing");
}

#[tokio::test]
async fn what_cannot_be_evaluated_follows_the_failure_policy() {
    let bench = Bench::new().await;
    let validations = json!([{"expression": "object.data['zz'] == 'x'"}]);
    bind(&bench, "validating", "p", json!({"validations": validations}), json!({})).await;
    let denied = create(&bench, "x", json!({"a": "b"})).await;
    assert_eq!((denied.code, &denied.body["reason"]), (422, &json!("Invalid")));
    let text = denied.body["message"].as_str().unwrap();
    assert!(text.ends_with("expression 'object.data['zz'] == 'x'' resulted in error: no such key: zz"), "{text}");
    let policy = format!("{GROUP}/validatingadmissionpolicies/p");
    let changed = bench.patch(&policy, "merge", &json!({"spec": {"failurePolicy": "Ignore"}})).await;
    assert_eq!(changed.code, 200);
    assert_eq!(create(&bench, "x", json!({"a": "b"})).await.code, 201);
    assert_eq!(
        create(&bench, "y", json!({"zz": "b"})).await.code,
        422,
        "a validation that does not hold is no failure"
    );
}

#[tokio::test]
async fn parameters_are_found_by_name_and_by_selector() {
    let bench = Bench::new().await;
    let limits = json!({"metadata": {"name": "limits", "labels": {"limits": "yes"}}, "data": {"max": "2"}});
    assert_eq!(bench.post(MAPS, &limits).await.code, 201);
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "size(object.data) <= int(params.data.max)"}],
    });
    let by_name = json!({"paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}});
    bind(&bench, "validating", "a", spec.clone(), by_name).await;
    let by_label =
        json!({"paramRef": {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Deny"}});
    bind(&bench, "validating", "b", spec, by_label).await;
    let denied = create(&bench, "x", json!({"a": "", "b": "", "c": ""})).await;
    assert!(denied.body["message"].as_str().unwrap().contains("'a' denied"), "{}", denied.body);
    assert_eq!(create(&bench, "x", json!({"a": ""})).await.code, 201);
    assert_eq!(bench.delete(&format!("{MAPS}/limits")).await.code, 200);
    let denied = create(&bench, "y", json!({"a": ""})).await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(denied.body["message"].as_str().unwrap().ends_with(why), "{}", denied.body);
}

#[tokio::test]
async fn a_binding_can_warn_instead() {
    let bench = Bench::new().await;
    let spec =
        json!({"validations": [{"expression": "namespaceObject.metadata.name != 'default'", "message": "not here"}]});
    bind(&bench, "validating", "p", spec, json!({"validationActions": ["Warn", "Audit"]})).await;
    let request = Request::builder().method(Method::POST).uri(MAPS).header("content-type", "application/json");
    let request = request.body(whole(json!({"metadata": {"name": "x"}}).to_string())).unwrap();
    let response = bench.send(request, Some(&UserInfo::master("admin"))).await;
    assert_eq!(response.status(), 201);
    let warning = response.headers()["warning"].to_str().unwrap();
    assert_eq!(warning, "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': not here\"");
}

#[tokio::test]
async fn match_conditions_and_the_authorizer_decide_whom_a_policy_concerns() {
    let bench = Bench::new().await;
    let spec = json!({
        "matchConditions": [{"name": "others", "expression": "request.userInfo.username != 'admin'"}],
        "validations": [{"expression": "authorizer.requestResource.check('delete').allowed()"}],
    });
    bind(&bench, "validating", "p", spec, json!({})).await;
    assert_eq!(create(&bench, "x", json!({})).await.code, 201);
    let user = UserInfo::master("other");
    let body = json!({"metadata": {"name": "y"}});
    assert_eq!(bench.ask(Some(&user), Method::POST, MAPS, "application/json", &body).await.code, 201);
}

#[tokio::test]
async fn mutations_are_merged_or_patched_in_turn() {
    let bench = Bench::new().await;
    let merge = "Object{metadata: Object.metadata{labels: {'a': object.metadata.name}}}";
    let patch = "[JSONPatch{op: 'add', path: '/metadata/labels/b', value: object.metadata.labels.a}]";
    let spec = json!({"reinvocationPolicy": "Never", "mutations": [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": merge}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    ]});
    bind(&bench, "mutating", "m", spec, json!({})).await;
    let created = create(&bench, "x", json!({"k": "v"})).await;
    assert_eq!(created.code, 201, "{}", created.body);
    assert_eq!(created.body.pointer("/metadata/labels"), Some(&json!({"a": "x", "b": "x"})));
    assert_eq!(created.body["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn a_mutation_that_cannot_be_applied_is_refused_by_its_policy() {
    let bench = Bench::new().await;
    let patch = "[JSONPatch{op: 'remove', path: '/metadata/labels/b'}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": patch}});
    bind(&bench, "mutating", "m", json!({"reinvocationPolicy": "Never", "mutations": [mutation]}), json!({})).await;
    let denied = create(&bench, "x", json!({})).await;
    assert_eq!((denied.code, &denied.body["reason"]), (403, &json!("Invalid")));
    let start = "policy 'm' with binding 'm' denied request: JSON Patch: ";
    assert!(denied.body["message"].as_str().unwrap().starts_with(start), "{}", denied.body);
}

#[tokio::test]
async fn policies_asked_for_it_are_asked_again_after_a_change() {
    let bench = Bench::new().await;
    let append = |key: &str, when: &str| {
        let expression = format!("{when} ? [JSONPatch{{op: 'add', path: '/data/{key}', value: '1'}}] : []");
        json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}])
    };
    let first = json!({"reinvocationPolicy": "IfNeeded", "mutations": append("seen", "'late' in object.data")});
    bind(&bench, "mutating", "a", first, json!({})).await;
    let second = json!({"reinvocationPolicy": "Never", "mutations": append("late", "true")});
    bind(&bench, "mutating", "b", second, json!({})).await;
    let created = create(&bench, "x", json!({"k": "v"})).await;
    assert_eq!(created.body["data"], json!({"k": "v", "late": "1", "seen": "1"}), "{}", created.body);
}

#[tokio::test]
async fn a_name_is_generated_after_mutation_and_before_validation() {
    let bench = Bench::new().await;
    let unnamed = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{data: Object.data{named: has(object.metadata.name) ? 'yes' : 'no'}}"}});
    bind(&bench, "mutating", "m", json!({"reinvocationPolicy": "Never", "mutations": [unnamed]}), json!({})).await;
    let named = json!({"validations": [{"expression": "request.name.startsWith('x-')"}]});
    bind(&bench, "validating", "v", named, json!({})).await;
    let created = bench.post(MAPS, &json!({"metadata": {"generateName": "x-"}, "data": {"a": "b"}})).await;
    assert_eq!((created.code, created.body.pointer("/data/named")), (201, Some(&json!("no"))), "{}", created.body);
    assert!(object::name(&created.body).starts_with("x-"));
}

#[tokio::test]
async fn policies_are_not_subject_to_policies() {
    let bench = Bench::new().await;
    let spec = json!({
        "matchConstraints": rules(&["*"], &["*"], &["*"]),
        "validations": [{"expression": "false"}],
    });
    bind(&bench, "validating", "p", spec, json!({})).await;
    assert_eq!(create(&bench, "x", json!({})).await.code, 422);
    assert_eq!(bench.delete(&format!("{GROUP}/validatingadmissionpolicies/p")).await.code, 200);
    assert_eq!(create(&bench, "x", json!({})).await.code, 201);
}
