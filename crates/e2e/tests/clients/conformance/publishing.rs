//! CustomResourcePublishOpenAPI: what definitions say is published, and kubectl explains it and validates by it.

use e2e::eventually;
use serde_json::{Value, json};

use super::api::{Answer, Api, DEFINITIONS, definition};

/// With a description for each level.
fn schema() -> Value {
    let bar = json!({
        "type": "object", "required": ["name"],
        "properties": {"name": {"type": "string", "description": "Name of Bar."}, "age": {"type": "string", "description": "Age of Bar."}},
    });
    let spec = json!({"type": "object", "description": "Specification of it.", "properties": {"bars": {"type": "array", "items": bar, "description": "List of Bars."}}});
    json!({"type": "object", "description": "One for testing.", "properties": {"spec": spec, "status": {"type": "object"}}})
}

fn name_of(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<_> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// Until the second version's document has, or has not, a definition of the kind.
async fn published(api: &Api, (group, version, kind): (&str, &str, &str), wanted: bool) -> Option<Value> {
    let name = name_of(group, version, kind);
    let found = |answer: &Answer| {
        let found = answer.body["definitions"].get(&name);
        (found.is_some() == wanted).then(|| found.cloned())
    };
    api.until("/openapi/v2", found).await
}

/// The schema of the third version's document of a group version.
async fn third(api: &Api, group: &str, version: &str, kind: &str) -> Option<Value> {
    let document = api.get(&format!("/openapi/v3/apis/{group}/{version}")).await;
    document.body["components"]["schemas"].get(name_of(group, version, kind)).cloned()
}

#[tokio::test]
async fn a_schema_is_published_explained_and_kept_to_by_kubectl() {
    let api = Api::start("publishing-schema").await;
    let (group, kind) = ("schema.example.org", "Foo");
    api.define(&definition(group, kind, &[("v1", schema())])).await;
    let found = published(&api, (group, "v1", kind), true).await.unwrap();
    assert_eq!(found["description"], "One for testing.");
    assert_eq!(found["properties"]["spec"]["properties"]["bars"]["items"]["required"], json!(["name"]));
    assert_eq!(found["x-kubernetes-group-version-kind"], json!([{"group": group, "version": "v1", "kind": kind}]));
    assert!(third(&api, group, "v1", kind).await.is_some());
    explained(&api).await;
}

async fn explained(api: &Api) {
    let kubectl = api.bare.newest_kubectl();
    let explain = |path: &str, text: &str| {
        let line = format!("explain {path}");
        let shows = || kubectl.line(&line).map(|printed| printed.contains(text).then_some(()));
        eventually(&line, shows).unwrap();
    };
    explain("foos", "One for testing.");
    explain("foos.spec", "Specification of it.");
    explain("foos.spec.bars", "List of Bars.");
    explain("foos.spec.bars.age", "Age of Bar.");
    let error = kubectl.line("explain foos.spec.bars2").unwrap_err().to_string();
    assert!(error.contains("field \"bars2\" does not exist"), "{error}");
    let manifest =
        |spec: &str| format!("{{apiVersion: schema.example.org/v1, kind: Foo, metadata: {{name: one}}, spec: {spec}}}");
    let apply = |spec: &str| kubectl.with_input(&["apply", "-f", "-"], &manifest(spec));
    let error = apply("{unknown: x, bars: [{name: x}]}").unwrap_err().to_string();
    assert!(error.contains("unknown field \"spec.unknown\""), "{error}");
    let error = apply("{bars: [{age: '10'}]}").unwrap_err().to_string();
    assert!(error.contains("spec.bars[0].name: Required value"), "{error}");
    assert!(apply("{bars: [{name: x}]}").unwrap().contains("created"));
    kubectl.line("delete foo one").unwrap();
}

#[tokio::test]
async fn definitions_that_keep_unknown_fields_are_published_and_take_them() {
    let api = Api::start("publishing-kept").await;
    let kubectl = api.bare.newest_kubectl();
    let kept = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let embedded = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true}}});
    let deep = json!({"type": "object", "description": "Deep.", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"dummy": {"type": "string", "description": "Dummy property."}}}}});
    for (kind, schema) in [("Open", kept), ("Deep", deep), ("Nested", embedded)] {
        let group = "kept.example.org";
        api.define(&definition(group, kind, &[("v1", schema)])).await;
        published(&api, (group, "v1", kind), true).await;
        let spec = if kind == "Nested" {
            "{apiVersion: v1, kind: ConfigMap, anything: {goes: 1}}"
        } else {
            "{anything: {goes: 1}}"
        };
        let manifest = format!("{{apiVersion: {group}/v1, kind: {kind}, metadata: {{name: one}}, spec: {spec}}}");
        let applied = eventually(kind, || kubectl.with_input(&["apply", "-f", "-"], &manifest).map(Some)).unwrap();
        assert!(applied.contains("created") || applied.contains("unchanged"), "{applied}");
        let line = format!("get {}s one -o jsonpath={{.spec.anything.goes}}", kind.to_lowercase());
        assert_eq!(kubectl.line(&line).unwrap(), "1");
        let printed = kubectl.line(&format!("explain {}s", kind.to_lowercase())).unwrap();
        assert!(printed.contains(kind), "{printed}");
    }
}

#[tokio::test]
async fn every_group_version_and_kind_is_published_beside_the_others() {
    let api = Api::start("publishing-many").await;
    let two = definition("two.example.org", "Foo", &[("v2", schema()), ("v3", schema())]);
    let one = definition("one.example.org", "Foo", &[("v1", schema())]);
    let other = definition("one.example.org", "Bar", &[("v1", schema())]);
    for definition in [&one, &other, &two] {
        api.define(definition).await;
    }
    for (group, version, kind) in [
        ("one.example.org", "v1", "Foo"),
        ("one.example.org", "v1", "Bar"),
        ("two.example.org", "v2", "Foo"),
        ("two.example.org", "v3", "Foo"),
    ] {
        published(&api, (group, version, kind), true).await;
        assert!(third(&api, group, version, kind).await.is_some(), "{group}/{version} {kind}");
    }
    let group = "two.example.org";
    let own = format!("{DEFINITIONS}/foos.{group}");
    renamed(&api, &own, group).await;
    let first = api.get("/openapi/v2").await.ok()["definitions"][name_of(group, "v2", "Foo")].clone();
    let unserved = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    api.patch(&own, "json-patch+json", &unserved).await.ok();
    published(&api, (group, "v4", "Foo"), false).await;
    assert_eq!(api.get("/openapi/v2").await.ok()["definitions"][name_of(group, "v2", "Foo")], first, "the other stays");
    assert_eq!(api.get(&format!("/apis/{group}/v4/foos")).await.code, 404);
    api.delete(&own).await.ok();
    published(&api, (group, "v2", "Foo"), false).await;
    published(&api, ("one.example.org", "v1", "Foo"), true).await;
}

/// The third version becomes a fourth.
async fn renamed(api: &Api, own: &str, group: &str) {
    let rename = json!([
        {"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}
    ]);
    api.patch(own, "json-patch+json", &rename).await.ok();
    published(api, (group, "v4", "Foo"), true).await;
    published(api, (group, "v3", "Foo"), false).await;
    published(api, (group, "v2", "Foo"), true).await;
    api.until(&format!("/openapi/v3/apis/{group}/v3"), |answer| (answer.code == 404).then_some(())).await;
}
