//! What pods use.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{object, time};
use serde_json::Value;

use crate::pod_resources::{containers, pod_level, total};
use crate::usage::{self, Usage, count};

/// Names besides huge pages and extended resources.
const NAMES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "count/pods",
];
/// A quota on one of these wants every container to name an amount.
const DEMANDING: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

pub fn counts(name: &str) -> bool {
    let requested = name.strip_prefix("requests.");
    NAMES.contains(&name)
        || name.starts_with("hugepages-")
        || requested.is_some_and(|name| name.starts_with("hugepages-") || is_extended(name))
}

/// Of somebody else's domain.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| {
        domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io") && !name.starts_with("requests.")
    })
}

pub fn usage(pod: &Value, now: i64) -> Usage {
    let number: Usage = [("count/pods".to_owned(), count(1))].into();
    if !is_alive(pod, now) {
        return number;
    }
    let amounts = compute(&total(pod, "requests"), &total(pod, "limits"));
    usage::add(number, &amounts)
}

/// Neither finished nor overdue to be gone.
fn is_alive(pod: &Value, now: i64) -> bool {
    if matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Failed" | "Succeeded")) {
        return false;
    }
    let end = pod.pointer("/metadata/deletionTimestamp").and_then(time::seconds);
    let grace = object::deletion_grace_period_seconds(pod);
    !matches!((end, grace), (Some(end), Some(grace)) if now > end + grace)
}

fn compute(requests: &Usage, limits: &Usage) -> Usage {
    let mut usage: Usage = [("pods".to_owned(), count(1))].into();
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = requests.get(name) {
            usage.insert(name.to_owned(), *amount);
            usage.insert(format!("requests.{name}"), *amount);
        }
        if let Some(amount) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    for (name, amount) in requests {
        if name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if name.starts_with("hugepages-") || is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    usage
}

/// What the pod itself says holds for its containers.
pub fn check_constraints(names: &[&String], pod: &Value) -> Result<(), String> {
    let own = pod_level(pod);
    let own = compute(&own("requests"), &own("limits"));
    let demanded: Vec<&str> = names
        .iter()
        .map(|name| name.as_str())
        .filter(|name| DEMANDING.contains(name) && !own.contains_key(*name))
        .collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in containers(pod, "containers").chain(containers(pod, "initContainers")) {
        let list = |kind: &str| usage::of(container.pointer(&format!("/resources/{kind}")));
        let said = compute(&list("requests"), &list("limits"));
        for name in demanded.iter().filter(|name| !said.contains_key(**name)) {
            missing.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let told = missing.into_iter().map(|(name, who)| format!("{name} for: {}", Vec::from_iter(who).join(",")));
    Err(format!("must specify {}", told.collect::<Vec<_>>().join("; ")))
}
