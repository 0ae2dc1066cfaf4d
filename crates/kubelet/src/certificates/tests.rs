//! Requests against a fake API, and the loop.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair as Key};
use rt::TaskSet;
use serde_json::json;
use testkit::FakeApi;

use super::*;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// A certificate of the node `a`, whose life began and ends so many seconds from now.
fn certificate(begin: i64, end: i64) -> String {
    let at = |seconds: i64| {
        let time = Timestamp::now().as_second() + seconds;
        std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).expect("after 1970"))
    };
    let mut params = CertificateParams::new(vec!["a".to_owned(), "10.0.0.1".to_owned()]).expect("names");
    params.distinguished_name.push(DnType::CommonName, "system:node:a");
    (params.not_before, params.not_after) = (at(begin).into(), at(end).into());
    params.self_signed(&Key::generate().expect("a key")).expect("a certificate").pem()
}

fn api() -> FakeApi {
    let api = FakeApi::new();
    api.serve("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest", false);
    api
}

/// Decides the one request that appears.
async fn decide(api: &FakeApi, status: serde_json::Value) -> serde_json::Value {
    loop {
        if let Some(mut request) = api.list(REQUESTS).pop() {
            request["status"] = status;
            return api.put(REQUESTS, request);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_refused_request_needs_another_key_and_an_issued_one_is_kept() {
    let (api, directory, tasks) = (api(), tempfile::tempdir().expect("a directory"), TaskSet::new());
    let wanted = Wanted::serving("a", "10.0.0.1".parse().expect("an address"));
    let (kept, client) = (Kept::new(directory.path(), "kubelet-server"), api.client());
    let denied = json!({"conditions": [{"type": "Denied", "status": "True", "reason": "No", "message": "never"}]});
    let (outcome, first) = tokio::join!(request(&wanted, &kept, &client, &tasks), decide(&api, denied));
    assert!(matches!(outcome, Err(CertificateError::Refused { why, .. }) if why == "No: never"));
    assert_eq!(first["spec"]["usages"], json!(["digital signature", "server auth"]));
    let name = |object: &serde_json::Value| object["metadata"]["name"].as_str().expect("a name").to_owned();
    api.remove(&format!("{REQUESTS}/{}", name(&first)));

    let pem = certificate(-60, 3600);
    use base64::Engine;
    let issued = json!({"certificate": base64::prelude::BASE64_STANDARD.encode(&pem)});
    let (outcome, second) = tokio::join!(request(&wanted, &kept, &client, &tasks), decide(&api, issued));
    assert_ne!(name(&first), name(&second));
    let pair = outcome.expect("a certificate");
    assert!(pair.cert_pem == pem && pair.key_pem.contains("PRIVATE KEY"));
    let now = Timestamp::now();
    assert!(kept.valid(&wanted, now).is_some_and(|kept| kept == pair));
    let elsewhere = Wanted::serving("a", "10.0.0.2".parse().expect("an address"));
    assert!(kept.valid(&elsewhere, now).is_none() && kept.valid(&Wanted::client("b"), now).is_none());
    assert!(kept.valid(&wanted, now + Duration::from_hours(2)).is_none());
}

#[tokio::test]
async fn a_request_that_waits_is_not_made_twice() {
    let (api, directory, tasks) = (api(), tempfile::tempdir().expect("a directory"), TaskSet::new());
    let (wanted, kept) = (Wanted::client("a"), Kept::new(directory.path(), "kubelet-client"));
    let client = api.client();
    {
        // An agent that ends while it waits.
        let waiting = request(&wanted, &kept, &client, &tasks);
        tokio::pin!(waiting);
        while api.list(REQUESTS).is_empty() {
            assert!(futures::poll!(&mut waiting).is_pending());
            tokio::task::yield_now().await;
        }
    }
    use base64::Engine;
    let issued = json!({"certificate": base64::prelude::BASE64_STANDARD.encode(certificate(-60, 3600))});
    let (outcome, _) = tokio::join!(request(&wanted, &kept, &client, &tasks), decide(&api, issued));
    assert!(outcome.is_ok());
    assert_eq!(api.list(REQUESTS).len(), 1);
}

#[tokio::test]
async fn a_certificate_is_replaced_when_its_time_has_come() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    let next = async move || {
        // The first was due; this one lives on.
        sender.send(()).await.expect("the test listens");
        Ok(certificate(-60, 360_000))
    };
    let tasks = TaskSet::new();
    tasks.spawn_until_cancelled("renewal", renew("test", Some(certificate(-1000, 50)), next));
    receiver.recv().await.expect("it is renewed");
    tokio::task::yield_now().await;
    assert!(receiver.try_recv().is_err(), "the new one is not due");
    tasks.shutdown().await;
}
