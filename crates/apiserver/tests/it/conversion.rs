//! Conversion webhooks over TLS on the loopback interface.

use http::Method;
use serde_json::{Value, json};

use crate::Bench;
use crate::webhooks::Webhook;

const OLD: &str = "/apis/example.com/v1/namespaces/default/widgets";
const NEW: &str = "/apis/example.com/v2/namespaces/default/widgets";

/// Version 1 has one text `hostPort`, version 2 has `host` and `port`.
fn convert(object: &Value, desired: &Value) -> Value {
    let mut converted = object.clone();
    converted["apiVersion"] = desired.clone();
    let spec = &object["spec"];
    converted["spec"] = match desired.as_str() {
        Some("example.com/v2") => {
            let (host, port) = spec["hostPort"].as_str().and_then(|text| text.split_once(':')).unwrap_or_default();
            json!({"host": host, "port": port, "unknown": 1})
        }
        _ => json!({"hostPort": format!("{}:{}", spec["host"].as_str().unwrap(), spec["port"].as_str().unwrap())}),
    };
    converted
}

fn converted(request: &Value) -> Value {
    let objects = request["objects"].as_array().unwrap().iter();
    let all: Vec<Value> = objects.map(|object| convert(object, &request["desiredAPIVersion"])).collect();
    json!({"result": {"status": "Success"}, "convertedObjects": all})
}

fn definition(webhook: &Webhook) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str, storage: bool, properties: Value, selectable: &str| {
        json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "selectableFields": [{"jsonPath": selectable}],
            "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": properties}}}}})
    };
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
            "versions": [
                version("v1", true, json!({"hostPort": text}), ".spec.hostPort"),
                version("v2", false, json!({"host": text, "port": text}), ".spec.host"),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": {"url": format!("https://{}/convert", webhook.address), "caBundle": webhook.ca_bundle},
            }},
        },
    })
}

async fn defined(webhook: &Webhook) -> Bench {
    let bench = Bench::new().await;
    let created = bench.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition(webhook)).await;
    assert_eq!(created.code, 201, "{}", created.body);
    bench.established("widgets.example.com").await;
    bench
}

async fn converting() -> (Bench, Webhook) {
    let webhook = Webhook::reviewing("apiextensions.k8s.io/v1", "ConversionReview", converted).await;
    (defined(&webhook).await, webhook)
}

fn new_widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": name},
        "spec": {"host": "a", "port": "1"}})
}

fn old_widget(name: &str, host_port: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"hostPort": host_port}})
}

#[tokio::test]
async fn an_object_is_stored_in_one_version_and_read_in_each() {
    let (bench, webhook) = converting().await;
    let created = bench.post(NEW, &new_widget("w")).await;
    assert_eq!((created.code, &created.body["spec"]), (201, &json!({"host": "a", "port": "1"})), "{}", created.body);
    assert_eq!(created.body["apiVersion"], "example.com/v2");
    assert_eq!(bench.get(&format!("{OLD}/w")).await.body["spec"], json!({"hostPort": "a:1"}));
    let read = bench.get(&format!("{NEW}/w")).await.body;
    assert_eq!(read["spec"], json!({"host": "a", "port": "1"}), "what the version does not know is pruned");
    let patched = bench.patch(&format!("{NEW}/w"), "merge", &json!({"spec": {"port": "2"}})).await;
    assert_eq!((patched.code, &patched.body["spec"]["port"]), (200, &json!("2")), "{}", patched.body);
    assert_eq!(patched.body["metadata"]["generation"], 2);
    assert_eq!(bench.get(&format!("{OLD}/w")).await.body["spec"], json!({"hostPort": "a:2"}));
    let asked = webhook.asked();
    assert_eq!(asked[0]["desiredAPIVersion"], "example.com/v1");
    assert_eq!(asked[0]["objects"][0]["kind"], "Widget");
}

#[tokio::test]
async fn a_list_needs_one_question() {
    let (bench, webhook) = converting().await;
    for name in ["a", "b", "c"] {
        assert_eq!(bench.post(OLD, &old_widget(name, "h:1")).await.code, 201);
    }
    assert!(webhook.asked().is_empty(), "nothing was to be converted");
    let list = bench.get(NEW).await.body;
    assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("WidgetList"), Some("example.com/v2")));
    assert_eq!(list["items"][2]["spec"], json!({"host": "h", "port": "1"}));
    assert_eq!(webhook.asked().len(), 1);
    let deleted = bench.admin(Method::DELETE, NEW, &Value::Null).await;
    assert_eq!((deleted.code, deleted.body["items"].as_array().map(Vec::len)), (200, Some(3)), "{}", deleted.body);
}

#[tokio::test]
async fn fields_are_selected_in_the_version_of_the_request() {
    let (bench, _webhook) = converting().await;
    for (name, host_port) in [("a", "h:1"), ("b", "i:1"), ("c", "h:2")] {
        assert_eq!(bench.post(OLD, &old_widget(name, host_port)).await.code, 201);
    }
    let names = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(bench.get(&format!("{NEW}?fieldSelector=spec.host%3Dh")).await.body), ["a", "c"]);
    assert_eq!(names(bench.get(&format!("{OLD}?fieldSelector=spec.hostPort%3Di:1")).await.body), ["b"]);
    let page = bench.get(&format!("{NEW}?fieldSelector=spec.host%3Dh&limit=1")).await.body;
    let token = page["metadata"]["continue"].as_str().unwrap().to_string();
    assert_eq!(names(page), ["a"]);
    let rest = bench.get(&format!("{NEW}?fieldSelector=spec.host%3Dh&limit=1&continue={token}")).await.body;
    assert_eq!(names(rest), ["c"]);
    let refused = bench.get(&format!("{OLD}?fieldSelector=spec.host%3Dh")).await;
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn managers_of_different_versions_own_what_they_wrote() {
    let (bench, _webhook) = converting().await;
    let apply = async |path: &str, manager: &str, body: &Value| {
        let path = format!("{path}/w?fieldManager={manager}");
        let admin = auth::UserInfo::master("admin");
        bench.ask(Some(&admin), Method::PATCH, &path, "application/apply-patch+yaml", body).await
    };
    assert_eq!(apply(OLD, "old", &old_widget("w", "a:1")).await.code, 201);
    let same = apply(NEW, "new", &new_widget("w")).await;
    assert_eq!(same.code, 200, "{}", same.body);
    let mut other = new_widget("w");
    other["spec"]["port"] = "2".into();
    let conflict = apply(NEW, "new", &other).await;
    assert_eq!(conflict.code, 409, "{}", conflict.body);
    assert!(conflict.body["message"].as_str().unwrap().contains("conflict with \"old\""), "{}", conflict.body);
}

#[tokio::test]
async fn a_failing_webhook_fails_the_request() {
    let refuse = |_: &Value| json!({"result": {"status": "Failed", "message": "not today"}});
    let webhook = Webhook::reviewing("apiextensions.k8s.io/v1", "ConversionReview", refuse).await;
    let bench = defined(&webhook).await;
    assert_eq!(bench.post(OLD, &old_widget("w", "a:1")).await.code, 201);
    let failed = bench.get(&format!("{NEW}/w")).await;
    assert_eq!((failed.code, failed.body.get("reason")), (500, None));
    assert_eq!(failed.body["message"], "conversion webhook for example.com/v1, Kind=Widget failed: not today");
    let failed = bench.post(NEW, &new_widget("x")).await;
    assert_eq!(failed.body["message"], "conversion webhook for example.com/v2, Kind=Widget failed: not today");
}
