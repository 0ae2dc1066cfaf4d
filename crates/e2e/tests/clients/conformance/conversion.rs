//! CustomResourceConversionWebhook: objects of one stored version are had in another, also in lists of both.

use serde_json::{Value, json};

use super::api::{Api, CORE, DEFINITIONS, definition};
use super::https::Https;

const GROUP: &str = "conversion.example.org";

/// In v1 host and port are one text, in v2 they are two.
fn convert(version: &str, mut object: Value) -> Value {
    let to = version.rsplit_once('/').unwrap().1;
    object["apiVersion"] = json!(version);
    let fields = object.as_object_mut().unwrap();
    if to == "v2"
        && let Some(both) = fields.remove("hostPort")
    {
        let (host, port) = both.as_str().unwrap().split_once(':').unwrap();
        fields.insert("host".to_owned(), json!(host));
        fields.insert("port".to_owned(), json!(port));
    } else if to == "v1"
        && let (Some(host), Some(port)) = (fields.remove("host"), fields.remove("port"))
    {
        fields.insert("hostPort".to_owned(), json!(format!("{}:{}", host.as_str().unwrap(), port.as_str().unwrap())));
    }
    object
}

async fn converter() -> Https {
    Https::reviewing(|_, request| {
        let version = request["desiredAPIVersion"].as_str().unwrap();
        let objects = request["objects"].as_array().unwrap().iter().cloned();
        let converted: Vec<_> = objects.map(|object| convert(version, object)).collect();
        json!({"result": {"status": "Success"}, "convertedObjects": converted})
    })
    .await
}

fn moorings(server: &Https) -> Value {
    let text = json!({"type": "string"});
    let first = json!({"type": "object", "properties": {"hostPort": text}});
    let second = json!({"type": "object", "properties": {"host": text, "port": text}});
    let mut moorings = definition(GROUP, "Mooring", &[("v1", first), ("v2", second)]);
    let webhook =
        json!({"clientConfig": server.by_service("hook", "/convert"), "conversionReviewVersions": ["v1", "v1beta1"]});
    moorings["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": webhook});
    moorings
}

fn path(version: &str) -> String {
    format!("/apis/{GROUP}/{version}/namespaces/default/moorings")
}

#[tokio::test]
async fn custom_resources_are_converted_between_versions_also_in_a_list_of_both() {
    let api = Api::start("conversion").await;
    let server = converter().await;
    api.post(&format!("{CORE}/services"), &Https::service("hook")).await.ok();
    api.define(&moorings(&server)).await;
    let first = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Mooring", "metadata": {"name": "one"}, "hostPort": "quay:80"});
    api.post(&path("v1"), &first).await.ok();
    let had = api.get(&format!("{}/one", path("v2"))).await.ok();
    assert_eq!((&had["host"], &had["port"], &had["hostPort"]), (&json!("quay"), &json!("80"), &Value::Null));
    assert_eq!(had["apiVersion"], format!("{GROUP}/v2"));
    store_second(&api).await;
    let second = json!({
        "apiVersion": format!("{GROUP}/v2"), "kind": "Mooring", "metadata": {"name": "two"}, "host": "pier", "port": "81",
    });
    api.post(&path("v2"), &second).await.ok();
    let listed = api.get(&path("v1")).await.ok();
    let texts: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["hostPort"].clone()).collect();
    assert_eq!(texts, ["quay:80", "pier:81"]);
    let listed = api.get(&path("v2")).await.ok();
    let hosts: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["host"].clone()).collect();
    assert_eq!(hosts, ["quay", "pier"]);
    assert!(server.asked().iter().all(|asked| asked.body["kind"] == "ConversionReview"));
}

/// From now on the second version is stored; what was stored stays as it was.
async fn store_second(api: &Api) {
    let own = format!("{DEFINITIONS}/moorings.{GROUP}");
    let mut stored = api.get(&own).await.ok();
    stored["spec"]["versions"][0]["storage"] = json!(false);
    stored["spec"]["versions"][1]["storage"] = json!(true);
    let stored = api.put(&own, &stored).await.ok();
    assert_eq!(stored["status"]["storedVersions"], json!(["v1", "v2"]));
}
