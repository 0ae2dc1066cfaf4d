//! CertificateSigningRequests.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain};
use apimachinery::{object, table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::at::{At, duplicates};
use crate::cells::{list, name, text};
use crate::strategy::{
    Column, Context, NameRule, Strategy, keep_all_but_status_and_metadata, keep_status, reset_status,
};
use crate::{keys, pem};

pub struct CertificateSigningRequest;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

impl Strategy for CertificateSigningRequest {
    fn reset_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "" => &["spec", "status"],
            "status" => &["spec", "status.conditions"],
            "approval" => &["spec", "status.certificate"],
            _ => &[],
        }
    }

    /// Who asks is what the server knows, not what the request says.
    fn prepare_for_create(&self, request: &mut Value, context: &Context<'_>) {
        reset_status(request);
        let spec = &mut request["spec"];
        spec["username"] = context.user.into();
        for field in ["uid", "groups", "extra"] {
            crate::defaults::remove(spec, field);
        }
        if !context.user_uid.is_empty() {
            spec["uid"] = context.user_uid.into();
        }
        if !context.user_groups.is_empty() {
            spec["groups"] = json!(context.user_groups);
        }
        drop_managed_fields(request);
    }

    fn validate(&self, request: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(request).at("spec");
        if let Some(why) = request_problem(spec.at("request").text()) {
            spec.at("request").invalid(&mut errors, why);
        }
        let usages = spec.at("usages");
        usages.required(&mut errors, "");
        usages.items().iter().for_each(|usage| usage.one_of(&mut errors, &USAGES));
        duplicates(&mut errors, usages.items());
        signer_name(&spec.at("signerName"), &mut errors);
        let seconds = spec.at("expirationSeconds");
        if seconds.int().is_some_and(|seconds| seconds < EXPIRATION_MIN) {
            seconds.invalid(&mut errors, "may not specify a duration less than 600 seconds (10 minutes)");
        }
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        new["spec"] = old["spec"].clone();
        keep_status(new, old);
        drop_managed_fields(new);
    }

    /// The main endpoint keeps the spec and the status, which were judged when they were written.
    fn validate_update(&self, _new: &Value, _old: &Value) -> ErrorList {
        ErrorList::new()
    }

    /// Upstream does not care what requests are called.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    /// The approval endpoint changes conditions only, the status endpoint everything but approval.
    fn prepare_for_part_update(&self, subresource: &str, new: &mut Value, old: &Value, context: &Context<'_>) {
        keep_all_but_status_and_metadata(new, old);
        if subresource == "approval" {
            let conditions = new.pointer("/status/conditions").cloned();
            keep_status(new, old);
            if let Some(conditions) = conditions {
                new["status"]["conditions"] = conditions;
            } else if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
                status.remove("conditions");
            }
        }
        set_times(new, old, context.now);
        drop_managed_fields(new);
    }

    fn validate_part_update(&self, subresource: &str, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        check_conditions(&At::root(new).to("status.conditions"), list(old, "/status/conditions"), &mut errors);
        check_certificate(new, old, &mut errors);
        check_transitions(subresource, new, old, &mut errors);
        errors
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::AGE,
                Column::text("SignerName"),
                Column::text("Requestor"),
                Column::text("RequestedDuration"),
                Column::text("Condition"),
            ]
        }
    }

    fn row(&self, request: &Value, now: i64) -> Vec<Value> {
        let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
        vec![
            name(request),
            table::age(request, now),
            text(request, "/spec/signerName").into(),
            text(request, "/spec/username").into(),
            seconds.map_or_else(|| "<none>".to_owned(), table::human_duration).into(),
            condition(request).into(),
        ]
    }

    fn fields(&self, request: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", text(request, "/spec/signerName").to_owned())]
    }
}

/// The published schema calls the bytes of the request a list. Upstream's field manager stumbles over that on every
/// write, and then leaves the object without managed fields.
fn drop_managed_fields(request: &mut Value) {
    object::metadata_mut(request).remove("managedFields");
}

