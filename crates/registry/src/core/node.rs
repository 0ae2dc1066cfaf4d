//! Nodes.

use apimachinery::field::{ErrorList, FieldError, Path};
use apimachinery::validation::{is_label_value, is_qualified_name, parse_cidr, validate_cidr};
use apimachinery::{object, table};
use serde_json::Value;

use crate::at::{At, duplicates};
use crate::cells::{list, name, or, text};
use crate::strategy::{Column, Context, Strategy, keep_all_but_status_and_metadata, keep_status};

pub struct Node;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

impl Strategy for Node {
    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if new["spec"].get("configSource").is_some() {
            warnings.push("spec.configSource: the feature is removed".to_owned());
        }
        if !text(new, "/spec/externalID").is_empty() {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        warnings
    }

    /// A node brings its first status with it.
    fn prepare_for_create(&self, node: &mut Value, _context: &Context<'_>) {
        drop_new(node, &Value::Null, "spec", "configSource");
        drop_new(node, &Value::Null, "status", "config");
    }

    fn default(&self, node: &mut Value) {
        let capacity = node.pointer("/status/capacity").filter(|capacity| capacity.is_object()).cloned();
        if let (Some(capacity), Some(status)) = (capacity, crate::defaults::present(node, "status")) {
            crate::defaults::set(status, "allocatable", capacity);
        }
        if let Some(spec) = crate::defaults::object(node, "spec") {
            pod_cidrs(spec);
        }
    }

    fn validate(&self, node: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(node);
        taints(&root.to("spec.taints"), &mut errors);
        amounts(&root, &mut errors);
        pod_ranges(&root.to("spec.podCIDRs"), &mut errors);
        errors
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        keep_status(new, old);
        drop_new(new, old, "spec", "configSource");
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(new);
        change(new, old, &mut errors);
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        change(new, old, &mut errors);
        errors
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status_and_metadata(new, old);
        drop_new(new, old, "status", "config");
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Status"),
                Column::text("Roles"),
                Column::AGE,
                Column::text("Version"),
                Column::wide("Internal-IP"),
                Column::wide("External-IP"),
                Column::wide("OS-Image"),
                Column::wide("Kernel-Version"),
                Column::wide("Container-Runtime"),
            ]
        }
    }

    fn row(&self, node: &Value, now: i64) -> Vec<Value> {
        let info = |field: &str| text(node, &format!("/status/nodeInfo/{field}")).to_owned();
        vec![
            name(node),
            status(node).into(),
            roles(node).into(),
            table::age(node, now),
            info("kubeletVersion").into(),
            address(node, "InternalIP").into(),
            address(node, "ExternalIP").into(),
            or(&info("osImage"), "<unknown>").into(),
            or(&info("kernelVersion"), "<unknown>").into(),
            or(&info("containerRuntimeVersion"), "<unknown>").into(),
        ]
    }

    fn fields(&self, node: &Value) -> Vec<(&'static str, String)> {
        let unschedulable = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        vec![("spec.unschedulable", unschedulable.to_string())]
    }
}

/// What has no meaning any more is only kept where it was.
fn drop_new(node: &mut Value, old: &Value, part: &str, field: &str) {
    if old[part].get(field).is_none()
        && let Some(part) = crate::defaults::present(node, part)
    {
        crate::defaults::remove(part, field);
    }
}

/// The old single range and the list say the same.
fn pod_cidrs(spec: &mut Value) {
    let single = spec.get("podCIDR").and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = spec.pointer("/podCIDRs/0").cloned();
    match first {
        Some(first) if single.is_empty() => spec["podCIDR"] = first,
        None if !single.is_empty() => spec["podCIDRs"] = Value::from(vec![single]),
        _ => {}
    }
}

