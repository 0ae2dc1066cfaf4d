//! Group versions that another server serves, over TLS on the loopback interface.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use apiserver::Config;
use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{CertificateParams, KeyPair};
use rt::TaskSet;
use serde_json::{Value, json};
use store::{Key, Prefix};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Bench;
use crate::webhooks::acceptor;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// What a server was asked.
#[derive(Debug)]
struct Question {
    method: Method,
    path: String,
    headers: HeaderMap,
    version: Version,
}

type Asked = Arc<Mutex<Vec<Question>>>;

/// A server of `wardle.example.com/v1` in the namespace `default`.
struct Extension {
    address: SocketAddr,
    ca_bundle: String,
    asked: Asked,
    connections: Arc<AtomicUsize>,
    _tasks: TaskSet,
}

impl Extension {
    async fn start() -> Extension {
        Extension::speaking(&[b"http/1.1"]).await
    }

    async fn speaking(protocols: &[&[u8]]) -> Extension {
        let (tasks, asked) = (TaskSet::new(), Asked::default());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["wardle.default.svc".into()]).unwrap().self_signed(&key).unwrap();
        let acceptor = acceptor(certificate.der().clone(), key.serialize_der());
        let mut config = acceptor.config().as_ref().clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (within, log) = (tasks.clone(), asked.clone());
        tasks.spawn_until_cancelled("extension", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, log, echoes) = (acceptor.clone(), log.clone(), within.clone());
                within.spawn_until_cancelled("connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, log.clone(), echoes.clone()));
                    let builder = Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
                });
            }
        });
        let ca_bundle = base64::engine::general_purpose::STANDARD.encode(certificate.pem());
        Extension { address, ca_bundle, asked, connections, _tasks: tasks }
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

type Answered = BoxBody<Bytes, std::convert::Infallible>;

fn whole(text: impl Into<Bytes>) -> Answered {
    Full::new(text.into()).boxed()
}

/// An event, and no end.
fn endless() -> Answered {
    let first = futures::stream::once(async { Ok(Frame::data(Bytes::from_static(b"{}\n"))) });
    BodyExt::boxed(StreamBody::new(first.chain(futures::stream::pending())))
}

/// Gives back what comes over a connection of another protocol.
fn echo(mut request: Request<Incoming>, tasks: &TaskSet) -> Response<Answered> {
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn_until_cancelled("echo", async move {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        drop(tokio::io::copy(&mut read, &mut write).await);
    });
    let switching = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "echo");
    switching.body(whole("")).unwrap()
}

async fn answer(request: Request<Incoming>, log: Asked, tasks: TaskSet) -> Result<Response<Answered>, hyper::Error> {
    let question = Question {
        method: request.method().clone(),
        path: request.uri().path_and_query().unwrap().to_string(),
        headers: request.headers().clone(),
        version: request.version(),
    };
    if question.path.ends_with("/elsewhere") {
        return Ok(Response::builder().status(302).header("location", "/").body(whole("")).unwrap());
    }
    if question.path.ends_with("watch=1") {
        return Ok(Response::new(endless()));
    }
    if request.headers().contains_key("upgrade") {
        log.lock().unwrap().push(question);
        return Ok(echo(request, &tasks));
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = question.path.clone();
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
    log.lock().unwrap().push(question);
    Ok(Response::new(whole(answer.to_string())))
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
    let Question { path, headers, .. } = asked.iter().find(|asked| asked.method == Method::POST).unwrap();
    assert_eq!(path, &place);
    assert_eq!(headers["x-remote-user"], "jane");
    assert_eq!(headers["host"], extension.address.to_string());
    assert_eq!(headers["x-forwarded-uri"], "/apis/wardle.example.com/v1/namespaces/default/flunders");
    assert!(headers.contains_key("audit-id"));
    let groups: Vec<_> = headers.get_all("x-remote-group").iter().collect();
    assert_eq!(groups, ["system:masters", "team", "system:authenticated"]);
}

#[tokio::test]
async fn a_server_that_speaks_http_2_is_spoken_to_over_few_connections() {
    let (bench, extension) = (Bench::new().await, Extension::speaking(&[b"h2", b"http/1.1"]).await);
    extension.register(&bench).await;
    bench.available("v1.wardle.example.com", "Passed").await;
    let before = extension.connections.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(bench.get("/apis/wardle.example.com/v1/flunders").await.code, 200);
    }
    // A check may be under way, which asks five times at once.
    assert!(extension.connections.load(Ordering::Relaxed) < before + 10);
    assert_eq!(extension.asked.lock().unwrap().last().unwrap().version, Version::HTTP_2);
    let elsewhere = bench.get("/apis/wardle.example.com/v1/elsewhere").await;
    assert_eq!(elsewhere.code, 502);
}

