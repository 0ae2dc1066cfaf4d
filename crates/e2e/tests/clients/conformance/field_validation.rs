//! FieldValidation: unknown and repeated fields of built-in and custom objects, refused, warned of or let pass.

use http::Method;
use serde_json::{Value, json};

use super::api::{Answer, Api, definition};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const GROUP: &str = "validation.example.org";

/// A deployment with this text among its metadata and this among its spec.
fn deployment(name: &str, metadata: &str, spec: &str) -> String {
    let template =
        r#"{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"a","image":"example.org/a:1"}]}}"#;
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{name}"{metadata}}},
        "spec":{{"selector":{{"matchLabels":{{"app":"a"}}}},"template":{template}{spec}}}}}"#
    )
}

async fn create(api: &Api, path: &str, validation: &str, text: &str) -> Answer {
    let path = format!("{path}?fieldValidation={validation}");
    api.send(Method::POST, &path, &[("content-type", "application/json")], text.as_bytes().to_vec()).await
}

async fn apply(api: &Api, path: &str, validation: &str, text: &str) -> Answer {
    let path = format!("{path}?fieldManager=test&fieldValidation={validation}");
    api.send(Method::PATCH, &path, &[("content-type", "application/apply-patch+yaml")], text.as_bytes().to_vec()).await
}

/// The texts of its warnings.
fn warnings(answer: &Answer) -> Vec<String> {
    let texts = answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap());
    let quoted = |text: &str| text.strip_prefix("299 - \"")?.strip_suffix('"').map(|text| text.replace("\\\"", "\""));
    texts.map(|text| quoted(text).unwrap_or_else(|| panic!("{text}"))).collect()
}

