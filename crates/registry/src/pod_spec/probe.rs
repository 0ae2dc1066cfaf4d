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
    handler(probe, false, errors);
    for name in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        probe.at(name).not_negative(errors);
    }
    probe.at("terminationGracePeriodSeconds").at_least(errors, 1);
    let success = probe.at("successThreshold");
    if only_one_success && success.int().is_some_and(|value| value != 1) {
        success.invalid(errors, "must be 1");
    }
}

/// What a probe or a hook does: exactly one thing.
pub fn handler(handler: &At<'_>, hook: bool, errors: &mut ErrorList) {
    let names: &[&str] =
        if hook { &["exec", "httpGet", "tcpSocket", "sleep"] } else { &["exec", "httpGet", "tcpSocket", "grpc"] };
    let given: Vec<&&str> = names.iter().filter(|name| handler.at(name).present()).collect();
    for extra in given.iter().skip(1) {
        errors.forbidden(&handler.path.child(extra), "may not specify more than 1 handler type");
    }
    let Some(first) = given.first() else {
        errors.required(&handler.path, "must specify a handler type");
        return;
    };
    let action = handler.at(first);
    match **first {
        "exec" => drop(action.at("command").required(errors, "")),
        "httpGet" => http_get(&action, errors),
        "tcpSocket" => port_reference(&action.at("port"), errors),
        "grpc" => action.at("port").in_range(errors, 1, 65535),
        _ => action.at("seconds").not_negative(errors),
    }
}

fn http_get(action: &At<'_>, errors: &mut ErrorList) {
    action.at("path").required(errors, "");
    port_reference(&action.at("port"), errors);
    action.at("scheme").one_of(errors, &["HTTP", "HTTPS"]);
    for header in action.at("httpHeaders").items() {
        header.at("name").follows(errors, is_http_header_name);
    }
}
