//! What a change of a Service may not do, and what its status may say.

use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_subdomain, parse_ip, validate_ip};
use serde_json::Value;

use super::service_rules;
use crate::at::At;

/// What a change may not do; services that are or were another's name are free.
pub fn validate(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let before = At { value: old, path: spec.path.clone() };
    let external = [spec, &before].iter().any(|spec| spec.at("type").text() == "ExternalName");
    let (is, was) = (service_rules::is_headless(spec), service_rules::is_headless(&before));
    let stays_headless = is && was;
    if !external && !stays_headless {
        kept(spec, &before, "clusterIPs", ["primary clusterIP", "secondary clusterIP"], errors);
    }
    if !external && !is && !was {
        kept(spec, &before, "ipFamilies", ["primary ipFamily", "secondary ipFamily"], errors);
    }
    let class = spec.at("loadBalancerClass");
    let balanced = |spec: &At<'_>| spec.at("type").text() == "LoadBalancer";
    if balanced(spec) && balanced(&before) && class.value != before.at("loadBalancerClass").value {
        class.invalid(errors, "may not change once set");
    }
    service_rules::class(spec, errors);
    let checked = |spec: &At<'_>| balanced(spec) && spec.at("externalTrafficPolicy").text() == "Local";
    let health = spec.at("healthCheckNodePort");
    if checked(spec) && checked(&before) && health.value != before.at("healthCheckNodePort").value {
        errors.forbidden(&health.path, "field is immutable");
    }
}

/// The first of two may not change, the second may come and go.
fn kept(spec: &At<'_>, before: &At<'_>, list: &str, names: [&str; 2], errors: &mut ErrorList) {
    let (now, then) = (spec.at(list).items(), before.at(list).items());
    let at = spec.at(list);
    if now.len() == then.len() {
        for (index, (new, old)) in now.iter().zip(&then).enumerate() {
            if new.value != old.value {
                let index = if list == "clusterIPs" { index } else { 0 };
                errors.invalid(&at.path.index(index), at.value.clone(), "may not change once set");
            }
        }
        return;
    }
    if now.is_empty() {
        errors.invalid(&at.path.index(0), at.value.clone(), format!("{} can not be unset", names[0]));
    }
    if now.first().zip(then.first()).is_some_and(|(new, old)| new.value != old.value) {
        errors.invalid(&at.path.index(0), at.value.clone(), "may not change once set");
    }
    let policy = spec.at("ipFamilyPolicy");
    if now.len() < then.len() && now.len() == 1 && policy.text() != "SingleStack" {
        policy.invalid(errors, &format!("must be set to 'SingleStack' when releasing the {}", names[1]));
    }
}

/// The status that a load balancer writes.
pub fn load_balancer(service: &At<'_>, errors: &mut ErrorList) {
    let ingress = service.to("status.loadBalancer.ingress");
    if !ingress.empty() && service.to("spec.type").text() != "LoadBalancer" {
        return errors.forbidden(&ingress.path, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for entry in ingress.items() {
        let (ip, mode) = (entry.at("ip"), entry.at("ipMode"));
        match (mode.present(), ip.empty()) {
            (false, false) => errors.required(&mode.path, "must be specified when `ip` is set"),
            (true, true) => errors.forbidden(&mode.path, "may not be specified when `ip` is not set"),
            _ => mode.one_of(errors, &["Proxy", "VIP"]),
        }
        load_balancer_address(&entry, errors);
    }
}

/// Where a load balancer of a service or an ingress is reached.
pub fn load_balancer_address(entry: &At<'_>, errors: &mut ErrorList) {
    let (ip, host) = (entry.at("ip"), entry.at("hostname"));
    if !ip.empty() {
        errors.append(validate_ip(&ip.path, ip.text()));
    }
    if !host.empty() {
        host.follows(errors, is_dns1123_subdomain);
        if parse_ip(host.text()).is_some() {
            host.invalid(errors, "must be a DNS name, not an IP address");
        }
    }
}
