//! Webhooks over TLS on the loopback interface.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rt::TaskSet;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::Bench;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1";

type Judge = dyn Fn(&Value) -> Value + Send + Sync;

/// A webhook that listens, and what it was asked.
pub struct Webhook {
    pub address: SocketAddr,
    pub ca_bundle: String,
    asked: Arc<Mutex<Vec<Value>>>,
    _tasks: TaskSet,
}

impl Webhook {
    /// `judge` gets the request of a review and gives the response without its uid.
    pub async fn start(judge: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Webhook {
        Webhook::reviewing("admission.k8s.io/v1", "AdmissionReview", judge).await
    }

    /// The same for reviews of any kind.
    pub async fn reviewing(
        api_version: &'static str,
        kind: &'static str,
        judge: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Webhook {
        let (tasks, asked) = (TaskSet::new(), Arc::new(Mutex::new(Vec::new())));
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
        let acceptor = acceptor(certificate.der().clone(), key.serialize_der());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (judge, log): (Arc<Judge>, _) = (Arc::new(judge), asked.clone());
        let within = tasks.clone();
        tasks.spawn_until_cancelled("webhook", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, judge, log) = (acceptor.clone(), judge.clone(), log.clone());
                within.spawn_until_cancelled("connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| answer(request, (api_version, kind), &judge, &log));
                    let served =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(served.await);
                });
            }
        });
        let ca_bundle = base64::engine::general_purpose::STANDARD.encode(certificate.pem());
        Webhook { address, ca_bundle, asked, _tasks: tasks }
    }

    pub fn hook(&self, name: &str, operations: &[&str]) -> Value {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://{}/judge", self.address), "caBundle": self.ca_bundle},
            "rules": [{"operations": operations, "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        })
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// What it was asked after the first `start` questions.
    pub fn asked_from(&self, start: usize) -> Vec<Value> {
        self.asked.lock().unwrap()[start..].to_vec()
    }

    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

pub fn acceptor(certificate: CertificateDer<'static>, key: Vec<u8>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn answer(
    request: Request<Incoming>,
    (api_version, kind): (&str, &str),
    judge: &Arc<Judge>,
    log: &Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut response = judge(&review["request"]);
    response["uid"] = review["request"]["uid"].clone();
    log.lock().unwrap().push(review["request"].clone());
    let review = json!({"apiVersion": api_version, "kind": kind, "response": response});
    Ok(Response::new(Full::new(review.to_string().into())))
}

fn patch(operations: Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

pub async fn configure(bench: &Bench, kind: &str, name: &str, hooks: Vec<Value>) {
    let body = json!({"metadata": {"name": name}, "webhooks": hooks});
    let path = format!("{CONFIGURATIONS}/{}", kind.to_lowercase() + "s");
    let created = bench.post(&path, &body).await;
    assert_eq!(created.code, 201, "{}", created.body);
}

const MUTATING: &str = "MutatingWebhookConfiguration";
pub const VALIDATING: &str = "ValidatingWebhookConfiguration";

#[tokio::test]
async fn a_patch_is_applied_and_what_the_kind_does_not_have_is_dropped() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|_| {
        patch(
            json!([{"op": "add", "path": "/data", "value": {"a": "b"}}, {"op": "add", "path": "/unknown", "value": 1}]),
        )
    });
    let webhook = webhook.await;
    configure(&bench, MUTATING, "m", vec![webhook.hook("a.example.com", &["CREATE"])]).await;
    let created = bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await;
    assert_eq!((created.code, &created.body["data"]), (201, &json!({"a": "b"})), "{}", created.body);
    assert!(created.body.get("unknown").is_none());
    let asked = webhook.asked();
    let request = &asked[0];
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&request["name"], &request["namespace"]), (&json!("x"), &json!("default")));
    assert_eq!((&request["operation"], &request["dryRun"]), (&json!("CREATE"), &json!(false)));
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!((&request["oldObject"], &request["userInfo"]["username"]), (&Value::Null, &json!("admin")));
    assert!(request.pointer("/object/metadata/uid").is_none(), "it does not exist yet");
}

