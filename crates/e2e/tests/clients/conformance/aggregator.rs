//! Aggregator: another server's API beside our own, by way of a service.

use serde_json::{Value, json};

use super::api::{Answer, Api, CORE, condition, names};
use super::https::{Asked, Https};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1alpha1.wardle.example.com";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

/// One kind, of which one object stands.
fn wardle(asked: &Asked) -> (u16, Value) {
    let path = asked.path.split('?').next().unwrap();
    let flunder = json!({"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "one", "namespace": "default"}});
    let verbs = ["create", "delete", "get", "list"];
    match path {
        "/apis/wardle.example.com/v1alpha1" => {
            let resource = json!({"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": verbs});
            (
                200,
                json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1", "resources": [resource]}),
            )
        }
        FLUNDERS if asked.body.is_object() => (201, asked.body.clone()),
        FLUNDERS => (
            200,
            json!({"kind": "FlunderList", "apiVersion": "wardle.example.com/v1alpha1", "metadata": {}, "items": [flunder]}),
        ),
        _ if path == format!("{FLUNDERS}/one") => (200, flunder),
        _ => (
            404,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no such path"}),
        ),
    }
}

fn available(object: &Value, status: &str) -> Option<String> {
    let found = condition(object, "Available").filter(|it| it["status"] == status)?;
    found["reason"].as_str().map(str::to_owned)
}

// kubectl blocks one thread while the other server answers it on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_api_server_is_discovered_asked_and_taken_out_again() {
    let api = Api::start("aggregator").await;
    let server = Https::start("wardle", wardle).await;
    register(&api, &server).await;
    api.until(&format!("{SERVICES}/{NAME}"), |answer| available(&answer.body, "True")).await;
    let made = json!({"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "two"}});
    assert_eq!(api.post(FLUNDERS, &made).await.ok()["metadata"]["name"], "two");
    assert_eq!(names(&api.get(FLUNDERS).await.ok()), ["one"]);
    api.get(&format!("{FLUNDERS}/three")).await.refused(404, "no such path");
    let asked = server.asked().into_iter().find(|asked| asked.body["metadata"]["name"] == "two").unwrap();
    assert_eq!(asked.headers["x-remote-user"], "system:admin", "it is told who asks");
    assert!(!asked.headers.contains_key("authorization"));
    discovered(&api).await;
    let kubectl = api.bare.newest_kubectl();
    assert_eq!(
        kubectl.line("get flunders.v1alpha1.wardle.example.com -o name").unwrap(),
        "flunder.wardle.example.com/one\n"
    );
    drop(server);
    api.until(&format!("{SERVICES}/{NAME}"), |answer| available(&answer.body, "False")).await;
    // kube-rs would try again for long.
    let error = kubectl.run(&["get", "--raw", FLUNDERS]).unwrap_err().to_string();
    assert!(error.contains("ServiceUnavailable"), "{error}");
    api.delete(&format!("{SERVICES}/{NAME}")).await.ok();
    api.until(FLUNDERS, |answer| (answer.code == 404).then_some(())).await;
}

/// First without the service that it names.
async fn register(api: &Api, server: &Https) {
    let service = json!({"namespace": "default", "name": "wardle", "port": server.address.port()});
    let spec = json!({
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
        "service": service, "caBundle": server.ca_bundle,
    });
    api.post(SERVICES, &json!({"metadata": {"name": NAME}, "spec": spec})).await.ok();
    let reason = api.until(&format!("{SERVICES}/{NAME}"), |answer| available(&answer.body, "False")).await;
    assert_eq!(reason, "ServiceNotFound");
    api.post(&format!("{CORE}/services"), &Https::service("wardle")).await.ok();
}

async fn discovered(api: &Api) {
    let path = "/apis";
    let listed = |answer: &Answer| {
        let groups = answer.body["groups"].as_array()?;
        groups.iter().any(|group| group["name"] == "wardle.example.com").then_some(())
    };
    api.until(path, listed).await;
    let resources = api.get("/apis/wardle.example.com/v1alpha1").await.ok();
    assert_eq!(resources["resources"][0]["kind"], "Flunder");
    let status = api.get(&format!("{SERVICES}/{NAME}/status")).await.ok();
    assert_eq!(status["spec"]["group"], "wardle.example.com");
    let patched = api.merge(&format!("{SERVICES}/{NAME}"), &json!({"spec": {"versionPriority": 400}})).await.ok();
    assert_eq!(patched["spec"]["versionPriority"], 400);
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let discovered = |answer: &Answer| {
        let groups = answer.body["items"].as_array()?;
        let group = groups.iter().find(|it| it["metadata"]["name"] == "wardle.example.com")?;
        group.pointer("/versions/0/resources/0/resource").cloned()
    };
    assert_eq!(api.until_as(path, accept, discovered).await, "flunders");
}
