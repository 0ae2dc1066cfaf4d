//! What is accepted but probably not meant.

use std::collections::HashSet;

use apimachinery::Quantity;
use apimachinery::validation::{ip_warnings, is_dns1123_label, is_label_value};
use serde_json::Value;

use super::annotations::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD, app_armor_profile};
use super::windows::all_containers;
use crate::at::At;

const DEAD_VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const OLD_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

const OLD_ANNOTATIONS: [(&str, &str, &str); 3] = [
    ("scheduler.alpha.kubernetes.io/critical-pod", "v1.16", "priorityClassName"),
    ("security.alpha.kubernetes.io/sysctls", "v1.11", "sysctls"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "v1.11", "sysctls"),
];

const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

/// Of a new pod.
pub fn pod_warnings(pod: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let wrong = is_dns1123_label(pod.to("metadata.name").text());
    if !wrong.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            wrong.join(" ")
        ));
    }
    for (container, annotation) in app_armor_annotations(pod) {
        let own = container.to("securityContext.appArmorProfile");
        let derived = app_armor_profile(annotation.text());
        if derived.is_none() && !own.present() || derived.is_some_and(|derived| *own.value == derived) {
            warnings.push(old_app_armor(&annotation));
        }
    }
    holder_warnings(pod, &mut warnings);
    warnings
}

/// Of a workload whose template lies at `template`. `named`: its pods get their names from it. A change that leaves the spec
/// alone is not spoken of.
pub fn workload_warnings(workload: &At<'_>, old: Option<&Value>, template: &str, named: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let field = template.split('.').next().unwrap_or_default();
    if old.is_some_and(|old| old[field] == workload.value[field]) {
        return warnings;
    }
    if named && old.is_none() {
        warnings.extend(name_warning(workload));
    }
    holder_warnings(&workload.to(template), &mut warnings);
    warnings
}

/// Of whatever has metadata and a pod's spec.
fn holder_warnings(holder: &At<'_>, warnings: &mut Vec<String>) {
    let spec = holder.at("spec");
    node_labels(&spec, warnings);
    spread(&spec, warnings);
    annotations(holder, warnings);
    volumes(&spec, warnings);
    repeated(&spec.at("hostAliases"), "ip", warnings);
    repeated(&spec.at("imagePullSecrets"), "name", warnings);
    for name in spec.at("imagePullSecrets").items().iter().map(|secret| secret.at("name")).filter(At::empty) {
        warnings.push(format!("{}: invalid empty name \"\"", name.path));
    }
    BYTES.iter().for_each(|name| fraction(&spec.at("overhead"), name, warnings));
    profiles(holder, warnings);
    ports(&spec, warnings);
    let grace = spec.at("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", grace.path));
    }
    affinity_terms(&spec, warnings);
    for server in spec.to("dnsConfig.nameservers").items() {
        warnings.extend(ip_warnings(&server.path, server.text()));
    }
    for alias in spec.at("hostAliases").items().iter().map(|alias| alias.at("ip")) {
        warnings.extend(ip_warnings(&alias.path, alias.text()));
    }
}

/// What to use instead of a label of nodes.
pub fn old_label(key: &str) -> Option<String> {
    let (_, since, new) = OLD_LABELS.iter().find(|(label, _, _)| *label == key)?;
    Some(format!("deprecated since {since}; use {new:?} instead"))
}

