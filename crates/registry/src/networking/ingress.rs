//! Ingresses.

use apimachinery::field::{ErrorList, Path};
use apimachinery::table;
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_path_segment_name, is_port_name, is_wildcard_dns1123_subdomain, parse_ip,
};
use serde_json::Value;

use crate::at::At;
use crate::cells::{list, load_balancer, name, or, text};
use crate::strategy::{Column, Strategy};

pub struct Ingress;

impl Strategy for Ingress {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let annotated = new.pointer("/metadata/annotations/kubernetes.io~1ingress.class").is_some();
        if old.is_some() || !annotated || At::root(new).to("spec.ingressClassName").present() {
            return Vec::new();
        }
        let text =
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
        vec![text.into()]
    }

    fn validate(&self, ingress: &Value) -> ErrorList {
        let mut errors = self.validate_update(ingress, &Value::Null);
        let annotated = ingress.pointer("/metadata/annotations/kubernetes.io~1ingress.class").and_then(Value::as_str);
        let class = At::root(ingress).to("spec.ingressClassName");
        if let Some(annotated) = annotated.filter(|_| class.present()) {
            let path = Path::new("annotations").child("kubernetes.io/ingress.class");
            errors.invalid(&path, annotated, "can not be set when the class field is also set");
        }
        errors
    }

    fn validate_update(&self, ingress: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let spec = At::root(ingress).at("spec");
        let (rules, default) = (spec.at("rules"), spec.at("defaultBackend"));
        if rules.empty() && !default.present() {
            errors.invalid(&spec.path, rules.value.clone(), "either `defaultBackend` or `rules` must be specified");
        }
        if default.present() {
            backend(&default, &mut errors);
        }
        rules.items().iter().for_each(|found| rule(found, &mut errors));
        let lenient = list(old, "/spec/tls").iter().any(|tls| names_no_secret(text(tls, "/secretName")));
        for tls in spec.at("tls").items() {
            for host in tls.at("hosts").items() {
                host_name(&host, &mut errors);
            }
            if !lenient && names_no_secret(tls.at("secretName").text()) {
                tls.at("secretName").follows(&mut errors, is_dns1123_subdomain);
            }
        }
        let class = spec.at("ingressClassName");
        if class.present() {
            class.follows(&mut errors, is_dns1123_subdomain);
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        for entry in At::root(new).to("status.loadBalancer.ingress").items() {
            crate::core::load_balancer_address(&entry, &mut errors);
        }
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Class"),
                Column::text("Hosts"),
                Column::text("Address"),
                Column::text("Ports"),
                Column::AGE,
            ]
        }
    }

    fn row(&self, ingress: &Value, now: i64) -> Vec<Value> {
        let ports = if list(ingress, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(ingress),
            or(text(ingress, "/spec/ingressClassName"), "<none>").into(),
            hosts(ingress).into(),
            load_balancer(ingress).join(",").into(),
            ports.into(),
            table::age(ingress, now),
        ]
    }
}

