//! CertificateSigningRequests.

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{list, name, text};
use crate::strategy::{Column, Context, Strategy, keep_status, reset_status};

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
    }

    fn validate(&self, request: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(request).at("spec");
        let usages = spec.at("usages");
        usages.required(&mut errors, "usages must be provided");
        usages.items().iter().for_each(|usage| usage.one_of(&mut errors, &USAGES));
        if spec.at("signerName").required(&mut errors, "") && !spec.at("signerName").text().contains('/') {
            spec.at("signerName").invalid(
                &mut errors,
                "must be a fully qualified domain and path of the form 'example.com/signer-name'",
            );
        }
        spec.at("expirationSeconds").at_least(&mut errors, 600);
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        new["spec"] = old["spec"].clone();
        keep_status(new, old);
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
