//! Rules for `spec.conversion`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, webhook};
use serde_json::Value;

use super::Options;
use crate::json::{field, flag, list, text};

const KNOWN_REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub fn validate(spec: &Value, path: &Path, options: &Options<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(conversion) = field(spec, "conversion") else { return errors };
    let (strategy, path) = (text(conversion, "strategy"), path.child("conversion"));
    let at = path.child("strategy");
    if strategy != "None" && flag(spec, "preserveUnknownFields") {
        errors.invalid(&at, strategy, "must be None if spec.preserveUnknownFields is true");
    }
    match strategy {
        "" => errors.required(&at, ""),
        "None" | "Webhook" => {}
        _ => errors.not_supported(&at, strategy, &["None", "Webhook"]),
    }
    let webhook = &conversion["webhook"];
    let (client, reviews) = (field(webhook, "clientConfig"), list(webhook, "conversionReviewVersions"));
    if strategy == "Webhook" {
        client_rules(client, &path.child("webhookClientConfig"), options, &mut errors);
        review_rules(reviews, &path.child("conversionReviewVersions"), options, &mut errors);
        return errors;
    }
    let detail = "should not be set when strategy is not set to Webhook";
    if client.is_some() {
        errors.forbidden(&path.child("webhookClientConfig"), detail);
    }
    if !reviews.is_empty() {
        errors.forbidden(&path.child("conversionReviewVersions"), detail);
    }
    errors
}

fn client_rules(client: Option<&Value>, path: &Path, options: &Options<'_>, errors: &mut ErrorList) {
    let Some(client) = client else {
        return errors.required(path, "required when strategy is set to Webhook");
    };
    match (field(client, "url"), field(client, "service")) {
        (Some(url), None) => {
            errors.append(webhook::address(url.as_str().unwrap_or_default(), &path.child("url")));
        }
        (None, Some(service)) => errors.append(webhook::service(service, &path.child("service"))),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
    let bundle = text(client, "caBundle");
    if !bundle.is_empty() && !options.any_ca_bundle && !is_ca_bundle(bundle) {
        errors.invalid(
            &path.child("caBundle"),
            bundle,
            "unable to load root certificates: unable to parse bytes as PEM block",
        );
    }
}

/// Base64 of PEM with at least one certificate.
pub fn is_ca_bundle(bundle: &str) -> bool {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap_or_default();
    let pem = String::from_utf8_lossy(&decoded);
    let Some((_, rest)) = pem.split_once("-----BEGIN CERTIFICATE-----") else { return false };
    let Some((body, _)) = rest.split_once("-----END CERTIFICATE-----") else { return false };
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
    bytes.first() == Some(&0x30)
}

fn review_rules(reviews: &[Value], path: &Path, options: &Options<'_>, errors: &mut ErrorList) {
    if reviews.is_empty() {
        return errors.required(path, "");
    }
    for (index, review) in reviews.iter().enumerate() {
        let version = review.as_str().unwrap_or_default();
        if reviews[..index].contains(review) {
            errors.invalid(&path.index(index), version, "duplicate version");
        } else {
            errors.invalid_all(&path.index(index), version, is_dns1035_label(version));
        }
    }
    if options.recognized_review_version && !any_known(reviews) {
        errors.invalid(path, reviews.to_vec(), "must include at least one of v1, v1beta1");
    }
}

pub fn any_known(reviews: &[Value]) -> bool {
    reviews.iter().filter_map(Value::as_str).any(|version| KNOWN_REVIEWS.contains(&version))
}