#[tokio::test]
async fn unknown_and_repeated_fields_of_a_deployment_are_refused_warned_of_or_let_pass() {
    let api = Api::start("fields-typed").await;
    let text = deployment("one", "", r#","unknown1":1,"unknownDupe":2,"unknownDupe":3,"paused":true,"paused":false"#);
    let refused = create(&api, DEPLOYMENTS, "Strict", &text).await.refused(400, "strict decoding error: ");
    let message = refused["message"].as_str().unwrap();
    for part in
        ["unknown field \"spec.unknown1\"", "duplicate field \"spec.unknownDupe\"", "duplicate field \"spec.paused\""]
    {
        assert!(message.contains(part), "{message}");
    }
    let warned = create(&api, DEPLOYMENTS, "Warn", &text).await;
    let texts = warnings(&warned);
    assert!(texts.contains(&"unknown field \"spec.unknown1\"".to_owned()), "{texts:?}");
    assert!(texts.contains(&"duplicate field \"spec.paused\"".to_owned()), "{texts:?}");
    assert_eq!(warned.ok()["spec"]["unknown1"], Value::Null);
    let ignored = create(&api, DEPLOYMENTS, "Ignore", &text.replace("\"one\"", "\"two\"")).await;
    assert!(warnings(&ignored).is_empty());
    ignored.ok();
    metadata(&api).await;
}

async fn metadata(api: &Api) {
    let text = deployment("three", r#","unknownMeta":"x""#, "");
    create(api, DEPLOYMENTS, "Strict", &text).await.refused(400, "unknown field \"metadata.unknownMeta\"");
    let own = format!("{DEPLOYMENTS}/three");
    let unknown = apply(api, &own, "Strict", &text).await;
    assert!(unknown.code >= 400 && unknown.to_string().contains("unknownMeta"), "{unknown}");
    let templated =
        deployment("three", "", "").replace(r#""metadata":{"labels""#, r#""metadata":{"unknownMeta":"x","labels""#);
    create(api, DEPLOYMENTS, "Strict", &templated)
        .await
        .refused(400, "unknown field \"spec.template.metadata.unknownMeta\"");
}

/// With a schema, an embedded object, and what it does not know kept if `kept`.
fn boat(kind: &str, kept: bool) -> Value {
    let port = json!({"type": "object", "properties": {"hostPort": {"type": "integer"}}});
    let mut spec = json!({"type": "object", "properties": {"cron": {"type": "string", "pattern": "^\\d+$"}, "ports": {"type": "array", "items": port}}});
    if kept {
        spec["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    let embedded = json!({
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}},
    });
    definition(GROUP, kind, &[("v1", json!({"type": "object", "properties": {"spec": spec, "embedded": embedded}}))])
}

fn object(kind: &str, name: &str, metadata: &str, rest: &str) -> String {
    format!(r#"{{"apiVersion":"{GROUP}/v1","kind":"{kind}","metadata":{{"name":"{name}"{metadata}}},{rest}}}"#)
}

fn path(kind: &str) -> String {
    format!("/apis/{GROUP}/v1/namespaces/default/{}s", kind.to_lowercase())
}

#[tokio::test]
async fn custom_objects_are_held_to_their_schema() {
    let api = Api::start("fields-custom").await;
    api.define(&boat("Boat", false)).await;
    let boats = path("Boat");
    let valid = object("Boat", "one", "", r#""spec":{"cron":"1","ports":[{"hostPort":80}]}"#);
    create(&api, &boats, "Strict", &valid).await.ok();
    apply(&api, &format!("{boats}/two"), "Strict", &valid.replace("one", "two")).await.ok();
    let extra = object("Boat", "three", "", r#""spec":{"cron":"1","extra":1,"ports":[{"hostPort":80,"deep":1}]}"#);
    let refused = create(&api, &boats, "Strict", &extra).await.refused(400, "unknown field \"spec.extra\"");
    assert!(refused["message"].as_str().unwrap().contains("unknown field \"spec.ports[0].deep\""), "{refused}");
    let applied = apply(&api, &format!("{boats}/three"), "Strict", &extra).await;
    assert!(applied.code >= 400, "{applied}");
    let twice = object("Boat", "three", "", r#""spec":{"cron":"1","cron":"2"}"#);
    create(&api, &boats, "Strict", &twice).await.refused(400, "duplicate field \"spec.cron\"");
    create(&api, &boats, "Strict", &object("Boat", "three", "", r#""spec":{"cron":"x"}"#))
        .await
        .refused(422, "spec.cron");
    embedded(&api, &boats).await;
}

async fn embedded(api: &Api, boats: &str) {
    let inner = r#""embedded":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","unknownSub":"y"}}"#;
    let text = object("Boat", "four", r#","unknownRoot":"y""#, inner);
    let refused = create(api, boats, "Strict", &text).await.refused(400, "unknown field \"metadata.unknownRoot\"");
    assert!(
        refused["message"].as_str().unwrap().contains("unknown field \"embedded.metadata.unknownSub\""),
        "{refused}"
    );
    let warned = create(api, boats, "Warn", &text).await;
    assert_eq!(warnings(&warned).len(), 2, "{:?}", warnings(&warned));
    assert_eq!(warned.ok()["embedded"]["metadata"], json!({"name": "x"}));
}

#[tokio::test]
async fn custom_objects_that_keep_unknown_fields_may_not_repeat_them() {
    let api = Api::start("fields-kept").await;
    api.define(&boat("Raft", true)).await;
    let rafts = path("Raft");
    let kept = object("Raft", "one", "", r#""spec":{"unknown":"x"}"#);
    assert_eq!(create(&api, &rafts, "Strict", &kept).await.ok()["spec"]["unknown"], "x");
    let twice = object("Raft", "two", "", r#""spec":{"unknown":"x","unknown":"y","ports":[{"hostPort":1,"deep":1}]}"#);
    let refused = create(&api, &rafts, "Strict", &twice).await.refused(400, "duplicate field \"spec.unknown\"");
    assert!(refused["message"].as_str().unwrap().contains("unknown field \"spec.ports[0].deep\""), "{refused}");
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    api.define(&definition(GROUP, "Open", &[("v1", open)])).await;
    let anything = object("Open", "one", "", r#""anything":{"goes":[1,"x",null]}"#);
    assert_eq!(create(&api, &path("Open"), "Strict", &anything).await.ok()["anything"]["goes"][1], "x");
    apply(&api, &format!("{}/two", path("Open")), "Strict", &anything.replace("\"one\"", "\"two\"")).await.ok();
}
