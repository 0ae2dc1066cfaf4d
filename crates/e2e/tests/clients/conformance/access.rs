//! Certificates API, ServiceAccounts, their issuer's discovery, and SubjectReview.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use super::api::{Answer, Api, CORE, condition, names};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// For a client of this name.
fn request(name: &str, signer: &str) -> Value {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "e2e-client");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    json!({
        "metadata": {"name": name, "labels": {"of": "conformance"}},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["client auth"], "expirationSeconds": 3600},
    })
}

#[tokio::test]
async fn a_signing_request_is_approved_signed_changed_and_deleted() {
    let api = Api::start("access-certificates").await;
    let made = api.post(REQUESTS, &request("one", "kubernetes.io/kube-apiserver-client")).await.ok();
    assert_eq!(made["spec"]["username"], "system:admin");
    let own = format!("{REQUESTS}/one");
    let mut approved = made.clone();
    approved["status"]["conditions"] =
        json!([{"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}]);
    let approved = api.put(&format!("{own}/approval"), &approved).await.ok();
    assert!(condition(&approved, "Approved").unwrap()["lastTransitionTime"].is_string());
    let certificate = api.until(&own, |answer| answer.body["status"]["certificate"].as_str().map(str::to_owned)).await;
    let pem = String::from_utf8(STANDARD.decode(certificate).unwrap()).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    let denied = json!([{"op": "add", "path": "/status/conditions/-", "value": {"type": "Denied", "status": "True"}}]);
    api.patch(&format!("{own}/approval"), "json-patch+json", &denied)
        .await
        .refused(422, "Approved and Denied conditions are mutually exclusive");
    unsigned(&api).await;
}

/// Nobody signs for a signer of one's own.
async fn unsigned(api: &Api) {
    for name in ["a", "b"] {
        api.post(REQUESTS, &request(name, "example.com/e2e")).await.ok();
    }
    let own = format!("{REQUESTS}/a");
    let selected = format!("{REQUESTS}?fieldSelector=spec.signerName%3Dexample.com%2Fe2e");
    assert_eq!(names(&api.get(&selected).await.ok()), ["a", "b"]);
    let patched = api.merge(&own, &json!({"metadata": {"annotations": {"patched": "yes"}}})).await.ok();
    assert_eq!(patched["metadata"]["annotations"]["patched"], "yes");
    let spec = json!({"spec": {"usages": ["server auth"]}});
    let kept = api.merge(&own, &spec).await;
    assert!(kept.code == 422 || kept.body["spec"]["usages"] == json!(["client auth"]), "{kept}");
    let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "E2E"}]}});
    let status = api.merge(&format!("{own}/status"), &failed).await.ok();
    assert!(condition(&status, "Failed").is_some());
    api.delete(&own).await.ok();
    api.delete(&selected).await.ok();
    assert!(names(&api.get(&selected).await.ok()).is_empty());
}

#[tokio::test]
async fn a_service_account_lives_and_its_namespace_keeps_the_root_certificate() {
    let api = Api::start("access-accounts").await;
    let accounts = format!("{CORE}/serviceaccounts");
    let account =
        json!({"metadata": {"name": "one", "labels": {"of": "conformance"}}, "automountServiceAccountToken": false});
    let mut made = api.post(&accounts, &account).await.ok();
    let own = format!("{accounts}/one");
    made["automountServiceAccountToken"] = json!(true);
    assert_eq!(api.put(&own, &made).await.ok()["automountServiceAccountToken"], true);
    let patched =
        api.patch(&own, "strategic-merge-patch+json", &json!({"metadata": {"annotations": {"a": "b"}}})).await.ok();
    assert_eq!(patched["metadata"]["annotations"]["a"], "b");
    let selected = "labelSelector=of%3Dconformance";
    assert_eq!(names(&api.get(&format!("/api/v1/serviceaccounts?{selected}")).await.ok()), ["one"]);
    let mut watch = api.watch(&format!("{accounts}?{selected}")).await;
    assert_eq!(watch.names(1).await, ["ADDED one"]);
    api.delete(&format!("{accounts}?{selected}")).await.ok();
    assert_eq!(watch.names(1).await, ["DELETED one"]);
    root_certificate(&api).await;
}

/// Deleted it comes back, changed it is put right.
async fn root_certificate(api: &Api) {
    let own = format!("{CORE}/configmaps/kube-root-ca.crt");
    let pem = |answer: &Answer| {
        answer.body["data"]["ca.crt"].as_str().filter(|text| text.contains("BEGIN CERTIFICATE")).map(str::to_owned)
    };
    let first = api.get(&own).await.ok();
    api.delete(&own).await.ok();
    let uid = first["metadata"]["uid"].clone();
    api.until(&own, |answer| pem(answer).filter(|_| answer.body["metadata"]["uid"] != uid)).await;
    api.merge(&own, &json!({"data": {"ca.crt": "changed", "more": "x"}})).await.ok();
    api.until(&own, |answer| pem(answer).filter(|_| answer.body["data"]["more"].is_null())).await;
    let namespace = api.namespace("harbour").await;
    api.until(&format!("{namespace}/configmaps/kube-root-ca.crt"), pem).await;
}

async fn token(api: &Api, spec: Value) -> Value {
    let path = format!("{CORE}/serviceaccounts/default/token");
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    api.post(&path, &body).await.ok()
}

async fn review(api: &Api, token: &Value, audiences: Value) -> Value {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    api.post("/apis/authentication.k8s.io/v1/tokenreviews", &body).await.ok()["status"].clone()
}