/// The rules for a change. Upstream judges taints and amounts here once more.
fn change(new: &Value, old: &Value, errors: &mut ErrorList) {
    let root = At::root(new);
    amounts(&root, errors);
    let mut seen: Vec<&Value> = Vec::new();
    for address in root.to("status.addresses").items() {
        if seen.contains(&address.value) {
            errors.duplicate(&address.path, address.value.clone());
        }
        seen.push(address.value);
    }
    assigned_once(&root.at("spec"), &old["spec"], errors);
    taints(&root.to("spec.taints"), errors);
    let (id, before) = (root.to("spec.externalID"), text(old, "/spec/externalID"));
    if id.text() != before {
        errors.forbidden(&id.path, "may not be updated");
    }
}

/// Ranges and the provider's name are given once.
fn assigned_once(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let (ranges, before) = (spec.at("podCIDRs"), list(old, "/podCIDRs"));
    let now = list(spec.value, "/podCIDRs");
    let changed = match before.len() == now.len() {
        true => before.iter().zip(now).filter(|(old, new)| old != new).count(),
        false => 1,
    };
    for _ in 0..if before.is_empty() { 0 } else { changed } {
        errors.forbidden(&ranges.path, "node updates may not change podCIDR except from \"\" to valid");
    }
    let (provider, before) = (spec.at("providerID"), text(old, "/providerID"));
    if !before.is_empty() && before != provider.text() {
        errors.forbidden(&provider.path, "node updates may not change providerID except from \"\" to valid");
    }
}

/// Of what there is, there is not less than nothing.
fn amounts(node: &At<'_>, errors: &mut ErrorList) {
    for field in ["status.capacity", "status.allocatable"] {
        let amounts = node.to(field);
        for (name, at) in amounts.entries() {
            // Upstream takes the name for that of a field.
            let at = At { path: amounts.path.child(name), ..at };
            super::resource_quota::amount(name, &at, errors);
        }
    }
}

fn pod_ranges(ranges: &At<'_>, errors: &mut ErrorList) {
    let all = ranges.items();
    for range in &all {
        errors.append(validate_cidr(&range.path, range.text()));
    }
    if all.len() < 2 {
        return;
    }
    let parsed: Vec<_> = all.iter().map(|range| parse_cidr(range.text())).collect();
    if let Some(wrong) = parsed.iter().position(Option::is_none) {
        let why = format!("invalid CIDR address: {}", all[wrong].text());
        let detail = format!("invalid PodCIDRs. failed to check with dual stack with error:{why}");
        errors.push(FieldError::internal(&ranges.path, detail));
    }
    let sixes = parsed.iter().flatten().filter(|(address, _)| address.is_ipv6()).count();
    if all.len() > 2 || sixes != 1 || parsed.iter().any(Option::is_none) {
        ranges.invalid(errors, "may specify no more than one CIDR for each IP family");
    }
    duplicates(errors, all);
}

/// Upstream finds taints in metadata.
fn taints(taints: &At<'_>, errors: &mut ErrorList) {
    let taints = At { value: taints.value, path: Path::new("metadata.taints") };
    let mut seen = Vec::new();
    for taint in taints.items() {
        let (key, effect) = (taint.at("key"), taint.at("effect"));
        key.follows(errors, is_qualified_name);
        let wrong = is_label_value(taint.at("value").text());
        if !wrong.is_empty() {
            taint.at("value").invalid(errors, &wrong.join(";"));
        }
        effect.required_one_of(errors, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        let identity = (key.text(), effect.text());
        if seen.contains(&identity) {
            errors.duplicate(&taint.path, taint.value.clone());
        }
        seen.push(identity);
    }
}

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().find(|condition| condition["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in object::labels(node).into_iter().flatten() {
        let role = match key.strip_prefix(ROLE_PREFIX) {
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or_default(),
            Some(role) => role,
            None => continue,
        };
        if !role.is_empty() && !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles.sort_unstable();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

fn address(node: &Value, kind: &str) -> String {
    let addresses = list(node, "/status/addresses");
    let found = addresses.iter().find(|address| address["type"] == kind).map(|address| text(address, "/address"));
    found.unwrap_or("<none>").to_owned()
}