/// Approved, denied or failed is not a matter of degree, and not two things at once.
fn check_conditions(conditions: &At<'_>, old: &[Value], errors: &mut ErrorList) {
    // What is wrong with the conditions of old may go on being wrong.
    let kinds: Vec<&str> = old.iter().map(|condition| text(condition, "/type")).collect();
    let allow_both = kinds.contains(&"Approved") && kinds.contains(&"Denied");
    let allow_twice = (1..kinds.len()).any(|at| kinds[..at].contains(&kinds[at]));
    let mut seen = Vec::new();
    for condition in conditions.items() {
        let (kind, status) = (condition.at("type"), condition.at("status"));
        if !kinds.contains(&"") {
            kind.required(errors, "");
        }
        match (kind.text(), status.text()) {
            (_, "") => errors.required(&status.path, ""),
            ("Approved" | "Denied" | "Failed", text) if text != "True" => {
                errors.not_supported(&status.path, text, &["True"])
            }
            _ => status.one_of(errors, &["True", "False", "Unknown"]),
        }
        let other = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !allow_both && !other.is_empty() && seen.contains(&other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&conditions.path, kind.text(), detail);
        }
        if !allow_twice && seen.contains(&kind.text()) {
            errors.duplicate(&kind.path, kind.text());
        }
        seen.push(kind.text());
    }
}

/// Verdicts stay. Only the approval endpoint gives one, only the status endpoint a certificate, once.
fn check_transitions(subresource: &str, new: &Value, old: &Value, errors: &mut ErrorList) {
    let conditions = At::root(new).to("status.conditions").path;
    for kind in ["Approved", "Denied", "Failed"] {
        let (before, after) = (conditions_of(old, kind), conditions_of(new, kind));
        if after.len() < before.len() {
            errors.forbidden(&conditions, format!("updates may not remove a condition of type {kind:?}"));
        } else if subresource != "approval" && kind != "Failed" {
            if after.len() > before.len() {
                errors.forbidden(&conditions, format!("updates may not add a condition of type {kind:?}"));
            } else if after != before {
                errors.forbidden(&conditions, format!("updates may not modify a condition of type {kind:?}"));
            }
        }
    }
    let (before, after) = (text(old, "/status/certificate"), text(new, "/status/certificate"));
    if before != after && subresource != "status" {
        let at = At::root(new).to("status.certificate").path;
        errors.forbidden(&at, "updates may not set certificate content".to_owned());
    } else if before != after && !before.is_empty() {
        let at = At::root(new).to("status.certificate").path;
        errors.forbidden(&at, "updates may not modify existing certificate content".to_owned());
    }
}

/// A new certificate is PEM that holds certificates, unless the old one was none either.
fn check_certificate(new: &Value, old: &Value, errors: &mut ErrorList) {
    let (now, before) = (text(new, "/status/certificate"), text(old, "/status/certificate"));
    if now == before || certificate_problem(before).is_some() {
        return;
    }
    if let Some(why) = certificate_problem(now) {
        errors.invalid(&At::root(new).to("status.certificate").path, "<certificate data>", why);
    }
}

fn certificate_problem(encoded: &str) -> Option<String> {
    if encoded.is_empty() {
        return None;
    }
    let decoded = STANDARD.decode(encoded).unwrap_or_default();
    let mut blocks = 0;
    for block in pem::blocks(&String::from_utf8_lossy(&decoded)) {
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".into());
        }
        if !pem::is_certificate(&block.bytes) {
            return Some("x509: malformed certificate".into());
        }
        blocks += 1;
    }
    (blocks == 0).then(|| "must contain at least one CERTIFICATE PEM block".into())
}

fn conditions_of<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(request, "/status/conditions").iter().filter(|condition| condition["type"] == kind).collect()
}

/// Conditions that come without times get them; one whose status stays keeps the time of its last change.
fn set_times(new: &mut Value, old: &Value, now: &str) {
    let conditions = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.into();
        }
        if condition["lastTransitionTime"].is_null() {
            let kind = condition["type"].as_str().unwrap_or_default();
            let same = conditions_of(old, kind).into_iter().find(|before| before["status"] == condition["status"]);
            let since = same.map(|before| before["lastTransitionTime"].clone()).filter(|since| !since.is_null());
            condition["lastTransitionTime"] = since.unwrap_or_else(|| now.into());
        }
    }
}

