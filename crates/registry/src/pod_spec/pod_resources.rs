//! What a pod as a whole asks for: validation, defaults, and the quality of service that follows.

use std::collections::BTreeMap;

use apimachinery::field::ErrorList;
use apimachinery::quantity::Quantity;
use serde_json::{Map, Value};

use super::resources::{self, HUGE_PAGES};
use crate::at::At;

type Amounts = BTreeMap<String, Quantity>;

/// Resources that a pod may name.
fn is_supported(name: &str) -> bool {
    ["cpu", "memory"].contains(&name) || name.starts_with(HUGE_PAGES)
}

pub fn validate(spec: &At<'_>, errors: &mut ErrorList) {
    let own = spec.at("resources");
    if !own.present() {
        return;
    }
    if own.at("claims").present() {
        errors.forbidden(&own.path.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    resources::requirements(&own, resource_name, errors);
    consistency(spec, &own, errors);
}

fn resource_name(name: &str, at: &At<'_>, errors: &mut ErrorList) {
    if resources::resource_name(name, at, errors) && !is_supported(name) {
        errors.not_supported(&at.path, name, &["cpu", HUGE_PAGES, "memory"]);
    }
}

/// The containers together ask for no more than the pod, and none may have more than the pod.
fn consistency(spec: &At<'_>, own: &At<'_>, errors: &mut ErrorList) {
    for (name, asked) in container_requests(spec.value).into_iter().filter(|(name, _)| is_supported(name)) {
        let request = Quantity::of(&own.value["requests"][name.as_str()]);
        if asked > request {
            let detail = format!("must be greater than or equal to aggregate container requests of {asked}");
            errors.invalid(&own.path.child("requests").key(&name), request.to_string(), detail);
        }
    }
    for (index, container) in spec.at("containers").items().iter().enumerate() {
        for (name, limit) in container.to("resources.limits").entries() {
            let whole = own.at("limits").at(name);
            if whole.present() && Quantity::of(limit.value) > Quantity::of(whole.value) {
                let path = own.path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {}", Quantity::of(whole.value));
                errors.invalid(&path, limit.value.clone(), detail);
            }
        }
    }
}

/// What the containers of a pod ask for at once: those that run side by side together, or more if one that initializes
/// needs more beside the sidecars before it.
fn container_requests(spec: &Value) -> Amounts {
    let list = |name: &str| spec[name].as_array().into_iter().flatten();
    let (mut running, mut initializing) = (Amounts::new(), Amounts::new());
    list("containers").for_each(|container| add(&mut running, &requests(container)));
    let mut sidecars = Amounts::new();
    for container in list("initContainers") {
        let own = requests(container);
        let mut now = sidecars.clone();
        add(&mut now, &own);
        if container["restartPolicy"] == "Always" {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            now = sidecars.clone();
        }
        at_least(&mut initializing, now);
    }
    at_least(&mut running, initializing);
    running
}

fn requests(container: &Value) -> Amounts {
    let given = container["resources"]["requests"].as_object().into_iter().flatten();
    given.map(|(name, amount)| (name.clone(), Quantity::of(amount))).collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| *before + *amount);
        total.insert(name.clone(), sum);
    }
}

fn at_least(total: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let entry = total.entry(name).or_insert(amount);
        *entry = (*entry).max(amount);
    }
}

/// A pod with limits of its own asks for what its containers ask for, else for its limits.
pub fn default(spec: &mut Value) {
    let limits = spec["resources"]["limits"].as_object().filter(|limits| !limits.is_empty()).cloned();
    let Some(limits) = limits else { return };
    let mut requests: Map<String, Value> = spec["resources"]["requests"].as_object().cloned().unwrap_or_default();
    for (name, amount) in container_requests(spec) {
        if is_supported(&name) && !resources::is_exact(&name) {
            requests.entry(name).or_insert_with(|| amount.to_string().into());
        }
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| is_supported(name)) {
        requests.entry(name).or_insert(limit);
    }
    if !requests.is_empty() {
        spec["resources"]["requests"] = requests.into();
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"];
    let given = |resources: &Value| {
        ["requests", "limits"].iter().any(|list| resources[*list].as_object().is_some_and(|map| !map.is_empty()))
    };
    let holders: Vec<&Value> = if given(&spec["resources"]) {
        vec![&spec["resources"]]
    } else {
        lists
            .iter()
            .flat_map(|list| spec[*list].as_array().into_iter().flatten())
            .map(|one| &one["resources"])
            .collect()
    };
    let (mut any, mut guaranteed) = (false, true);
    for resources in holders {
        for name in ["cpu", "memory"] {
            let amount = |list: &str| Quantity::of(&resources[list][name]);
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= !request.is_zero() || !limit.is_zero();
            guaranteed &= !limit.is_zero() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