#[tokio::test]
async fn a_denial_has_the_webhooks_code_and_words() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|request| match request["operation"].as_str() {
        Some("DELETE") => {
            json!({"allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "keep it"}})
        }
        _ => json!({"allowed": true, "warnings": ["mind the gap"]}),
    })
    .await;
    configure(&bench, VALIDATING, "v", vec![webhook.hook("a.example.com", &["*"])]).await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await.code, 201);
    let denied = bench.delete(&format!("{MAPS}/x")).await;
    assert_eq!((denied.code, &denied.body["reason"]), (403, &json!("Forbidden")));
    assert_eq!(denied.body["message"], "admission webhook \"a.example.com\" denied the request: keep it");
    let last = webhook.asked().pop().unwrap();
    assert_eq!((&last["object"], &last["oldObject"]["metadata"]["name"]), (&Value::Null, &json!("x")));
    assert_eq!(last["options"]["kind"], "DeleteOptions");
    let all = bench.admin(Method::DELETE, MAPS, &Value::Null).await;
    assert_eq!(all.code, 403, "each of a collection is asked about");
}

#[tokio::test]
async fn whoever_asks_to_is_asked_again_after_a_change() {
    let bench = Bench::new().await;
    let first = Webhook::start(|_| json!({"allowed": true})).await;
    let second = Webhook::start(|_| patch(json!([{"op": "add", "path": "/data", "value": {"a": "b"}}]))).await;
    let mut asked_again = first.hook("a.example.com", &["CREATE"]);
    asked_again["reinvocationPolicy"] = "IfNeeded".into();
    configure(&bench, MUTATING, "m", vec![asked_again, second.hook("b.example.com", &["CREATE"])]).await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await.code, 201);
    assert_eq!((first.asked().len(), second.asked().len()), (2, 1));
    assert_eq!(first.asked()[1]["object"]["data"], json!({"a": "b"}));
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_fails_or_is_ignored_as_its_policy_says() {
    let bench = Bench::new().await;
    let hook = |policy: &str| {
        json!({
            "name": "gone.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "default", "name": "gone", "path": "/judge"}},
            "failurePolicy": policy,
            "rules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps"]}],
        })
    };
    configure(&bench, VALIDATING, "v", vec![hook("Fail")]).await;
    let failed = bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await;
    assert_eq!((failed.code, &failed.body["reason"]), (500, &json!("InternalError")));
    assert_eq!(
        failed.body["message"],
        "Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post \
         \"https://gone.default.svc:443/judge?timeout=10s\": service \"gone\" not found"
    );
    bench.delete(&format!("{CONFIGURATIONS}/validatingwebhookconfigurations/v")).await;
    configure(&bench, VALIDATING, "v", vec![hook("Ignore")]).await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await.code, 201);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_believed() {
    let bench = Bench::new().await;
    let (webhook, other) = (Webhook::start(|_| json!({"allowed": true})).await, Webhook::start(|_| json!({})).await);
    let mut hook = webhook.hook("a.example.com", &["CREATE"]);
    hook["clientConfig"]["caBundle"] = other.ca_bundle.as_str().into();
    configure(&bench, MUTATING, "m", vec![hook]).await;
    let failed = bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(failed.code, 500);
    assert!(failed.body["message"].as_str().unwrap().contains("tls: failed to verify certificate"), "{}", failed.body);
    assert!(webhook.asked().is_empty());
}

#[tokio::test]
async fn a_dry_run_asks_only_those_without_side_effects() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|_| json!({"allowed": true})).await;
    let mut hook = webhook.hook("a.example.com", &["CREATE"]);
    hook["matchPolicy"] = "Exact".into();
    configure(&bench, MUTATING, "m", vec![hook]).await;
    assert_eq!(bench.post(&format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "x"}})).await.code, 201);
    assert_eq!((webhook.asked().len(), &webhook.asked()[0]["dryRun"]), (1, &json!(true)));
}