fn node_labels(spec: &At<'_>, warnings: &mut Vec<String>) {
    for (key, at) in spec.at("nodeSelector").entries() {
        warnings.extend(old_label(key).map(|why| format!("{}: {why}", at.path)));
    }
    let node = spec.to("affinity.nodeAffinity");
    let required = node.to("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    required.items().iter().for_each(|term| selector_term(term, false, warnings));
    for preferred in node.at("preferredDuringSchedulingIgnoredDuringExecution").items() {
        selector_term(&preferred.at("preference"), true, warnings);
    }
}

/// Values that are no labels are wrong where they are required, and worth a word where they are preferred.
pub fn selector_term(term: &At<'_>, judges_values: bool, warnings: &mut Vec<String>) {
    for expression in term.at("matchExpressions").items() {
        let key = expression.at("key");
        warnings.extend(old_label(key.text()).map(|why| format!("{}: {} is {why}", key.path, key.text())));
        for value in expression.at("values").items().iter().filter(|_| judges_values) {
            warnings.extend(is_label_value(value.text()).iter().map(|why| format!("{}: {why}", value.path)));
        }
    }
}

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

fn spread(spec: &At<'_>, warnings: &mut Vec<String>) {
    for constraint in spec.at("topologySpreadConstraints").items() {
        let (key, selector) = (constraint.at("topologyKey"), constraint.at("labelSelector"));
        warnings.extend(old_label(key.text()).map(|why| format!("{}: {} is {why}", key.path, key.text())));
        if !selector.present() {
            warnings.push(format!("{}: {NO_SELECTOR}", selector.path));
        }
    }
}

fn affinity_terms(spec: &At<'_>, warnings: &mut Vec<String>) {
    for pods in ["podAffinity", "podAntiAffinity"].map(|name| spec.at("affinity").at(name)) {
        let required = pods.at("requiredDuringSchedulingIgnoredDuringExecution").items();
        let preferred = pods.at("preferredDuringSchedulingIgnoredDuringExecution").items();
        let preferred = preferred.iter().map(|term| term.at("podAffinityTerm"));
        let selectors = required.into_iter().chain(preferred).map(|term| term.at("labelSelector"));
        warnings.extend(selectors.filter(|at| !at.present()).map(|at| format!("{}: {NO_SELECTOR}", at.path)));
    }
}

fn annotations(holder: &At<'_>, warnings: &mut Vec<String>) {
    let given = holder.to("metadata.annotations");
    for (key, since, field) in OLD_ANNOTATIONS.iter().filter(|(key, _, _)| given.value.get(key).is_some()) {
        warnings.push(format!("{}: non-functional in {since}+; use the {field:?} field instead", given.path.key(key)));
    }
}

fn volumes(spec: &At<'_>, warnings: &mut Vec<String>) {
    for volume in spec.at("volumes").items() {
        for (kind, why) in DEAD_VOLUMES.iter().filter(|(kind, _)| volume.at(kind).present()) {
            let shown = if *kind == "storageos" { "storageOS" } else { kind };
            warnings.push(format!("{}: {why}", volume.path.child(shown)));
        }
        let claim = volume.to("ephemeral.volumeClaimTemplate.spec.resources");
        for list in ["requests", "limits"] {
            fraction(&claim.at(list), "storage", warnings);
        }
    }
}

fn repeated(list: &At<'_>, field: &str, warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for value in list.items().iter().map(|item| item.at(field)) {
        if !seen.insert(value.text()) {
            warnings.push(format!("{}: duplicate {field} {:?}", value.path, value.text()));
        }
    }
}

/// A part of a byte.
pub fn fraction(amounts: &At<'_>, name: &str, warnings: &mut Vec<String>) {
    let amount = amounts.at(name);
    if amount.present() && !Quantity::of(amount.value).is_integer() {
        let path = amounts.path.key(name);
        warnings.push(format!("{path}: fractional byte value {} is invalid, must be an integer", amount.value));
    }
}

fn app_armor_annotations<'a>(holder: &At<'a>) -> Vec<(At<'a>, At<'a>)> {
    let given = holder.to("metadata.annotations");
    let mut found = Vec::new();
    for container in all_containers(&holder.at("spec")) {
        let key = format!("{APP_ARMOR}{}", container.at("name").text());
        if let Some(value) = given.value.get(&key) {
            found.push((container, At { value, path: given.path.key(&key) }));
        }
    }
    found
}