fn hosts(ingress: &Value) -> String {
    const SHOWN: usize = 3;
    let (rules, mut shown, mut more) = (list(ingress, "/spec/rules"), Vec::new(), false);
    for host in rules.iter().map(|rule| text(rule, "/host")) {
        // Upstream counts the rules, with hosts or without.
        more |= shown.len() == SHOWN;
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match shown.join(",") {
        none if none.is_empty() => "*".into(),
        shown if more => format!("{shown} + {} more...", rules.len() - SHOWN),
        shown => shown,
    }
}

/// A name that is given, but is no secret's.
fn names_no_secret(name: &str) -> bool {
    !name.is_empty() && !is_dns1123_subdomain(name).is_empty()
}

fn host_name(host: &At<'_>, errors: &mut ErrorList) {
    if host.text().contains('*') {
        host.follows(errors, is_wildcard_dns1123_subdomain);
    } else {
        host.follows(errors, is_dns1123_subdomain);
    }
}

fn rule(rule: &At<'_>, errors: &mut ErrorList) {
    let host = rule.at("host");
    if parse_ip(host.text()).is_some() {
        host.invalid(errors, "must be a DNS name, not an IP address");
    }
    if !host.empty() {
        host_name(&host, errors);
    }
    let http = rule.at("http");
    if http.present() {
        http.at("paths").required(errors, "");
        http.at("paths").items().iter().for_each(|found| path(found, errors));
    }
}

fn path(path: &At<'_>, errors: &mut ErrorList) {
    let (kind, value) = (path.at("pathType"), path.at("path"));
    match kind.text() {
        "" if !kind.present() => return errors.required(&kind.path, "pathType must be specified"),
        "Exact" | "Prefix" => absolute(&value, true, errors),
        "ImplementationSpecific" => {
            if !value.empty() {
                absolute(&value, false, errors);
            }
        }
        other => errors.not_supported(&kind.path, other, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&path.at("backend"), errors);
}

fn absolute(path: &At<'_>, strict: bool, errors: &mut ErrorList) {
    if !path.text().starts_with('/') {
        errors.invalid(&path.path, path.text(), "must be an absolute path");
    }
    if !strict || path.empty() {
        return;
    }
    for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| path.text().contains(**part)) {
        errors.invalid(&path.path, path.text(), format!("must not contain '{part}'"));
    }
    for end in ["/..", "/."].iter().filter(|end| path.text().ends_with(**end)) {
        errors.invalid(&path.path, path.text(), format!("cannot end with '{end}'"));
    }
}

/// To an object of the same namespace, or of none.
pub fn reference(reference: &At<'_>, errors: &mut ErrorList) {
    if reference.at("apiGroup").present() {
        reference.at("apiGroup").follows(errors, is_dns1123_subdomain);
    }
    for field in ["kind", "name"] {
        if reference.at(field).required(errors, &format!("{field} is required")) {
            reference.at(field).follows(errors, is_path_segment_name);
        }
    }
}

fn backend(backend: &At<'_>, errors: &mut ErrorList) {
    let (service, resource) = (backend.at("service"), backend.at("resource"));
    if service.present() && resource.present() {
        errors.invalid(&backend.path, "", "cannot set both resource and service backends");
        return;
    }
    if resource.present() {
        return reference(&resource, errors);
    }
    if !service.present() {
        return errors.invalid(&backend.path, "", "resource or service backend is required");
    }
    let (name, port) = (service.at("name"), service.at("port"));
    if name.required(errors, "") {
        name.follows(errors, is_dns1123_label);
    }
    let (number, port_name) = (port.at("number"), port.at("name"));
    match (number.int().unwrap_or_default() != 0, !port_name.empty()) {
        (true, true) => errors.invalid(&backend.path, "", "cannot set both port name & port number"),
        (true, false) => number.in_range(errors, 1, 65535),
        (false, true) => port_name.follows(errors, is_port_name),
        (false, false) => errors.required(&backend.path, "port name or number is required"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(spec: Value, old: &Value) -> Vec<String> {
        let errors = Ingress.validate_update(&json!({"spec": spec}), old);
        let reason =
            |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
    }

    #[test]
    fn a_backend_is_a_service_or_another_object() {
        let backend = |backend: Value| causes(json!({"defaultBackend": backend}), &Value::Null);
        assert_eq!(backend(json!({})), ["spec.defaultBackend Invalid"]);
        let resource = json!({"resource": {"apiGroup": "A_b", "kind": "a/b"}});
        assert_eq!(
            backend(resource),
            [
                "spec.defaultBackend.resource.apiGroup Invalid",
                "spec.defaultBackend.resource.kind Invalid",
                "spec.defaultBackend.resource.name Required",
            ]
        );
    }

    #[test]
    fn a_path_without_a_type_is_not_judged_further() {
        let spec = json!({"rules": [{"host": "::1", "http": {"paths": [{"path": "x"}]}}]});
        let rule = "spec.rules[0]";
        let expected = [
            format!("{rule}.host Invalid"),
            format!("{rule}.host Invalid"),
            format!("{rule}.http.paths[0].pathType Required"),
        ];
        assert_eq!(causes(spec, &Value::Null), expected);
    }

    #[test]
    fn a_secret_that_was_misnamed_stays() {
        let spec = json!({"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}, "tls": [{"secretName": "A_b"}]});
        assert_eq!(causes(spec.clone(), &Value::Null), ["spec.tls[0].secretName Invalid"]);
        assert_eq!(causes(spec.clone(), &json!({"spec": spec})), [""; 0]);
    }
}
