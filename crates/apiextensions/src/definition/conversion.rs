//! Rules for `spec.conversion`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::validation::is_dns1035_label;
use serde_json::Value;

use super::Options;
use crate::json::{field, int, list, text};

const KNOWN_REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub fn validate(spec: &Value, path: &Path, options: &Options<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(conversion) = field(spec, "conversion") else { return errors };
    let (strategy, path) = (text(conversion, "strategy"), path.child("conversion"));
    let at = path.child("strategy");
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
        (Some(url), None) => url_rules(url.as_str().unwrap_or_default(), &path.child("url"), errors),
        (None, Some(service)) => service_rules(service, &path.child("service"), errors),
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

fn url_rules(url: &str, path: &Path, errors: &mut ErrorList) {
    let form = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{form}");
        errors.invalid(path, scheme, detail);
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if host.is_empty() || scheme.is_empty() {
        errors.invalid(path, "", format!("host must be specified{form}"));
    }
    if let Some(user) = user {
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    let (tail, fragment) = tail.split_once('#').unwrap_or((tail, ""));
    if !fragment.is_empty() {
        errors.invalid(path, fragment, "fragments are not permitted in the URL");
    }
    if let Some((_, query)) = tail.split_once('?')
        && !query.is_empty()
    {
        errors.invalid(path, query, "query parameters are not permitted in the URL");
    }
}

fn service_rules(service: &Value, path: &Path, errors: &mut ErrorList) {
    for (name, detail) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if text(service, name).is_empty() {
            errors.required(&path.child(name), detail);
        }
    }
    let port = int(service, "port").unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.invalid(&path.child("port"), port, detail);
    }
    if let Some(url_path) = field(service, "path").and_then(Value::as_str) {
        path_rules(url_path, &path.child("path"), errors);
    }
}

fn path_rules(url_path: &str, path: &Path, errors: &mut ErrorList) {
    if url_path == "/" {
        return;
    }
    let tail = url_path.strip_prefix('/');
    if tail.is_none() {
        errors.invalid(path, url_path, "must start with a '/'");
    }
    let tail = tail.unwrap_or(url_path);
    if tail.split('/').next().is_none_or(str::is_empty) {
        return errors.invalid(path, url_path, "segment[0] may not be empty");
    }
    for (index, segment) in tail.strip_suffix('/').unwrap_or(tail).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(path, url_path, format!("segment[{index}] may not be empty"));
        }
        for wrong in apimachinery::validation::is_dns1123_subdomain(segment) {
            errors.invalid(path, url_path, format!("segment[{index}]: {wrong}"));
        }
    }
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
