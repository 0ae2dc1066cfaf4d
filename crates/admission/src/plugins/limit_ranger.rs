//! Fills in and enforces the limit ranges of a namespace.

use apimachinery::{Quantity, Status};
use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::{Operation, Plugin, Request};

pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if !request.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let items = limit_items(request);
        let defaulting = items.iter().filter(|item| item["type"] == "Container");
        let Some(pod) = request.new_pod() else { return Ok(()) };
        let mut set = Vec::new();
        for item in defaulting {
            for (kind, list) in [("container", "containers"), ("init container", "initContainers")] {
                let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
                for container in containers.into_iter().flatten() {
                    set.extend(default_container(container, kind, item));
                }
            }
        }
        if !set.is_empty() {
            let note = format!("LimitRanger plugin set: {}", set.join("; "));
            apimachinery::object::set_annotation(pod, "kubernetes.io/limit-ranger", &note);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let writes =
            matches!(request.operation, Operation::Create | Operation::Update) && request.subresource.is_empty();
        let Some(object) = request.object.as_deref().filter(|_| writes) else { return Ok(()) };
        let mut errors = Vec::new();
        if request.is(Operation::Create, "", "pods") {
            limit_items(request).iter().for_each(|item| check_pod(object, item, &mut errors));
        } else if request.is_resource("", "persistentvolumeclaims") {
            limit_items(request).iter().for_each(|item| check_claim(object, item, &mut errors));
        }
        match errors.as_slice() {
            [] => Ok(()),
            [one] => Err(request.forbidden(one)),
            many => Err(request.forbidden(format!("[{}]", many.join(", ")))),
        }
    }
}

fn limit_items(request: &Request<'_>) -> Vec<Value> {
    let ranges = request.list("", "limitranges", Some(request.namespace));
    let limits = |range: &Value| range.pointer("/spec/limits").and_then(Value::as_array).cloned();
    ranges.iter().filter_map(|range| limits(&range.value())).flatten().collect()
}

/// Returns what was set, in the words of the annotation.
fn default_container(container: &mut Value, kind: &str, item: &Value) -> Vec<String> {
    let name = container["name"].as_str().unwrap_or_default().to_string();
    let mut notes = Vec::new();
    for (field, defaults) in [("requests", "defaultRequest"), ("limits", "default")] {
        let Some(defaults) = item.get(defaults).and_then(Value::as_object) else { continue };
        let resources = apimachinery::object::child_mut(container, "resources");
        let values = resources.entry(field).or_insert_with(|| json!({}));
        let Some(values) = values.as_object_mut() else { continue };
        let set = fill(values, defaults);
        if !set.is_empty() {
            notes.push(format!("{} {} for {kind} {name}", set.join(", "), field.trim_end_matches('s')));
        }
    }
    notes
}

fn fill(values: &mut Map<String, Value>, defaults: &Map<String, Value>) -> Vec<String> {
    let missing: Vec<_> = defaults.iter().filter(|(key, _)| !values.contains_key(*key)).collect();
    for (key, value) in &missing {
        values.insert((*key).clone(), (*value).clone());
    }
    missing.into_iter().map(|(key, _)| key.clone()).collect()
}

fn check_pod(pod: &Value, item: &Value, errors: &mut Vec<String>) {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).into_iter().flatten());
    match item["type"].as_str() {
        Some("Container") => containers.for_each(|c| check(item, "Container", &amounts(c), errors)),
        Some("Pod") => check(item, "Pod", &pod_amounts(pod), errors),
        _ => {}
    }
}

fn check_claim(claim: &Value, item: &Value, errors: &mut Vec<String>) {
    if item["type"] != "PersistentVolumeClaim" {
        return;
    }
    let amounts = Amounts { requests: map(claim, "/spec/resources/requests"), limits: Map::new() };
    check(item, "PersistentVolumeClaim", &amounts, errors);
}

struct Amounts {
    requests: Map<String, Value>,
    limits: Map<String, Value>,
}