fn old_app_armor(annotation: &At<'_>) -> String {
    format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", annotation.path)
}

/// What is told by annotation only, and what each container has.
fn profiles(holder: &At<'_>, warnings: &mut Vec<String>) {
    let (given, spec) = (holder.to("metadata.annotations"), holder.at("spec"));
    let seccomp = |key: &str| {
        format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", given.path.key(key))
    };
    if given.value.get(SECCOMP_POD).is_some() && !spec.to("securityContext.seccompProfile").present() {
        warnings.push(seccomp(SECCOMP_POD));
    }
    let is_template = !holder.path.as_str().is_empty();
    let whole = spec.to("securityContext.appArmorProfile").present();
    let old = app_armor_annotations(holder);
    for container in all_containers(&spec) {
        let key = format!("{SECCOMP_CONTAINER}{}", container.at("name").text());
        if given.value.get(&key).is_some() && !container.to("securityContext.seccompProfile").present() {
            warnings.push(seccomp(&key));
        }
        let has_field = whole || container.to("securityContext.appArmorProfile").present();
        let mine = old.iter().find(|(of, _)| of.path == container.path);
        warnings.extend(mine.filter(|_| is_template && !has_field).map(|(_, annotation)| old_app_armor(annotation)));
        for (name, list) in BYTES.iter().flat_map(|name| [(name, "limits"), (name, "requests")]) {
            fraction(&container.at("resources").at(list), name, warnings);
        }
        environment(&container.at("env"), warnings);
    }
}

fn environment(env: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for entry in env.items() {
        let (name, value) = (entry.at("name").text(), entry.at("value").text());
        let reference = format!("$({name})");
        let extends = !entry.at("valueFrom").present() && value != reference && value.contains(&reference);
        if !seen.insert(name) && !extends {
            let path = &entry.path;
            warnings
                .push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}

/// Ports of all containers together.
fn ports(spec: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen: Vec<At<'_>> = Vec::new();
    for port in all_containers(spec).iter().flat_map(|container| container.at("ports").items()) {
        let same = |other: &&At<'_>| {
            ["containerPort", "protocol"].iter().all(|name| other.at(name).value == port.at(name).value)
        };
        if !port.at("hostIP").empty() && host_port(&port) == 0 {
            warnings.push(format!("{}: hostIP set without hostPort: {}", port.path, shown(&port)));
        }
        let clashes = seen.iter().filter(same).filter_map(|other| Some((clash(&port, other)?, other)));
        warnings
            .extend(clashes.map(|(how, other)| format!("{}: {how} port definition with {}", port.path, other.path)));
        seen.push(port);
    }
}

fn host_port(port: &At<'_>) -> i64 {
    port.at("hostPort").int().unwrap_or_default()
}

fn clash(port: &At<'_>, other: &At<'_>) -> Option<&'static str> {
    let (mine, theirs) = (host_port(port), host_port(other));
    let (address, other_address) = (port.at("hostIP").text(), other.at("hostIP").text());
    match (mine == theirs, address == other_address) {
        (true, true) => Some("duplicate"),
        _ if mine == 0 || theirs == 0 => Some("overlapping"),
        (true, false) if address.is_empty() != other_address.is_empty() => Some("dangerously ambiguous"),
        _ => None,
    }
}

/// As upstream's language prints it.
fn shown(port: &At<'_>) -> String {
    let [name, protocol, address] = ["name", "protocol", "hostIP"].map(|field| port.at(field).text());
    let number = port.at("containerPort").int().unwrap_or_default();
    format!("{{Name:{name} HostPort:{} ContainerPort:{number} Protocol:{protocol} HostIP:{address}}}", host_port(port))
}

fn name_warning(workload: &At<'_>) -> Option<String> {
    let wrong = is_dns1123_label(workload.to("metadata.name").text());
    let warning = || {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
         recommended: [{}]",
            wrong.join(" ")
        )
    };
    (!wrong.is_empty()).then(warning)
}
