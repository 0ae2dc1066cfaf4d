//! Validation of probes and lifecycle handlers.

use apimachinery::field::ErrorList;
use apimachinery::validation::is_http_header_name;

use super::container::port_reference;
use crate::at::At;

/// A probe; for all but readiness the success threshold is 1.
pub fn validate(probe: &At<'_>, only_one_success: bool, errors: &mut ErrorList) {
    if !probe.present() {
        return;
    }
    handler(probe, false, None, errors);
    for name in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        probe.at(name).not_negative(errors);
    }
    let grace = probe.at("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        grace.invalid(errors, "must be greater than 0");
    }
    let success = probe.at("successThreshold");
    if only_one_success && success.int().is_some_and(|value| value != 1) {
        success.invalid(errors, "must be 1");
    }
}

/// What a probe or a hook does: exactly one thing. A hook may sleep no longer than the pod's grace period.
pub fn handler(handler: &At<'_>, hook: bool, grace: Option<i64>, errors: &mut ErrorList) {
    let names: &[&str] =
        if hook { &["exec", "httpGet", "tcpSocket", "sleep"] } else { &["exec", "httpGet", "tcpSocket", "grpc"] };
    let given: Vec<&&str> = names.iter().filter(|name| handler.at(name).present()).collect();
    let Some(first) = given.first() else {
        errors.required(&handler.path, "must specify a handler type");
        return;
    };
    let action = handler.at(first);
    match **first {
        "exec" => drop(action.at("command").required(errors, "")),
        "httpGet" => http_get(&action, errors),
        "tcpSocket" => port_reference(&action.at("port"), errors),
        "grpc" => port_reference(&action.at("port"), errors),
        _ => sleep(&action, grace, errors),
    }
    for extra in given.iter().skip(1) {
        errors.forbidden(&handler.path.child(extra), "may not specify more than 1 handler type");
    }
}

/// A missing grace period is another's fault.
fn sleep(action: &At<'_>, grace: Option<i64>, errors: &mut ErrorList) {
    let Some(grace) = grace else { return };
    let seconds = action.at("seconds").int().unwrap_or_default();
    if !(0..=grace).contains(&seconds) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(&action.path, seconds, detail);
    }
}

fn http_get(action: &At<'_>, errors: &mut ErrorList) {
    action.at("path").required(errors, "");
    port_reference(&action.at("port"), errors);
    action.at("scheme").one_of(errors, &["HTTP", "HTTPS"]);
    let headers = action.at("httpHeaders");
    for name in headers.items().iter().map(|header| header.at("name").text()) {
        errors.invalid_all(&headers.path, name, is_http_header_name(name));
    }
}