#[tokio::test]
async fn another_version_of_a_resource_is_shown_as_the_webhook_knows_it() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|_| json!({"allowed": true})).await;
    let mut hook = webhook.hook("a.example.com", &["CREATE"]);
    hook["rules"] = json!([{"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"],
        "resources": ["horizontalpodautoscalers"]}]);
    configure(&bench, VALIDATING, "v", vec![hook]).await;
    let scaler = json!({"metadata": {"name": "x"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}});
    let created = bench.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", &scaler).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let asked = webhook.asked();
    assert_eq!((&asked[0]["kind"]["version"], &asked[0]["requestKind"]["version"]), (&json!("v2"), &json!("v1")));
    assert_eq!(asked[0]["object"]["apiVersion"], "autoscaling/v2");
    assert_eq!(asked[0].pointer("/object/spec/metrics/0/resource/target/averageUtilization"), Some(&json!(50)));
}

#[tokio::test]
async fn selectors_choose_namespaces_and_objects() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|_| json!({"allowed": false})).await;
    let mut by_namespace = webhook.hook("a.example.com", &["*"]);
    by_namespace["namespaceSelector"] = json!({"matchLabels": {"judged": "yes"}});
    let mut by_object = webhook.hook("b.example.com", &["*"]);
    by_object["objectSelector"] = json!({"matchLabels": {"judged": "yes"}});
    configure(&bench, VALIDATING, "v", vec![by_namespace, by_object]).await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await.code, 201);
    let labelled = json!({"metadata": {"labels": {"judged": "yes"}}});
    let denied = bench.patch(&format!("{MAPS}/x"), "merge", &labelled).await;
    assert_eq!(
        (denied.code, &denied.body["message"]),
        (400, &json!("admission webhook \"b.example.com\" denied the request without explanation"))
    );
    bench.patch("/api/v1/namespaces/default", "merge", &labelled).await;
    let denied = bench.post(MAPS, &json!({"metadata": {"name": "y"}})).await;
    assert_eq!(denied.body["message"], "admission webhook \"a.example.com\" denied the request without explanation");
}

#[tokio::test]
async fn connections_are_asked_about_with_their_options() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|_| json!({"allowed": false, "status": {"code": 403, "message": "no shell"}})).await;
    let mut hook = webhook.hook("a.example.com", &["CONNECT"]);
    hook["rules"][0]["resources"] = json!(["pods/exec"]);
    configure(&bench, VALIDATING, "v", vec![hook]).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(bench.post("/api/v1/namespaces/default/pods", &pod).await.code, 201);
    let denied = bench.post("/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=true", &Value::Null).await;
    assert_eq!(denied.code, 403, "{}", denied.body);
    let asked = webhook.asked();
    assert_eq!((&asked[0]["kind"]["kind"], &asked[0]["subResource"]), (&json!("PodExecOptions"), &json!("exec")));
    assert_eq!((&asked[0]["object"]["command"], &asked[0]["object"]["stdin"]), (&json!(["sh"]), &json!(true)));
}

#[tokio::test]
async fn the_configurations_themselves_are_exempt() {
    let bench = Bench::new().await;
    let webhook = Webhook::start(|_| json!({"allowed": false})).await;
    let mut hook = webhook.hook("a.example.com", &["*"]);
    hook["rules"] = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    configure(&bench, VALIDATING, "v", vec![hook]).await;
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await.code, 400);
    assert_eq!(bench.delete(&format!("{CONFIGURATIONS}/validatingwebhookconfigurations/v")).await.code, 200);
    assert_eq!(bench.post(MAPS, &json!({"metadata": {"name": "x"}})).await.code, 201);
}
