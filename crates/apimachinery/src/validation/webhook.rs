//! Where a webhook is: of admission, and of conversion between versions.

use serde_json::Value;

use super::url::Url;
use super::{is_dns1123_subdomain, is_port_number};
use crate::field::{ErrorList, Path};

const FORM: &str = "; desired format: https://host[/path]";

pub fn address(text: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            errors.required(path, &format!("url must be a valid URL: parse {text:?}: {why}{FORM}"));
            return errors;
        }
    };
    if url.scheme != "https" {
        errors.invalid(path, url.scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        errors.invalid(path, "", format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        errors.invalid(path, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        errors.invalid(path, url.query, "query parameters are not permitted in the URL");
    }
    errors
}

/// Upstream takes name and namespace for each other, and so do its complaints.
pub fn service(service: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let text = |name: &str| service[name].as_str().unwrap_or_default();
    for (field, shown) in [("namespace", "name"), ("name", "namespace")] {
        if text(field).is_empty() {
            errors.required(&path.child(shown), "");
        }
    }
    let port = service["port"].as_i64().unwrap_or_default();
    let wrong = is_port_number(port);
    if !wrong.is_empty() {
        errors.invalid(&path.child("port"), port, format!("port is not valid: {}", wrong.join(", ")));
    }
    errors.append(service_path(text("path"), &path.child("path")));
    errors
}

fn service_path(text: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    match text {
        "" | "/" => return errors,
        "//" => {
            errors.invalid(path, text, "segment[0] may not be empty");
            return errors;
        }
        _ if !text.starts_with('/') => errors.invalid(path, text, "must start with a '/'"),
        _ => {}
    }
    let inner = text.get(1..).unwrap_or_default();
    for (index, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(path, text, format!("segment[{index}] may not be empty"));
            continue;
        }
        for why in is_dns1123_subdomain(step) {
            errors.invalid(path, text, format!("segment[{index}]: {why}"));
        }
    }
    errors
}
