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
