//! What pods and everything with a pod template share: defaults and validation of the pod's spec.
//!
//! Start at [`default_spec`] and [`validate_spec`].

mod affinity;
mod annotations;
mod container;
mod defaults;
mod env;
mod mount;
mod pod_resources;
mod probe;
mod resources;
mod security;
mod volume;
mod volume_source;
mod warnings;
mod windows;

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::labels::Selector;
use apimachinery::validation::{self as rules, is_dns1123_label, is_dns1123_subdomain};

use crate::at::At;

pub use affinity::{node_selector, tolerations};
pub use annotations::{
    APP_ARMOR, app_armor_profile, match_fields, validate as validate_annotations,
    validate_update as validate_annotations_update,
};
pub use container::padded_images;
pub use defaults::{default_pod_only, default_spec, default_template, legacy_volume};
pub use pod_resources::qos_class;
pub use resources::{container_resource_name, is_exact, is_extended, overhead, resource_name};
pub use volume::class_name;
pub use volume_source::{
    Holder, PERSISTENT_KINDS, driver_name, given as given_source, source as volume_source,
    validate as validate_volume_source,
};
pub use warnings::{
    fraction, old_label as old_node_label, pod_warnings, selector_term as selector_term_warnings, workload_warnings,
};

/// What may differ between a pod and a template.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The object is a pod, not a template.
    pub pod: bool,
    /// The name of the pod.
    pub name: &'a str,
}

