//! A node: what it is, what it has, and what runs there.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::Quantity;
use serde_json::Value;

use super::page::{Page, date, list, map, text};
use crate::failure::Failure;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

/// `pods`: those that have not ended; `None` if they may not be seen.
pub fn describe(node: &Value, pods: Option<&[Value]>, lease: Result<&Value, &Failure>, page: &mut Page) {
    let (metadata, spec, status) = (&node["metadata"], &node["spec"], &node["status"]);
    page.field(0, "Name", text(&metadata["name"]));
    page.field(0, "Roles", roles(node));
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    page.field(0, "CreationTimestamp", date(&metadata["creationTimestamp"]));
    page.values("Taints", &taints(spec));
    page.field(0, "Unschedulable", (spec["unschedulable"] == true).to_string());
    describe_lease(lease, page);
    conditions(status, page);
    page.line(0, "Addresses:");
    for address in list(&status["addresses"]) {
        page.field(1, text(&address["type"]), text(&address["address"]));
    }
    for (field, label) in [("capacity", "Capacity"), ("allocatable", "Allocatable")] {
        if map(&status[field]).next().is_some() {
            page.line(0, format!("{label}:"));
        }
        map(&status[field]).for_each(|(name, value)| page.field(1, name, Quantity::of(value).to_string()));
    }
    system(&status["nodeInfo"], page);
    page.field_if(0, "PodCIDR", &spec["podCIDR"]);
    if !list(&spec["podCIDRs"]).is_empty() {
        page.field(0, "PodCIDRs", list(&spec["podCIDRs"]).iter().map(text).collect::<Vec<_>>().join(","));
    }
    page.field_if(0, "ProviderID", &spec["providerID"]);
    match pods {
        Some(pods) => running(node, pods, page),
        None => page.field(0, "Pods", "not authorized"),
    }
}

fn roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in map(&node["metadata"]["labels"]) {
        match key.strip_prefix(ROLE_PREFIX) {
            Some(role) if !role.is_empty() => drop(roles.insert(role)),
            None if key == "kubernetes.io/role" && !text(value).is_empty() => drop(roles.insert(text(value))),
            _ => {}
        }
    }
    if roles.is_empty() { "<none>".into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn taints(spec: &Value) -> Vec<String> {
    let mut taints: Vec<&Value> = list(&spec["taints"]).iter().collect();
    taints.sort_by_key(|taint| format!("{},{}", text(&taint["effect"]), text(&taint["key"])));
    let line = |taint: &Value| match (text(&taint["key"]), text(&taint["value"]), text(&taint["effect"])) {
        (key, "", effect) => format!("{key}:{effect}"),
        (key, value, effect) => format!("{key}={value}:{effect}"),
    };
    taints.into_iter().map(line).collect()
}

fn describe_lease(lease: Result<&Value, &Failure>, page: &mut Page) {
    let lease = match lease {
        Ok(lease) => lease,
        Err(failure) => {
            let why = failure.status().map_or_else(|| failure.text(), |status| status.message.clone());
            return page.field(0, "Lease", format!("Failed to get lease: {why}"));
        }
    };
    page.line(0, "Lease:");
    let spec = &lease["spec"];
    let holder = spec["holderIdentity"].as_str().unwrap_or("<unset>");
    page.field(1, "HolderIdentity", holder);
    for (field, label) in [("acquireTime", "AcquireTime"), ("renewTime", "RenewTime")] {
        page.field(1, label, if spec[field].is_null() { "<unset>".into() } else { date(&spec[field]) });
    }
}

fn conditions(status: &Value, page: &mut Page) {
    if list(&status["conditions"]).is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in list(&status["conditions"]) {
        let field = |name: &str| text(&condition[name]).to_owned();
        let (heartbeat, transition) = (date(&condition["lastHeartbeatTime"]), date(&condition["lastTransitionTime"]));
        let (kind, state, reason, message) = (field("type"), field("status"), field("reason"), field("message"));
        page.line(1, format!("{kind} \t{state} \t{heartbeat} \t{transition} \t{reason} \t{message}"));
    }
}

fn system(info: &Value, page: &mut Page) {
    page.line(0, "System Info:");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        page.field(1, label, text(&info[field]));
    }
}

type Resources = BTreeMap<String, Quantity>;