/// One part of a token, read.
fn part(token: &Value, index: usize) -> Value {
    let text = token.as_str().unwrap().split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_is_made_reviewed_and_ends_with_the_pod_that_it_is_bound_to() {
    let api = Api::start("access-tokens").await;
    let made = token(&api, json!({"audiences": ["elsewhere"], "expirationSeconds": 600})).await;
    let status = review(&api, &made["status"]["token"], json!(["elsewhere"])).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(status["audiences"], json!(["elsewhere"]));
    assert_eq!(review(&api, &made["status"]["token"], Value::Null).await["authenticated"], Value::Null);
    let claims = part(&made["status"]["token"], 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 500..now + 700).contains(&claims["exp"].as_u64().unwrap()), "{claims}");
    let pod = api.post(&format!("{CORE}/pods"), &super::api::pod("one")).await.ok();
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": pod["metadata"]["uid"]});
    let made = token(&api, json!({"boundObjectRef": bound})).await;
    let own = &made["status"]["token"];
    let status = review(&api, own, Value::Null).await;
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["one"]), "{status}");
    let bearer = format!("Bearer {}", own.as_str().unwrap());
    who(&api, &bearer).await;
    api.delete(&format!("{CORE}/pods/one?gracePeriodSeconds=0")).await.ok();
    api.gone(&format!("{CORE}/pods/one")).await;
    assert_ne!(review(&api, own, Value::Null).await["authenticated"], json!(true));
}

/// Who the bearer is, by the server's own word.
async fn who(api: &Api, bearer: &str) {
    let header = format!("Authorization: {bearer}");
    let mut command = std::process::Command::new("curl");
    command.args(["-ks", "-H", &header, "-H", "Content-Type: application/json", "-d", "{}"]);
    let output =
        command.arg(api.bare.server.url("/apis/authentication.k8s.io/v1/selfsubjectreviews")).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let user = &answer["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:default", "{answer}");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
}

#[tokio::test]
async fn the_issuer_of_tokens_is_discovered_with_its_keys() {
    let api = Api::start("access-issuer").await;
    let document = api.get("/.well-known/openid-configuration").await.ok();
    let claims = token(&api, json!({})).await["status"]["token"].clone();
    assert_eq!(document["issuer"], part(&claims, 1)["iss"]);
    assert_eq!(document["response_types_supported"], json!(["id_token"]));
    assert_eq!(document["subject_types_supported"], json!(["public"]));
    assert!(document["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"), "{document}");
    let keys = api.send(Method::GET, "/openid/v1/jwks", &[], Vec::new()).await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let keys = keys.ok();
    let header = part(&claims, 0);
    let key =
        keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).expect("the key is published");
    assert_eq!((&key["alg"], &key["use"]), (&header["alg"], &json!("sig")));
    assert!(key.get("d").is_none(), "nothing private");
    // A service account may read it, a stranger may not.
    let review = json!({"spec": {"user": "x", "groups": ["system:serviceaccounts"], "nonResourceAttributes": {"path": "/openid/v1/jwks", "verb": "get"}}});
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(api.post(reviews, &review).await.ok()["status"]["allowed"], true);
    let mut stranger = review;
    stranger["spec"]["groups"] = json!(["system:authenticated"]);
    assert_eq!(api.post(reviews, &stranger).await.ok()["status"]["allowed"], false);
}

#[tokio::test]
async fn subjects_are_reviewed_as_themselves_as_others_and_in_a_namespace() {
    let api = Api::start("access-reviews").await;
    let group = "/apis/authorization.k8s.io/v1";
    let list = json!({"verb": "list", "resource": "configmaps", "namespace": "default", "version": "v1"});
    let account = "system:serviceaccount:default:e2e";
    let reviews =
        [format!("{group}/subjectaccessreviews"), format!("{group}/namespaces/default/localsubjectaccessreviews")];
    let review = json!({"metadata": {"namespace": "default"}, "spec": {"resourceAttributes": list, "user": account}});
    let mut anywhere = review.clone();
    anywhere["metadata"] = json!({});
    assert_eq!(api.post(&reviews[0], &anywhere).await.ok()["status"]["allowed"], false);
    assert_eq!(api.post(&reviews[1], &review).await.ok()["status"]["allowed"], false);
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    api.post(&format!("{rbac}/roles"), &json!({"metadata": {"name": "e2e"}, "rules": rules})).await.ok();
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "e2e"});
    let subjects = json!([{"kind": "ServiceAccount", "name": "e2e", "namespace": "default"}]);
    api.post(
        &format!("{rbac}/rolebindings"),
        &json!({"metadata": {"name": "e2e"}, "roleRef": role, "subjects": subjects}),
    )
    .await
    .ok();
    assert_eq!(api.post(&reviews[0], &anywhere).await.ok()["status"]["allowed"], true);
    assert_eq!(api.post(&reviews[1], &review).await.ok()["status"]["allowed"], true);
    let own = json!({"spec": {"resourceAttributes": list}});
    let path = format!("{group}/selfsubjectaccessreviews");
    assert_eq!(api.post(&path, &own).await.ok()["status"]["allowed"], true);
    let headers = [("content-type", "application/json"), ("impersonate-user", "nobody")];
    let other = api.send(Method::POST, &path, &headers, own.to_string().into_bytes()).await;
    assert_eq!(other.ok()["status"]["allowed"], false);
}