/// The rules of a pod's spec, in upstream's order.
pub fn validate_spec(spec: &At<'_>, options: Options<'_>, errors: &mut ErrorList) {
    let grace = spec.at("terminationGracePeriodSeconds");
    if !grace.present() {
        errors.required(&grace.path, "");
    }
    let volumes = volume::validate(&spec.at("volumes"), options, errors);
    resource_claims(&spec.at("resourceClaims"), errors);
    container::validate_all(spec, &volumes, errors);
    pod_resources::validate(spec, errors);
    container::host_network(spec, options, errors);
    spec.at("restartPolicy").required_one_of(errors, &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    spec.at("dnsPolicy").required_one_of(errors, &policies);
    errors.append(rules::object_meta::labels(spec.at("nodeSelector").value, &spec.path.child("nodeSelector")));
    security::validate_pod(spec, errors);
    affinity::validate(&spec.at("affinity"), errors);
    dns(spec, errors);
    gates(spec, errors);
    affinity::topology_spread(&spec.at("topologySpreadConstraints"), errors);
    windows::host_process(spec, errors);
    security::host_users(spec, errors);
    names(spec, errors);
    overhead(&spec.at("overhead"), errors);
    windows::operating_system(spec, errors);
}

fn names(spec: &At<'_>, errors: &mut ErrorList) {
    subdomains(spec, &["serviceAccountName", "nodeName"], errors);
    let seconds = spec.at("activeDeadlineSeconds");
    seconds.in_range(errors, 1, i64::from(i32::MAX));
    hostname_override(spec, errors);
    for at in ["hostname", "subdomain"].map(|name| spec.at(name)).iter().filter(|at| !at.empty()) {
        at.follows(errors, is_dns1123_label);
    }
    affinity::tolerations(&spec.at("tolerations"), errors);
    host_aliases(&spec.at("hostAliases"), errors);
    subdomains(spec, &["priorityClassName"], errors);
    if spec.at("runtimeClassName").present() {
        spec.at("runtimeClassName").follows(errors, is_dns1123_subdomain);
    }
    if spec.at("preemptionPolicy").present() {
        spec.at("preemptionPolicy").required_one_of(errors, &["PreemptLowerPriority", "Never"]);
    }
}

fn subdomains(spec: &At<'_>, names: &[&str], errors: &mut ErrorList) {
    for at in names.iter().map(|name| spec.at(name)).filter(|at| !at.empty()) {
        at.follows(errors, is_dns1123_subdomain);
    }
}

fn dns(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("dnsPolicy");
    let config = spec.at("dnsConfig");
    let servers = config.at("nameservers");
    if policy.text() == "None" && !config.present() {
        return errors.required(&config.path, "must provide `dnsConfig` when `dnsPolicy` is None");
    }
    if policy.text() == "None" && servers.empty() {
        return errors.required(&servers.path, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if servers.items().len() > DNS_SERVERS_MAX {
        servers.invalid(errors, &format!("must not have more than {DNS_SERVERS_MAX} nameservers"));
    }
    for server in servers.items() {
        errors.append(rules::validate_ip(&server.path, server.text()));
    }
    dns_searches(&config.at("searches"), errors);
    for option in config.at("options").items() {
        if option.at("name").empty() {
            errors.required(&option.path, "must not be empty");
        }
    }
}

const DNS_SERVERS_MAX: usize = 3;
const DNS_SEARCHES_MAX: usize = 32;
const DNS_SEARCHES_LENGTH_MAX: usize = 2048;

/// Underscores and a single dot are allowed, as is a dot at the end.
fn dns_searches(searches: &At<'_>, errors: &mut ErrorList) {
    let all = searches.items();
    if all.len() > DNS_SEARCHES_MAX {
        searches.invalid(errors, &format!("must not have more than {DNS_SEARCHES_MAX} search paths"));
    }
    let length: usize = all.iter().map(|search| search.text().len() + 1).sum();
    if length > DNS_SEARCHES_LENGTH_MAX + 1 {
        let detail = format!(
            "must not have more than {DNS_SEARCHES_LENGTH_MAX} characters (including spaces) in the search list"
        );
        searches.invalid(errors, &detail);
    }
    for search in all.iter().filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        errors.invalid_all(&search.path, name, is_dns1123_subdomain(&name.replace('_', "a")));
    }
}

/// Claims for devices that the containers use.
fn resource_claims(claims: &At<'_>, errors: &mut ErrorList) {
    let mut names = std::collections::HashSet::new();
    for claim in claims.items() {
        let name = claim.at("name");
        if name.required(errors, "") && !names.insert(name.text()) {
            errors.duplicate(&name.path, name.text());
        } else if !name.empty() {
            name.follows(errors, is_dns1123_label);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"].map(|name| claim.at(name));
        match sources.iter().filter(|source| source.present()).count() {
            0 => claim.invalid(errors, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            1 => {}
            _ => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                claim.invalid(errors, detail);
            }
        }
        for source in sources.iter().filter(|source| source.present()) {
            source.follows(errors, is_dns1123_subdomain);
        }
    }
}

/// The kernel's name of the pod alone, which nothing else may determine.
fn hostname_override(spec: &At<'_>, errors: &mut ErrorList) {
    const LENGTH_MAX: usize = 64;
    let name = spec.at("hostnameOverride");
    if !name.present() {
        return;
    }
    for other in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.at(other).value == true {
            errors.forbidden(&name.path, format!("may not be specified when {other} is true"));
        }
    }
    if name.text().len() > LENGTH_MAX {
        errors.push(FieldError::too_long(&name.path, LENGTH_MAX));
    }
    name.follows(errors, is_dns1123_subdomain);
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

fn gates(spec: &At<'_>, errors: &mut ErrorList) {
    for gate in spec.at("readinessGates").items() {
        gate.at("conditionType").follows(errors, rules::is_qualified_name);
    }
    let gates = spec.at("schedulingGates").items();
    for (index, gate) in gates.iter().enumerate() {
        let name = gate.at("name");
        errors.invalid_all(&gate.path, name.text(), rules::is_qualified_name(name.text()));
        if gates[..index].iter().any(|before| before.at("name").value == name.value) {
            errors.duplicate(&gate.path, name.text());
        }
    }
}

/// A workload's selector must be there, not be empty, and select its own template.
pub fn validate_selector(spec: &At<'_>, workload: &str, errors: &mut ErrorList) -> bool {
    let selector = spec.at("selector");
    if selector.present() {
        errors.append(rules::label_selector(selector.value, &selector.path));
        let empty = selector.at("matchLabels").empty() && selector.at("matchExpressions").empty();
        if empty {
            selector.invalid(errors, &format!("empty selector is invalid for {workload}"));
        }
    } else if workload != "daemonset" {
        selector.required(errors, "");
    }
    let Ok(parsed) = Selector::from_label_selector(Some(selector.value)) else {
        // Upstream leaves it at the complaints about the parts of a daemon set's selector.
        if workload != "daemonset" {
            selector.invalid(errors, "invalid label selector");
        }
        return false;
    };
    let labels = spec.to("template.metadata.labels");
    // No selector selects nothing, not even the template.
    if !parsed.is_everything() && !parsed.matches(labels.value.as_object()) {
        errors.invalid(&labels.path, labels.value.clone(), "`selector` does not match template `labels`");
    }
    true
}

/// The rules of a pod template. `policies` are the restart policies that the workload allows.
pub fn validate_template(template: &At<'_>, policies: &[&str], errors: &mut ErrorList) {
    let metadata = template.at("metadata");
    // Upstream names the two without `metadata`.
    errors.append(rules::object_meta::labels(metadata.at("labels").value, &template.path.child("labels")));
    errors
        .append(rules::object_meta::annotations(metadata.at("annotations").value, &template.path.child("annotations")));
    let spec = template.at("spec");
    annotations::validate(metadata.at("annotations").value, &template.path.child("annotations"), &spec, errors);
    validate_spec(&spec, Options::default(), errors);
    annotations::match_fields(metadata.at("annotations").value, &spec, errors);
    if spec.at("ephemeralContainers").present() {
        errors.forbidden(&spec.path.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
    let policy = spec.at("restartPolicy");
    if policies == ["Always"] && policy.text() != "Always" {
        errors.not_supported(&policy.path, policy.text(), policies);
    }
}

/// The same for workloads whose pods run until they are told to stop: they have no deadline.
pub fn validate_lasting_template(template: &At<'_>, kind: &str, errors: &mut ErrorList) {
    validate_template(template, &["Always"], errors);
    let deadline = template.to("spec.activeDeadlineSeconds");
    if deadline.present() {
        errors.forbidden(&deadline.path, format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

#[cfg(test)]
mod tests;