fn running(node: &Value, pods: &[Value], page: &mut Page) {
    let has = |field: &str| map(&node["status"][field]).next().is_some();
    let allocatable = quantities(&node["status"][if has("allocatable") { "allocatable" } else { "capacity" }]);
    page.line(0, format!("Non-terminated Pods:\t({} in total)", pods.len()));
    page.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    page.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let (mut requested, mut limited) = (Resources::new(), Resources::new());
    for pod in pods {
        let (requests, limits) = (pod_resources(pod, "requests"), pod_resources(pod, "limits"));
        let share = |of: &Resources, name: &str| share(of, &allocatable, name);
        let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        let age = page.since(&pod["metadata"]["creationTimestamp"]);
        page.line(
            1,
            format!(
                "{namespace}\t{name}\t\t{}\t{}\t{}\t{}\t{age}",
                share(&requests, "cpu"),
                share(&limits, "cpu"),
                share(&requests, "memory"),
                share(&limits, "memory")
            ),
        );
        add(&mut requested, &requests);
        add(&mut limited, &limits);
    }
    allocated(&allocatable, &requested, &limited, page);
}

fn allocated(allocatable: &Resources, requested: &Resources, limited: &Resources, page: &mut Page) {
    page.line(0, "Allocated resources:");
    page.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    page.line(1, "Resource\tRequests\tLimits");
    page.line(1, "--------\t--------\t------");
    let standard = ["cpu", "memory", "ephemeral-storage"];
    let huge = allocatable.keys().map(String::as_str).filter(|name| name.starts_with("hugepages-"));
    for name in standard.into_iter().chain(huge) {
        let (requests, limits) = (share(requested, allocatable, name), share(limited, allocatable, name));
        page.line(1, format!("{name}\t{requests}\t{limits}"));
    }
    let extended =
        |name: &&String| !standard.contains(&name.as_str()) && !name.starts_with("hugepages-") && *name != "pods";
    for name in allocatable.keys().filter(extended) {
        let amount = |of: &Resources| of.get(name).copied().unwrap_or_default();
        page.line(1, format!("{name}\t{}\t{}", amount(requested), amount(limited)));
    }
}

/// An amount, and how much of the node's that is.
fn share(of: &Resources, allocatable: &Resources, name: &str) -> String {
    let amount = of.get(name).copied().unwrap_or_default();
    let whole = allocatable.get(name).copied().unwrap_or_default();
    let ratio = |part: i64, whole: i64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a percentage, cut as upstream cuts it"
        )]
        let percent = if whole == 0 { 0 } else { (part as f64 / whole as f64 * 100.0) as i64 };
        percent
    };
    let percent = if name == "cpu" {
        ratio(amount.milli_value(), whole.milli_value())
    } else {
        ratio(amount.value(), whole.value())
    };
    format!("{amount} ({percent}%)")
}

fn quantities(list: &Value) -> Resources {
    map(list).map(|(name, value)| (name.clone(), Quantity::of(value))).collect()
}

fn add(sum: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        *sum.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(most: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        let known = most.entry(name.clone()).or_insert(*amount);
        *known = (*known).max(*amount);
    }
}

/// What a pod takes: its containers together, or more if it needs more to begin; what is set for the whole pod goes first.
fn pod_resources(pod: &Value, field: &str) -> Resources {
    let spec = &pod["spec"];
    let mut total = Resources::new();
    for container in list(&spec["containers"]) {
        let mut own = quantities(&container["resources"][field]);
        let statuses = list(&pod["status"]["containerStatuses"]);
        if let Some(status) = statuses.iter().find(|status| status["name"] == container["name"]) {
            // A resize that is not done yet still holds what it had.
            raise(&mut own, &quantities(&status["resources"][field]));
        }
        add(&mut total, &own);
    }
    let (mut sidecars, mut beginning) = (Resources::new(), Resources::new());
    for container in list(&spec["initContainers"]) {
        let mut own = quantities(&container["resources"][field]);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut beginning, &own);
    }
    raise(&mut total, &beginning);
    total.extend(quantities(&spec["resources"][field]));
    for (name, overhead) in quantities(&spec["overhead"]) {
        // A limit that is not set is not made by the overhead.
        if field == "requests" || total.get(&name).is_some_and(|limit| !limit.is_zero()) {
            *total.entry(name).or_default() += overhead;
        }
    }
    total
}
