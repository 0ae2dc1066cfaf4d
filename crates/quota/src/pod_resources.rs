//! What a pod asks for in all: its containers together, or its largest initial step, and its overhead.

use apimachinery::Quantity;
use serde_json::Value;

use crate::usage::{self, Usage};

pub fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    pod["spec"][list].as_array().into_iter().flatten()
}

/// `requests` or `limits` that the pod names for itself.
pub fn pod_level(pod: &Value) -> impl Fn(&str) -> Usage + '_ {
    move |kind| usage::of(pod.pointer(&format!("/spec/resources/{kind}")))
}

/// Resources that a pod may name for itself.
fn is_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

/// `requests` or `limits` of a whole pod.
pub fn total(pod: &Value, kind: &str) -> Usage {
    let of = |container: &Value| usage::of(container.pointer(&format!("/resources/{kind}")));
    let main = containers(pod, "containers").fold(Usage::new(), |sum, container| usage::add(sum, &of(container)));
    let (mut sidecars, mut step) = (Usage::new(), Usage::new());
    for container in containers(pod, "initContainers") {
        let own = of(container);
        if container["restartPolicy"] == "Always" {
            sidecars = usage::add(sidecars, &own);
            raise(&mut step, &sidecars);
        } else {
            raise(&mut step, &usage::add(own, &sidecars));
        }
    }
    let mut total = usage::add(main, &sidecars);
    raise(&mut total, &step);
    let own = pod_level(pod)(kind);
    total.extend(own.into_iter().filter(|(name, _)| is_pod_level(name)));
    add_overhead(total, &usage::of(pod.pointer("/spec/overhead")), kind)
}

/// The overhead counts towards limits only where there is one.
fn add_overhead(total: Usage, overhead: &Usage, kind: &str) -> Usage {
    let limited = |name: &String| kind == "requests" || total.get(name).is_some_and(|amount| !amount.is_zero());
    let names: Vec<&String> = overhead.keys().filter(|name| limited(name)).collect();
    let overhead = usage::mask(overhead, names);
    usage::add(total, &overhead)
}

fn raise(to: &mut Usage, at_least: &Usage) {
    for (name, amount) in at_least {
        let own: Option<Quantity> = to.get(name).copied();
        to.insert(name.clone(), own.map_or(*amount, |own| own.max(*amount)));
    }
}

/// Whether no container asks for or is limited in processor time or memory.
pub fn is_best_effort(pod: &Value) -> bool {
    let amounts = |kind: &str| total_of_all(pod, kind);
    let named = |usage: &Usage| ["cpu", "memory"].iter().any(|name| usage.get(*name).is_some_and(|one| !one.is_zero()));
    !named(&amounts("requests")) && !named(&amounts("limits"))
}

fn total_of_all(pod: &Value, kind: &str) -> Usage {
    let all = containers(pod, "containers").chain(containers(pod, "initContainers"));
    let named = all.map(|container| usage::of(container.pointer(&format!("/resources/{kind}"))));
    named.fold(pod_level(pod)(kind), |sum, one| usage::add(sum, &one))
}
