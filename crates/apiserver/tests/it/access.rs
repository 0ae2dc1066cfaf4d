use std::sync::Arc;

use apiserver::PeerCertificates;
use auth::UserInfo;
use http::{Method, Request};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::{Bench, whole};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn status_with_certificate(bench: &Bench, pem: &str, path: &str) -> u16 {
    let mut request = Request::get(path).body(whole("")).expect("a request");
    let cert = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    request.extensions_mut().insert(PeerCertificates(Arc::new(vec![cert])));
    bench.send(request, None).await.status().as_u16()
}

#[tokio::test]
async fn a_certificate_of_the_cluster_is_a_user_and_a_strangers_is_401() {
    let bench = Bench::new().await;
    let admin = bench.server.pki().admin().unwrap();
    assert_eq!(status_with_certificate(&bench, &admin.cert_pem, PODS).await, 200);
    let jane = bench.server.pki().client("jane", "jane", None).unwrap();
    assert_eq!(status_with_certificate(&bench, &jane.cert_pem, PODS).await, 403);
    let stranger = auth::pki::Pki::ephemeral().unwrap().admin().unwrap();
    assert_eq!(status_with_certificate(&bench, &stranger.cert_pem, PODS).await, 401);
}

#[tokio::test]
async fn without_credentials_there_is_health_and_version_only() {
    let bench = Bench::new().await;
    let status = async |path: &str| bench.ask(None, Method::GET, path, "", &Value::Null).await.code;
    assert_eq!((status("/version").await, status("/readyz").await), (200, 200));
    assert_eq!((status(PODS).await, status("/api").await, status("/metrics").await), (401, 401, 401));
}