fn map(value: &Value, pointer: &str) -> Map<String, Value> {
    value.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn amounts(container: &Value) -> Amounts {
    Amounts { requests: map(container, "/resources/requests"), limits: map(container, "/resources/limits") }
}

/// The sum over the containers, or the largest init container where that is more.
fn pod_amounts(pod: &Value) -> Amounts {
    let list = |name: &str| {
        let containers = pod.pointer(&format!("/spec/{name}")).and_then(Value::as_array);
        containers.into_iter().flatten().map(amounts).collect::<Vec<_>>()
    };
    let (main, init) = (list("containers"), list("initContainers"));
    let total = |part: fn(&Amounts) -> &Map<String, Value>| {
        let mut sums = Map::new();
        main.iter().for_each(|amounts| merge(&mut sums, part(amounts), |a, b| a + b));
        init.iter().for_each(|amounts| merge(&mut sums, part(amounts), Ord::max));
        sums
    };
    Amounts { requests: total(|a| &a.requests), limits: total(|a| &a.limits) }
}

fn merge(sums: &mut Map<String, Value>, more: &Map<String, Value>, join: fn(Quantity, Quantity) -> Quantity) {
    for (key, value) in more {
        let next = match sums.get(key) {
            Some(sum) => join(Quantity::of(sum), Quantity::of(value)),
            None => Quantity::of(value),
        };
        sums.insert(key.clone(), next.to_string().into());
    }
}

fn check(item: &Value, kind: &str, amounts: &Amounts, errors: &mut Vec<String>) {
    let Amounts { requests, limits } = amounts;
    for (resource, bound) in item.get("min").and_then(Value::as_object).into_iter().flatten() {
        check_min(resource, bound, kind, requests, limits, errors);
    }
    for (resource, bound) in item.get("max").and_then(Value::as_object).into_iter().flatten() {
        let claim = kind == "PersistentVolumeClaim";
        check_max(resource, bound, kind, requests, if claim { requests } else { limits }, errors);
    }
    for (resource, bound) in item.get("maxLimitRequestRatio").and_then(Value::as_object).into_iter().flatten() {
        check_ratio(resource, bound, kind, requests, limits, errors);
    }
}

fn below(left: &Value, right: &Value) -> bool {
    Quantity::of(left) < Quantity::of(right)
}

fn shown(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn check_min(
    resource: &str,
    bound: &Value,
    kind: &str,
    requests: &Map<String, Value>,
    limits: &Map<String, Value>,
    errors: &mut Vec<String>,
) {
    let prefix = format!("minimum {resource} usage per {kind} is {}", shown(bound));
    match (requests.get(resource), limits.get(resource)) {
        (None, _) => errors.push(format!("{prefix}.  No request is specified")),
        (Some(request), _) if below(request, bound) => {
            errors.push(format!("{prefix}, but request is {}", shown(request)))
        }
        (_, Some(limit)) if below(limit, bound) => errors.push(format!("{prefix}, but limit is {}", shown(limit))),
        _ => {}
    }
}

fn check_max(
    resource: &str,
    bound: &Value,
    kind: &str,
    requests: &Map<String, Value>,
    limits: &Map<String, Value>,
    errors: &mut Vec<String>,
) {
    let prefix = format!("maximum {resource} usage per {kind} is {}", shown(bound));
    match (requests.get(resource), limits.get(resource)) {
        (_, None) => errors.push(format!("{prefix}.  No limit is specified")),
        (_, Some(limit)) if below(bound, limit) => errors.push(format!("{prefix}, but limit is {}", shown(limit))),
        (Some(request), _) if below(bound, request) => {
            errors.push(format!("{prefix}, but request is {}", shown(request)))
        }
        _ => {}
    }
}

fn check_ratio(
    resource: &str,
    bound: &Value,
    kind: &str,
    requests: &Map<String, Value>,
    limits: &Map<String, Value>,
    errors: &mut Vec<String>,
) {
    let prefix = format!("{resource} max limit to request ratio per {kind} is {}", shown(bound));
    match (requests.get(resource), limits.get(resource)) {
        (None, _) => errors.push(format!("{prefix}, but no request is specified or request is 0")),
        (_, None) => errors.push(format!("{prefix}, but no limit is specified or limit is 0")),
        (Some(request), Some(limit)) => {
            let ratio = Quantity::of(limit).as_f64() / Quantity::of(request).as_f64();
            if ratio > Quantity::of(bound).as_f64() {
                errors.push(format!("{prefix}, but provided ratio is {ratio:.6}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_measured_by_its_containers_and_its_largest_init_container() {
        let sized = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let pod = json!({"spec": {"containers": [sized("100m"), sized("200m")], "initContainers": [sized("500m")]}});
        assert_eq!(pod_amounts(&pod).requests["cpu"], "500m");
        let mut errors = Vec::new();
        let item = json!({"type": "Pod", "min": {"cpu": "1"}});
        check_pod(&pod, &item, &mut errors);
        assert_eq!(errors, ["minimum cpu usage per Pod is 1, but request is 500m"]);
    }
}