#[tokio::test]
async fn events_of_a_watch_come_as_they_are_sent() {
    let admin = auth::UserInfo::master("admin");
    for protocols in [&[b"http/1.1".as_slice()], &[b"h2".as_slice()]] {
        let (bench, extension) = (Bench::new().await, Extension::speaking(protocols).await);
        extension.register(&bench).await;
        bench.available("v1.wardle.example.com", "Passed").await;
        let request = Request::get("/apis/wardle.example.com/v1/flunders?watch=1").body(crate::whole("")).unwrap();
        let mut watch = bench.send(request, Some(&admin)).await.into_body();
        let frame = watch.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "{}\n");
    }
}

#[tokio::test]
async fn connections_of_http_1_are_kept_too() {
    let (bench, extension) = (Bench::new().await, Extension::start().await);
    extension.register(&bench).await;
    bench.available("v1.wardle.example.com", "Passed").await;
    assert_eq!(bench.get("/apis/wardle.example.com/v1/flunders").await.code, 200);
    let before = extension.connections.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(bench.get("/apis/wardle.example.com/v1/flunders").await.code, 200);
    }
    // A check may be under way, which asks five times at once.
    assert!(extension.connections.load(Ordering::Relaxed) < before + 10);
}

#[tokio::test]
async fn an_upgrade_passes_over_http_1_although_the_server_speaks_http_2() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { listeners: vec![Arc::new(listener)], ..Config::default() };
    let bench = Bench::with(config).await;
    let extension = Extension::speaking(&[b"h2", b"http/1.1"]).await;
    extension.register(&bench).await;
    bench.available("v1.wardle.example.com", "Passed").await;
    let pki = bench.server.pki();
    let tls = auth::pki::client_config(&pki.ca, &pki.admin().unwrap()).unwrap();
    let stream = TcpStream::connect(bench.server.address().unwrap()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await.unwrap();
    let head = "GET /apis/wardle.example.com/v1/echo HTTP/1.1\r\nhost: localhost\r\n\
                connection: Upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
    let asked = extension.asked.lock().unwrap();
    let echoed = asked.iter().find(|question| question.path.ends_with("/echo")).unwrap();
    assert_eq!(
        (echoed.version, &echoed.headers["x-remote-user"]),
        (Version::HTTP_11, &"system:admin".parse().unwrap())
    );
}

#[tokio::test]
async fn a_server_with_a_strangers_certificate_fails_its_check() {
    let (bench, extension, stranger) = (Bench::new().await, Extension::start().await, Extension::start().await);
    let extension = Extension { ca_bundle: stranger.ca_bundle.clone(), ..extension };
    extension.register(&bench).await;
    bench.available("v1.wardle.example.com", "FailedDiscoveryCheck").await;
    let status = bench.get(&format!("{SERVICES}/v1.wardle.example.com")).await.body["status"].clone();
    let url = format!("https://{}/apis/wardle.example.com/v1", extension.address);
    let why = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let message = format!("failing or missing response from {url}: Get {url:?}: {why}");
    assert_eq!(status["conditions"][0]["message"], message);
    assert_eq!(bench.get("/apis/wardle.example.com/v1").await.code, 503);
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