#[tokio::test]
async fn a_granted_role_works_with_the_next_request() {
    let bench = Bench::new().await;
    let jane = UserInfo::new("jane", &[]);
    let list = async || bench.ask(Some(&jane), Method::GET, PODS, "", &Value::Null).await;
    assert_eq!(
        list().await.body["message"],
        r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#
    );
    let binding = json!({
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(bench.post(bindings, &binding).await.code, 201);
    assert_eq!(list().await.code, 200);
    assert_eq!(bench.delete(&format!("{bindings}/jane")).await.code, 200);
    assert_eq!(list().await.code, 403);
}

#[tokio::test]
async fn a_bound_token_dies_with_its_service_account() {
    let bench = Bench::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let issued = bench.post(&format!("{accounts}/default/token"), &json!({"spec": {}})).await.body;
    let token = issued["status"]["token"].as_str().unwrap().to_string();
    let whoami = async || {
        let request = Request::get("/apis").header("authorization", format!("Bearer {token}"));
        bench.send(request.body(whole("")).unwrap(), None).await.status().as_u16()
    };
    assert_eq!(whoami().await, 200);
    bench.delete(&format!("{accounts}/default")).await;
    assert_eq!(whoami().await, 401);
}

/// A pod `p` on node `n1`, whose service account's token is asked for by nodes.
async fn bench_with_pod() -> (Bench, Value) {
    let bench = Bench::new().await;
    let container = json!({"name": "c", "image": "i"});
    let projected = json!({"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]});
    let pod = json!({
        "metadata": {"name": "p", "labels": {"app": "a"}},
        "spec": {
            "nodeName": "n1",
            "containers": [container],
            "volumes": [{"name": "v", "projected": projected}],
        },
    });
    let pod = bench.post(PODS, &pod).await;
    assert_eq!(pod.code, 201, "{}", pod.body);
    (bench, pod.body)
}

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), &["system:nodes", "system:authenticated"])
}

#[tokio::test]
async fn a_node_gets_tokens_for_the_audiences_of_its_pods_only() {
    let (bench, pod) = bench_with_pod().await;
    let ask = async |who: &UserInfo, uid: &str, audiences: Value| {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
        let spec = json!({"audiences": audiences, "boundObjectRef": bound});
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let answer = bench.ask(Some(who), Method::POST, path, "application/json", &json!({"spec": spec})).await;
        (answer.code, answer.body["message"].as_str().unwrap_or_default().to_string())
    };
    let (n1, uid) = (node("n1"), pod["metadata"]["uid"].as_str().unwrap());
    assert_eq!(ask(&n1, uid, json!(["vault"])).await.0, 201);
    // The volume that every pod has asks for the server's own audience.
    assert_eq!(ask(&n1, uid, json!([])).await.0, 201);
    let forbidden = |why: &str| (403, format!("serviceaccounts \"default\" is forbidden: {why}"));
    assert_eq!(
        ask(&n1, uid, json!(["other"])).await,
        forbidden(
            "audience \"other\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for \
             this audience"
        )
    );
    assert_eq!(ask(&n1, uid, json!(["vault", "other"])).await, forbidden("node may only request 0 or 1 audiences"));
    assert_eq!(
        ask(&n1, "", json!(["vault"])).await,
        forbidden("node requested token with a pod binding without a uid")
    );
    let elsewhere = ask(&node("n2"), uid, json!(["vault"])).await;
    assert!(elsewhere.1.ends_with("no relationship found between node 'n2' and this object"), "{elsewhere:?}");
}

#[tokio::test]
async fn a_node_deletes_and_reports_only_its_own_pods() {
    let (bench, _) = bench_with_pod().await;
    let path = format!("{PODS}/p");
    let ask = async |who: &str, method: Method, path: &str, body: &Value| {
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let answer = bench.ask(Some(&node(who)), method, path, media, body).await;
        (answer.code, answer.body["message"].as_str().unwrap_or_default().to_string())
    };
    let status = format!("{path}/status");
    let running = json!({"status": {"phase": "Running"}});
    assert_eq!(ask("n1", Method::PATCH, &status, &running).await.0, 200);
    let foreign = ask("n2", Method::PATCH, &status, &running).await;
    assert!(foreign.1.ends_with("for pods with spec.nodeName set to itself"), "{foreign:?}");
    let relabelled = json!({"metadata": {"labels": {"app": "b"}}});
    let refused = ask("n1", Method::PATCH, &status, &relabelled).await;
    assert!(refused.1.ends_with("node \"n1\" cannot update labels through pod status"), "{refused:?}");
    assert_eq!(
        ask("n2", Method::DELETE, &path, &Value::Null).await,
        (403, "pods \"p\" is forbidden: node \"n2\" can only delete pods with spec.nodeName set to itself".into())
    );
    assert_eq!(ask("n1", Method::DELETE, &path, &json!({"gracePeriodSeconds": 0})).await.0, 200);
}

#[tokio::test]
async fn an_access_review_tells_what_it_did_not_understand() {
    let bench = Bench::new().await;
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let ask = async |attributes: Value, metadata: Value| {
        let spec = json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": attributes});
        bench.post(reviews, &json!({"metadata": metadata, "spec": spec})).await
    };
    let list = |selector: Value| json!({"verb": "list", "resource": "pods", "fieldSelector": selector});
    let own = json!({"key": "spec.nodeName", "operator": "In", "values": ["n1"]});
    let later = json!({"key": "spec.nodeName", "operator": "Later"});
    let answer = ask(list(json!({"requirements": [own, later]})), json!({})).await;
    let unread = "spec.resourceAttributes.fieldSelector partially ignored due to parse error";
    assert_eq!(answer.body["status"], json!({"allowed": true, "evaluationError": unread}));
    let answer = ask(list(json!({"rawSelector": "spec.nodeName!=n1"})), json!({})).await;
    let why = "can only list/watch pods with spec.nodeName field selector";
    assert_eq!(answer.body["status"], json!({"allowed": false, "reason": why}));
    assert_eq!(ask(list(json!({})), json!({})).await.code, 422);
    assert_eq!(ask(list(json!({"rawSelector": "a=b"})), json!({"name": "x"})).await.code, 422);
}

#[tokio::test]
async fn the_rules_of_a_node_are_incomplete() {
    let bench = Bench::new().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let body = json!({"spec": {"namespace": "default"}});
    let answer = bench.ask(Some(&node("n1")), Method::POST, path, "application/json", &body).await;
    assert_eq!(answer.body["status"]["incomplete"], true);
    assert_eq!(answer.body["status"]["evaluationError"], "node authorizer does not support user rule resolution");
    let jane = UserInfo::new("jane", &["system:authenticated"]);
    let answer = bench.ask(Some(&jane), Method::POST, path, "application/json", &body).await;
    assert_eq!(
        (&answer.body["status"]["incomplete"], answer.body["status"].get("evaluationError")),
        (&json!(false), None)
    );
}
