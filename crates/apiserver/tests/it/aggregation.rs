//! Group versions that another server serves, over TLS on the loopback interface.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rt::TaskSet;
use serde_json::{Value, json};
use store::{Key, Prefix};
use tokio::net::TcpListener;

use crate::Bench;
use crate::webhooks::acceptor;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// What a server was asked: method, path with query, headers.
type Asked = Arc<Mutex<Vec<(Method, String, HeaderMap)>>>;

/// A server of `wardle.example.com/v1` in the namespace `default`.
struct Extension {
    address: SocketAddr,
    ca_bundle: String,
    asked: Asked,
    _tasks: TaskSet,
}

impl Extension {
    async fn start() -> Extension {
        let (tasks, asked) = (TaskSet::new(), Asked::default());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["wardle.default.svc".into()]).unwrap().self_signed(&key).unwrap();
        let acceptor = acceptor(certificate.der().clone(), key.serialize_der());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (within, log) = (tasks.clone(), asked.clone());
        tasks.spawn_until_cancelled("extension", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, log) = (acceptor.clone(), log.clone());
                within.spawn_until_cancelled("connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| answer(request, &log));
                    let served =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(served.await);
                });
            }
        });
        let ca_bundle = base64::engine::general_purpose::STANDARD.encode(certificate.pem());
        Extension { address, ca_bundle, asked, _tasks: tasks }
    }

    async fn register(&self, bench: &Bench) {
        let service = json!({"metadata": {"name": "wardle"}, "spec": {"ports": [{"port": 443}]}});
        assert_eq!(bench.post("/api/v1/namespaces/default/services", &service).await.code, 201);
        assert_eq!(bench.post(SERVICES, &self.api_service()).await.code, 201);
        bench.available("v1.wardle.example.com", "EndpointsNotFound").await;
        let slice = json!({
            "metadata": {"name": "wardle-1", "labels": {"kubernetes.io/service-name": "wardle"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": self.address.port()}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        });
        let key = Key::new("discovery.k8s.io", "endpointslices", "default", "wardle-1");
        // No client may name a loopback address.
        bench.put_stored(key, &slice).await;
    }

    fn api_service(&self) -> Value {
        json!({
            "metadata": {"name": "v1.wardle.example.com"},
            "spec": {"group": "wardle.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 15,
                "service": {"namespace": "default", "name": "wardle"}, "caBundle": self.ca_bundle},
        })
    }
}

async fn answer(request: Request<Incoming>, log: &Asked) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.to_string();
    let answer = match (path.as_str(), parts.method.as_str()) {
        ("/apis/wardle.example.com/v1", _) => {
            json!({"kind": "APIResourceList", "groupVersion": "wardle.example.com/v1", "resources": [
                {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"]}]})
        }
        ("/openapi/v3", _) => json!({"paths": {"apis/wardle.example.com/v1": {
            "serverRelativeURL": "/openapi/v3/apis/wardle.example.com/v1?hash=ABC"}}}),
        ("/openapi/v2", _) => json!({
            "paths": {
                "/apis/wardle.example.com/v1/flunders": {"get": {"s": {"$ref": "#/definitions/Flunder"}}},
                "/apis/other.example.com/v1/flunders": {"get": {}},
            },
            "definitions": {"Flunder": {"type": "object", "x-own": true}},
        }),
        (_, "POST") => json!({"got": String::from_utf8_lossy(&body)}),
        _ => json!({"kind": "Flunder"}),
    };
    log.lock().unwrap().push((parts.method, path, parts.headers));
    Ok(Response::new(Full::new(answer.to_string().into())))
}

#[tokio::test]
async fn another_servers_group_is_told_of_and_proxied() {
    let (bench, extension) = (Bench::new().await, Extension::start().await);
    extension.register(&bench).await;
    bench.available("v1.wardle.example.com", "Passed").await;
    let groups = bench.get("/apis").await.body;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.last(), Some(&"wardle.example.com"));
    assert_eq!(bench.get("/apis/wardle.example.com").await.body["preferredVersion"]["version"], "v1");
    let index = bench.get("/openapi/v3").await.body;
    let url = &index["paths"]["apis/wardle.example.com/v1"]["serverRelativeURL"];
    assert_eq!(url, "/openapi/v3/apis/wardle.example.com/v1?hash=ABC");
    let swagger = bench.get("/openapi/v2").await.body;
    assert_eq!(swagger["definitions"]["Flunder"]["x-own"], true);
    assert!(swagger["paths"].get("/apis/wardle.example.com/v1/flunders").is_some());
    assert!(swagger["paths"].get("/apis/other.example.com/v1/flunders").is_none());

    let list = bench.get("/apis/wardle.example.com/v1").await;
    assert_eq!(list.body["resources"][0]["name"], "flunders", "{} {}", list.code, list.body);
    let path = "/apis/wardle.example.com/v1/namespaces/default/flunders";
    let user = auth::UserInfo::new("jane", &["system:masters", "team"]);
    let place = format!("{path}?dryRun=All");
    let posted = bench.ask(Some(&user), Method::POST, &place, "application/json", &json!({"a": 1})).await;
    assert_eq!(posted.body["got"], r#"{"a":1}"#);
    let asked = extension.asked.lock().unwrap();
    let (method, asked_path, headers) = asked.last().unwrap();
    assert_eq!((method, asked_path.as_str()), (&Method::POST, place.as_str()));
    assert_eq!(headers["x-remote-user"], "jane");
    assert_eq!(headers["host"], "wardle.default.svc:443");
    let groups: Vec<_> = headers.get_all("x-remote-group").iter().collect();
    assert_eq!(groups, ["system:masters", "team", "system:authenticated"]);
}

#[tokio::test]
async fn what_cannot_be_reached_is_unavailable_and_stale() {
    let bench = Bench::new().await;
    let service = json!({
        "metadata": {"name": "v1.gone.example.com"},
        "spec": {"group": "gone.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"namespace": "default", "name": "gone"}, "insecureSkipTLSVerify": true},
    });
    assert_eq!(bench.post(SERVICES, &service).await.code, 201);
    bench.available("v1.gone.example.com", "ServiceNotFound").await;
    let status = bench.get(&format!("{SERVICES}/v1.gone.example.com")).await.body["status"].clone();
    assert_eq!(status["conditions"][0]["message"], "service/gone in \"default\" is not present");
    assert_eq!(bench.get("/apis/gone.example.com/v1").await.code, 503);
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = bench.accepting("/apis", accept).await.body;
    let group = aggregated["items"].as_array().unwrap().last().unwrap();
    assert_eq!(group["metadata"]["name"], "gone.example.com");
    assert_eq!(group["versions"][0]["freshness"], "Stale");
}

#[tokio::test]
async fn what_is_served_here_has_local_api_services() {
    let bench = Bench::new().await;
    bench.available("v1.apps", "Local").await;
    let apps = bench.get(&format!("{SERVICES}/v1.apps")).await.body;
    assert_eq!(apps["spec"]["groupPriorityMinimum"], 17800);
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(bench.post(definitions, &definition).await.code, 201);
    bench.available("v1.example.com", "Local").await;
    let own = bench.get(&format!("{SERVICES}/v1.example.com")).await.body;
    assert_eq!((&own["spec"]["groupPriorityMinimum"], &own["spec"]["versionPriority"]), (&json!(1000), &json!(100)));
    bench.delete(&format!("{definitions}/widgets.example.com")).await;
    bench.gone(Key::new("apiregistration.k8s.io", "apiservices", "", "v1.example.com")).await;
}

impl Bench {
    /// Waits until an APIService is available, or not, for a reason.
    async fn available(&self, name: &str, reason: &str) {
        let key = Key::new("apiregistration.k8s.io", "apiservices", "", name);
        self.until(&key, |stored| {
            stored.is_some_and(|value| {
                let conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.iter().any(|one| one["type"] == "Available" && one["reason"] == reason)
            })
        })
        .await;
    }

    async fn gone(&self, key: Key) {
        self.until(&key, |stored| stored.is_none()).await;
    }

    async fn until(&self, key: &Key, holds: impl Fn(Option<&Value>) -> bool) {
        let store = self.server.store();
        let mut changes = store.watch(Prefix::of_key(key), store.revision()).expect("the newest revision is kept");
        while !holds(store.get(key).map(|stored| stored.value()).as_ref()) {
            changes.next().await.expect("a change follows");
        }
    }

    async fn put_stored(&self, key: Key, value: &Value) {
        let header = apiserver::indexer().header(&key, value);
        let mut value = value.clone();
        value["metadata"]["namespace"] = key.namespace().into();
        let header = store::Header { namespace: key.namespace().into(), ..header };
        self.server.store().create(key, store::Draft::new(&value, header)).await.expect("it is new");
    }
}
