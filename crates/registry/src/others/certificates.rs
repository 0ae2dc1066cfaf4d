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

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        strategy_keep_all_but_status(new, old);
        drop_managed_fields(new);
    }

    /// Approved, denied or failed is not a matter of degree.
    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        for condition in At::root(new).to("status.conditions").items() {
            let status = condition.at("status");
            condition.at("type").required(&mut errors, "");
            if ["Approved", "Denied", "Failed"].contains(&condition.at("type").text()) && status.text() != "True" {
                errors.not_supported(&status.path, status.text(), &["True"]);
            }
        }
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