/// A request is the first PEM block, and signed with its own key.
fn request_problem(encoded: &str) -> Option<&'static str> {
    let decoded = STANDARD.decode(encoded).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded);
    match pem::blocks(&text).first() {
        Some(block) if block.label == "CERTIFICATE REQUEST" => match X509CertificationRequest::from_der(&block.bytes) {
            Ok(([], request)) => keys::signature_problem(&request),
            _ => Some("asn1: structure error: malformed certificate request"),
        },
        _ => Some("PEM block type must be CERTIFICATE REQUEST"),
    }
}

/// `domain/path`, the domain of two parts or more.
fn signer_name(at: &At<'_>, errors: &mut ErrorList) {
    if at.text() == "kubernetes.io/legacy-unknown" {
        return at.invalid(errors, "the legacy signerName is not allowed via this API version");
    }
    if !at.required(errors, "") {
        return;
    }
    let Some((domain, path)) = at.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return at.invalid(errors, detail);
    };
    if domain.len() > SUBDOMAIN_MAX {
        errors.push(FieldError::too_long(&at.path, SUBDOMAIN_MAX));
    }
    first_wrong_label(at, domain, is_dns1123_label, errors);
    if !domain.contains('.') {
        errors.invalid(&at.path, domain, "should be a domain with at least two segments separated by dots");
    }
    first_wrong_label(at, path, is_dns1123_subdomain, errors);
    if at.text().len() > SIGNER_MAX {
        errors.push(FieldError::too_long(&at.path, SIGNER_MAX));
    }
}

/// Complaints about further labels would only say the same.
fn first_wrong_label(at: &At<'_>, whole: &str, rule: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    let Some((label, wrong)) = whole.split('.').map(|label| (label, rule(label))).find(|(_, wrong)| !wrong.is_empty())
    else {
        return;
    };
    for why in wrong {
        errors.invalid(&at.path, whole, format!("validating label {label:?}: {why}"));
    }
}

const EXPIRATION_MIN: i64 = 600;
const SUBDOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// A domain, and a path that has room for a label and a subdomain.
const SIGNER_MAX: usize = SUBDOMAIN_MAX + 1 + SUBDOMAIN_MAX + LABEL_MAX + 1;

fn condition(request: &Value) -> String {
    let has = |kind: &str| list(request, "/status/conditions").iter().any(|condition| condition["type"] == kind);
    let mut parts = Vec::new();
    match (has("Denied"), has("Approved")) {
        (true, _) => parts.push("Denied"),
        (false, true) => parts.push("Approved"),
        (false, false) => parts.push("Pending"),
    }
    if has("Failed") {
        parts.push("Failed");
    }
    if !text(request, "/status/certificate").is_empty() {
        parts.push("Issued");
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(errors: &ErrorList) -> Vec<String> {
        let reason = |error: &FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
    }

    fn conditions(kinds: &[&str]) -> Value {
        let all: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        json!({"status": {"conditions": all}})
    }

    #[test]
    fn a_verdict_is_one_and_stays() {
        let approval = |new: &[&str], old: &[&str]| {
            causes(&CertificateSigningRequest.validate_part_update("approval", &conditions(new), &conditions(old)))
        };
        assert_eq!(approval(&["Approved"], &[]), [""; 0]);
        assert_eq!(approval(&["Approved", "Denied"], &[]), ["status.conditions Invalid"]);
        assert_eq!(approval(&["Approved", "Denied"], &["Approved", "Denied"]), [""; 0]);
        assert_eq!(approval(&[], &["Approved"]), ["status.conditions Forbidden"]);
    }

    #[test]
    fn what_is_issued_is_a_certificate() {
        let issued = |text: &str| json!({"status": {"certificate": STANDARD.encode(text)}});
        let status = |new: &Value| causes(&CertificateSigningRequest.validate_part_update("status", new, &json!({})));
        assert_eq!(status(&issued("hello")), ["status.certificate Invalid"]);
        assert_eq!(
            status(&issued("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")),
            ["status.certificate Invalid"]
        );
    }

    #[test]
    fn signers_are_a_domain_and_a_path() {
        let signer = |name: &str| {
            let mut errors = ErrorList::new();
            signer_name(&At { value: &Value::from(name), path: apimachinery::field::Path::new("n") }, &mut errors);
            errors.len()
        };
        assert_eq!(["example.com/a", "", "a", "com/a", "A.B/c", "a.b/c/d"].map(signer), [0, 1, 1, 1, 1, 1]);
    }
}
