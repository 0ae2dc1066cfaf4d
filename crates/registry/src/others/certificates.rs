//! CertificateSigningRequests.

use apimachinery::field::ErrorList;
use apimachinery::validation::is_dns1123_subdomain;
use apimachinery::{object, table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::at::{At, duplicates};
use crate::cells::{list, name, text};
use crate::strategy::{Column, Context, Strategy, keep_status, reset_status, strategy_keep_all_but_status};

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
        usages.required(&mut errors, "usages must be provided");
        usages.items().iter().for_each(|usage| usage.one_of(&mut errors, &USAGES));
        duplicates(&mut errors, usages.items());
        if spec.at("signerName").required(&mut errors, "") {
            signer_name(&spec.at("signerName"), &mut errors);
        }
        spec.at("expirationSeconds").at_least(&mut errors, 600);
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        new["spec"] = old["spec"].clone();
        keep_status(new, old);
        drop_managed_fields(new);
    }

    /// The approval endpoint changes conditions only, the status endpoint everything but approval.
    fn prepare_for_part_update(&self, subresource: &str, new: &mut Value, old: &Value, context: &Context<'_>) {
        strategy_keep_all_but_status(new, old);
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
        check_conditions(&At::root(new).to("status.conditions"), &mut errors);
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
fn check_conditions(conditions: &At<'_>, errors: &mut ErrorList) {
    let mut verdict = "";
    let mut seen = Vec::new();
    for condition in conditions.items() {
        let (kind, status) = (condition.at("type"), condition.at("status"));
        kind.required(errors, "");
        match (kind.text(), status.text()) {
            (_, "") => errors.required(&status.path, ""),
            ("Approved" | "Denied" | "Failed", text) if text != "True" => {
                errors.not_supported(&status.path, text, &["True"])
            }
            _ => status.one_of(errors, &["True", "False", "Unknown"]),
        }
        if matches!(kind.text(), "Approved" | "Denied") {
            if !verdict.is_empty() && verdict != kind.text() {
                kind.invalid(errors, "Approved and Denied conditions are mutually exclusive");
            }
            verdict = kind.text();
        }
        if seen.contains(&kind.text()) {
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

/// A request is one PEM block.
fn request_problem(encoded: &str) -> Option<&'static str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
    const END: &str = "-----END CERTIFICATE REQUEST-----";
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let inner = decoded.as_deref().and_then(|text| text.split_once(BEGIN)).and_then(|(_, rest)| rest.split_once(END));
    let Some((inner, _)) = inner else { return Some("PEM block type must be CERTIFICATE REQUEST") };
    let body: String = inner.chars().filter(|letter| !letter.is_whitespace()).collect();
    STANDARD.decode(body).is_err().then_some("PEM block type must be CERTIFICATE REQUEST")
}

/// `domain/path`, the domain of two parts or more.
fn signer_name(at: &At<'_>, errors: &mut ErrorList) {
    let Some((domain, path)) = at.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return at.invalid(errors, detail);
    };
    for why in is_dns1123_subdomain(domain) {
        errors.invalid(&at.path, domain, format!("validating label {domain:?}: {why}"));
    }
    if domain.split('.').count() < 2 {
        at.invalid(errors, "should be a domain with at least two segments separated by dots");
    }
    for why in is_dns1123_subdomain(path) {
        errors.invalid(&at.path, path, format!("validating label {path:?}: {why}"));
    }
    if at.text() == "kubernetes.io/legacy-unknown" {
        at.invalid(errors, "the legacy signerName is not allowed via this API version");
    }
}

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
