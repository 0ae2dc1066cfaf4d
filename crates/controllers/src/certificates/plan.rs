//! What becomes of a request.

use std::time::Duration;

use api::certificatesv1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use api::metav1::Time;
use client::Object;
use jiff::{SignedDuration, Timestamp};

use super::request::{KUBELET_CLIENT, Request, SIGNERS};

const YEAR: Duration = Duration::from_hours(365 * 24);
const LIFETIME_MIN: Duration = Duration::from_mins(10);
/// Certificates begin so much before they are made. It counts as a part of their life unless that is [`SHORT`].
const BACKDATED: Duration = Duration::from_mins(5);
const SHORT: Duration = Duration::from_hours(8);
const DECIDED_KEPT: SignedDuration = SignedDuration::from_hours(1);
const PENDING_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A permission by which a request is approved without a person, and what is said then.
pub(super) struct Recognized {
    pub subresource: &'static str,
    pub message: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signing {
    Leave,
    /// The signer refuses for good.
    Fail(String),
    Sign(Duration),
}

pub(super) fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    find(request, kind).is_some()
}

fn find<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

pub(super) fn is_issued(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

fn usages(request: &CertificateSigningRequest) -> &[String] {
    request.spec.usages.as_deref().unwrap_or_default()
}

/// Kubelets' own client certificates: those that a node asks for itself first.
pub(super) fn recognized(request: &CertificateSigningRequest, says: &Request) -> Vec<Recognized> {
    let signer = &request.spec.signer_name;
    if signer != KUBELET_CLIENT || says.objection(signer, usages(request)).is_some() {
        return Vec::new();
    }
    let own = request.spec.username.as_deref() == Some(&says.common_name);
    let by_node = own.then_some(Recognized {
        subresource: "selfnodeclient",
        message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
    });
    let by_other = Recognized {
        subresource: "nodeclient",
        message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    };
    by_node.into_iter().chain([by_other]).collect()
}

pub(super) fn plan_signing(request: &CertificateSigningRequest, says: &Request) -> Signing {
    let signer = request.spec.signer_name.as_str();
    let ours = SIGNERS.contains(&signer);
    if !ours || is_issued(request) || !has(request, "Approved") || has(request, "Denied") || has(request, "Failed") {
        return Signing::Leave;
    }
    match says.objection(signer, usages(request)) {
        Some(why) => Signing::Fail(why),
        None => Signing::Sign(lifetime(request.spec.expiration_seconds)),
    }
}

/// What is left from now on of the life that was asked for.
fn lifetime(asked: Option<i32>) -> Duration {
    let asked = asked.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
    let whole = asked.map_or(YEAR, |asked| asked.clamp(LIFETIME_MIN, YEAR));
    if whole < SHORT { whole } else { whole.saturating_sub(BACKDATED) }
}

/// When the request is to be deleted. `ends`: when its certificate does.
pub(super) fn deadline(request: &CertificateSigningRequest, ends: Option<Timestamp>) -> Option<Timestamp> {
    let since = |kind: &str| find(request, kind)?.last_update_time.as_ref().map(|time| time.0 + DECIDED_KEPT);
    let decided = [
        since("Denied"),
        since("Failed"),
        since("Approved").filter(|_| is_issued(request)),
        ends.filter(|_| is_issued(request)),
    ];
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    let open = conditions.is_none_or(Vec::is_empty);
    let made = request.metadata.creation_timestamp.as_ref().map(|time| time.0 + PENDING_KEPT);
    decided.into_iter().chain([made.filter(|_| open)]).flatten().min()
}

/// The request with one more condition.
pub(super) fn with(
    request: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> CertificateSigningRequest {
    let mut changed = request.clone();
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let condition = CertificateSigningRequestCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(now),
        last_transition_time: None,
    };
    changed.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
    changed
}

pub(super) fn describe(request: &CertificateSigningRequest, tried: &[Recognized]) -> String {
    let names: Vec<_> = tried.iter().map(|one| one.subresource).collect();
    let names = names.join(" ");
    format!("recognized csr {:?} as [{names}] but subject access review was not approved", request.name())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::request::{API_CLIENT, KUBELET_SERVING};
    use super::*;

    fn request(signer: &str, usages: &[&str], conditions: Value) -> CertificateSigningRequest {
        serde_json::from_value(json!({"metadata": {"name": "r", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"request": "", "signerName": signer, "usages": usages, "username": "system:node:a"},
            "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn approved() -> Value {
        json!([{"type": "Approved", "status": "True", "lastUpdateTime": "2024-01-01T01:00:00Z"}])
    }

    fn node(name: &str) -> Request {
        let organizations = vec!["system:nodes".to_owned()];
        Request { common_name: format!("system:node:{name}"), organizations, ..Request::default() }
    }

    const CLIENT: &[&str] = &["digital signature", "client auth"];

    #[test]
    fn a_nodes_own_request_is_recognized_before_anothers() {
        let names = |says: &Request| {
            let request = request(KUBELET_CLIENT, CLIENT, json!([]));
            recognized(&request, says).iter().map(|one| one.subresource).collect::<Vec<_>>()
        };
        assert_eq!(names(&node("a")), ["selfnodeclient", "nodeclient"]);
        assert_eq!(names(&node("b")), ["nodeclient"]);
        assert!(names(&Request { dns: 1, ..node("a") }).is_empty());
    }

    #[test]
    fn a_signer_gives_what_it_is_for() {
        let sign = |signer: &str, usages: &[&str], conditions: Value, says: &Request| {
            plan_signing(&request(signer, usages, conditions), says)
        };
        assert_eq!(sign(API_CLIENT, CLIENT, approved(), &node("a")), Signing::Sign(YEAR.saturating_sub(BACKDATED)));
        assert_eq!(sign(API_CLIENT, CLIENT, json!([]), &node("a")), Signing::Leave);
        assert_eq!(sign("example.com/s", CLIENT, approved(), &node("a")), Signing::Leave);
        let fail = |why: &str| Signing::Fail(why.to_owned());
        let server = fail("invalid usage for client certificate: server auth");
        assert_eq!(sign(API_CLIENT, &["server auth"], approved(), &node("a")), server);
        let no_name = fail("DNS or IP subjectAltName is required");
        assert_eq!(sign(KUBELET_SERVING, CLIENT, approved(), &node("a")), no_name);
        let usages = fail("usages did not match [digital signature key encipherment server auth]");
        assert_eq!(sign(KUBELET_SERVING, CLIENT, approved(), &Request { dns: 1, ..node("a") }), usages);
    }

    #[test]
    fn the_backdated_part_of_a_long_life_counts() {
        let minutes = |asked: Option<i32>| lifetime(asked).as_secs() / 60;
        assert_eq!([minutes(Some(1)), minutes(Some(3600)), minutes(Some(-1))], [10, 60, 10]);
        assert_eq!([minutes(Some(8 * 3600 - 60)), minutes(Some(8 * 3600))], [479, 475]);
        assert_eq!([minutes(Some(i32::MAX)), minutes(None)], [365 * 24 * 60 - 5; 2]);
    }

    #[test]
    fn requests_are_kept_for_a_while() {
        let until = |conditions: Value, issued: bool| {
            let mut request = request(API_CLIENT, CLIENT, conditions);
            if issued {
                request.status.get_or_insert_default().certificate = Some(api::k8s::ByteString(b"x".to_vec()));
            }
            deadline(&request, None).map(|at| at.to_string())
        };
        assert_eq!(until(json!([]), false).as_deref(), Some("2024-01-02T00:00:00Z"));
        assert_eq!(until(approved(), false), None);
        assert_eq!(until(approved(), true).as_deref(), Some("2024-01-01T02:00:00Z"));
    }
}
