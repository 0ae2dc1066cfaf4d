//! Whole requests, in process: whatever is sent, the answer is no fault of the server's.

use std::sync::OnceLock;

use apiserver::{Config, Server};
use auth::UserInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use rt::TaskSet;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// By the first byte of an input: how the rest is sent.
const FORMS: [(Method, &str, &str); 8] = [
    (Method::POST, "/api/v1/namespaces/default/configmaps", "application/yaml"),
    (Method::POST, "/api/v1/namespaces/default/pods", "application/json"),
    (Method::POST, "/api/v1/namespaces/default/pods?dryRun=All", "application/vnd.kubernetes.protobuf"),
    (Method::PATCH, "/api/v1/namespaces/default/configmaps/fuzz", "application/json-patch+json"),
    (Method::PATCH, "/api/v1/namespaces/default/configmaps/fuzz?fieldManager=f", "application/apply-patch+yaml"),
    (Method::PATCH, "/api/v1/namespaces/default", "application/strategic-merge-patch+json"),
    (Method::POST, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", "application/json"),
    (Method::DELETE, "/api/v1/namespaces/default/configmaps/fuzz?dryRun=All", "application/json"),
];

struct World {
    runtime: Runtime,
    server: Server,
    _tasks: TaskSet,
}

/// One server for all inputs.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let tasks = TaskSet::new();
        let server = runtime.block_on(Server::start(Config::default(), &tasks)).expect("an in-memory server starts");
        World { runtime, server, _tasks: tasks }
    })
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    world().runtime.block_on(future)
}

/// A body, as one of several types.
pub fn body(input: &[u8]) {
    let (form, rest) = input.split_first().unwrap_or((&0, &[]));
    let (method, path, media) = &FORMS[usize::from(*form) % FORMS.len()];
    let request = Request::builder().method(method).uri(*path).header("content-type", *media);
    let request = request.body(Full::new(rest.to_vec().into()).map_err(|never| match never {}).boxed());
    answered(request.expect("the line is well formed"), Some(UserInfo::master("fuzz")));
}

/// A path with its query.
pub fn line(input: &[u8]) {
    let Ok(request) = Request::get(input).body(Full::default().map_err(|never| match never {}).boxed()) else { return };
    // These begin and do not end.
    let text = request.uri().to_string();
    if text.contains("watch") || text.contains("follow") {
        return;
    }
    answered(request, Some(UserInfo::master("fuzz")));
}

/// Of somebody who wants a certificate.
pub fn certificate_request(input: &[u8]) {
    post(
        "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All",
        &json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "fuzz"},
            "spec": {"request": STANDARD.encode(input), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
                "usages": ["digital signature", "client auth"]},
        }),
    );
}

/// When a job runs.
pub fn cron_schedule(input: &[u8]) {
    let Ok(schedule) = std::str::from_utf8(input) else { return };
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    post(
        "/apis/batch/v1/namespaces/default/cronjobs?dryRun=All",
        &json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "fuzz"},
            "spec": {"schedule": schedule, "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": {"spec": pod}}}},
        }),
    );
}

fn post(path: &str, object: &Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Full::new(object.to_string().into()).map_err(|never| match never {}).boxed());
    answered(request.expect("the line is well formed"), Some(UserInfo::master("fuzz")));
}

/// A credential of a stranger: never good for anything.
pub fn token(input: &[u8]) {
    let value = [b"Bearer ", input].concat();
    let request = Request::get("/api/v1/namespaces/default/secrets").header("authorization", value);
    let Ok(request) = request.body(Full::default().map_err(|never| match never {}).boxed()) else { return };
    let status = answered(request, None);
    assert!(status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN, "{status}");
}

fn answered(mut request: Request<apiserver::Body>, user: Option<UserInfo>) -> StatusCode {
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    block_on(async {
        let response = world().server.handle(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.expect("an answer ends").to_bytes();
        // A version that is not reached yet, and a node that is not there, are no faults.
        let text = String::from_utf8_lossy(&bytes);
        let fault = status.is_server_error() && !text.contains("ResourceVersionTooLarge");
        assert!(!fault, "{status}: {text}");
        status
    })
}
