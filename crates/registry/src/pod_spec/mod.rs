//! What pods and everything with a pod template share: defaults and validation of the pod's spec.
//!
//! Start at [`default_spec`] and [`validate_spec`].

mod affinity;
mod container;
mod defaults;
mod probe;
mod resources;
mod security;
mod volume;
mod warnings;

use apimachinery::field::ErrorList;
use apimachinery::labels::Selector;
use apimachinery::validation::{self as rules, is_dns1123_label, is_dns1123_subdomain};

use crate::at::{At, duplicates};

pub use affinity::{node_selector, node_selector_term, tolerations};
pub use container::validate_container_update_names;
pub use defaults::{default_pod_only, default_spec, default_template, legacy_volume};
pub use resources::qos_class;
pub use volume::{class_name, host_path};
pub use warnings::spec_warnings;

/// What may differ between a pod and a template.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The object is a pod, not a template.
    pub pod: bool,
}

/// The rules of a pod's spec.
pub fn validate_spec(spec: &At<'_>, options: Options, errors: &mut ErrorList) {
    let volumes = volume::validate(&spec.at("volumes"), errors);
    container::validate_all(spec, &volumes, options, errors);
    spec.at("restartPolicy").required_one_of(errors, &["Always", "OnFailure", "Never"]);
    dns(spec, errors);
    affinity::validate(&spec.at("affinity"), errors);
    affinity::tolerations(&spec.at("tolerations"), errors);
    affinity::topology_spread(&spec.at("topologySpreadConstraints"), errors);
    security::validate_pod(spec, errors);
    names(spec, errors);
    host_aliases(&spec.at("hostAliases"), errors);
    scheduling_gates(spec, errors);
    numbers(spec, errors);
    errors.append(rules::object_meta::labels(spec.at("nodeSelector").value, &spec.path.child("nodeSelector")));
}

fn names(spec: &At<'_>, errors: &mut ErrorList) {
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let at = spec.at(name);
        if !at.empty() {
            at.follows(errors, is_dns1123_subdomain);
        }
    }
    for name in ["hostname", "subdomain"] {
        let at = spec.at(name);
        if !at.empty() {
            at.follows(errors, is_dns1123_label);
        }
    }
    spec.at("schedulerName").required(errors, "");
    for secret in spec.at("imagePullSecrets").items() {
        if secret.at("name").text().is_empty() && !secret.value.is_object() {
            secret.at("name").required(errors, "");
        }
    }
}

fn numbers(spec: &At<'_>, errors: &mut ErrorList) {
    let seconds = spec.at("activeDeadlineSeconds");
    if let Some(value) = seconds.int().filter(|value| !(1..=i64::from(i32::MAX)).contains(value)) {
        errors.invalid(&seconds.path, value, rules::range_error(1, i64::from(i32::MAX)));
    }
    spec.at("preemptionPolicy").one_of(errors, &["PreemptLowerPriority", "Never"]);
    spec.at("os").at("name").one_of(errors, &["linux", "windows"]);
    if spec.at("os").present() {
        spec.at("os").at("name").required(errors, "");
    }
}

fn dns(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("dnsPolicy");
    policy.required_one_of(errors, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    let config = spec.at("dnsConfig");
    let servers = config.at("nameservers").items();
    if policy.text() == "None" && servers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        config.at("nameservers").required(errors, detail);
    }
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers: []";
        errors.invalid(&config.at("nameservers").path, config.at("nameservers").value.clone(), detail);
    }
    for server in servers {
        errors.append(rules::validate_ip(&server.path, server.text()));
    }
    for search in config.at("searches").items() {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        if name != "." && !name.is_empty() {
            errors.invalid_all(&search.path, search.text(), is_dns1123_subdomain(&name.replace('_', "a")));
        }
    }
    for option in config.at("options").items() {
        option.at("name").required(errors, "must not be empty");
    }
}

fn host_aliases(aliases: &At<'_>, errors: &mut ErrorList) {
    for alias in aliases.items() {
        let ip = alias.at("ip");
        errors.append(rules::validate_ip(&ip.path, ip.text()));
        for name in alias.at("hostnames").items() {
            name.follows(errors, is_dns1123_subdomain);
        }
    }
}

fn scheduling_gates(spec: &At<'_>, errors: &mut ErrorList) {
    let gates = spec.at("schedulingGates").items();
    if !gates.is_empty() && !spec.at("nodeName").empty() {
        errors.forbidden(&spec.path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    for gate in &gates {
        gate.at("name").follows(errors, rules::is_qualified_name);
    }
    duplicates(errors, gates.iter().map(|gate| gate.at("name")));
}

/// A workload's selector must be there, not be empty, and select its own template.
pub fn validate_selector_and_template(spec: &At<'_>, errors: &mut ErrorList) {
    let selector = spec.at("selector");
    if selector.present() {
        errors.append(rules::label_selector(selector.value, &selector.path));
        let empty = selector.at("matchLabels").empty() && selector.at("matchExpressions").empty();
        if empty {
            selector.invalid(errors, "empty selector is invalid for this kind");
        }
    } else {
        selector.required(errors, "");
    }
    let Ok(parsed) = Selector::from_label_selector(Some(selector.value)) else {
        selector.invalid(errors, "invalid label selector");
        return;
    };
    let labels = spec.to("template.metadata.labels");
    if !selector.empty() && !parsed.is_everything() && !parsed.matches(labels.value.as_object()) {
        errors.invalid(&labels.path, labels.value.clone(), "`selector` does not match template `labels`");
    }
}

/// The rules of a pod template. `policies` are the restart policies that the workload allows.
pub fn validate_template(template: &At<'_>, policies: &[&str], errors: &mut ErrorList) {
    let metadata = template.at("metadata");
    errors.append(rules::object_meta::labels(metadata.at("labels").value, &metadata.path.child("labels")));
    let annotations = metadata.at("annotations");
    errors.append(rules::object_meta::annotations(annotations.value, &annotations.path));
    let spec = template.at("spec");
    validate_spec(&spec, Options { pod: false }, errors);
    if spec.at("ephemeralContainers").present() {
        errors.forbidden(&spec.path.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
    let policy = spec.at("restartPolicy");
    let known = ["Always", "OnFailure", "Never"].contains(&policy.text());
    if known && !policies.contains(&policy.text()) {
        errors.not_supported(&policy.path, policy.text(), policies);
    }
}
