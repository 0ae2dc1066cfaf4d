//! Pods that ask for a device tolerate the taint that keeps others off its nodes: the taint is named as the resource.

use std::collections::BTreeSet;

use apimachinery::validation::is_qualified_name;
use apimachinery::{Status, object};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{Operation, Plugin, Request};

pub struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_resource("", "pods") || !request.subresource.is_empty() {
            return Ok(());
        }
        if let Some(pod) = request.object.as_deref_mut() {
            tolerate_devices(pod);
        }
        Ok(())
    }
}

fn tolerate_devices(pod: &mut Value) {
    for resource in extended_resources(pod) {
        let toleration = json!({"key": resource, "operator": "Exists", "effect": "NoSchedule"});
        let list = object::child_mut(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
        if list.is_null() {
            *list = json!([]);
        }
        if let Some(tolerations) = list.as_array_mut() {
            put(tolerations, toleration);
        }
    }
}

/// In the place of one that tolerates the same, else at the end.
fn put(tolerations: &mut Vec<Value>, toleration: Value) {
    match tolerations.iter_mut().find(|present| is_same(present, &toleration)) {
        Some(present) => *present = toleration,
        None => tolerations.push(toleration),
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or_default().to_owned();
    ["key", "operator", "value", "effect"].iter().all(|field| text(one, field) == text(other, field))
}

fn extended_resources(pod: &Value) -> BTreeSet<String> {
    let containers = ["containers", "initContainers"].iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    let requests = containers.filter_map(|container| container.pointer("/resources/requests")?.as_object());
    requests.flat_map(|requests| requests.keys()).filter(|name| is_extended(name)).cloned().collect()
}

/// Of another domain than Kubernetes' own, and such that a quota can count it.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.") && is_qualified_name(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(requests: &[&str], initial: &[&str], tolerations: &Value) -> Value {
        let container = |names: &[&str]| {
            let requests: serde_json::Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), json!("1"))).collect();
            json!({"resources": {"requests": requests}})
        };
        json!({"spec": {"containers": [container(requests)], "initContainers": [container(initial)],
            "tolerations": tolerations}})
    }

    #[test]
    fn each_device_is_tolerated_once_and_in_order() {
        let of = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"});
        let other = json!({"key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule"});
        let mut timed = of("example.com/gpu");
        timed["tolerationSeconds"] = 5.into();
        let cases = [
            (pod(&["cpu", "memory"], &[], &json!([])), json!([])),
            (pod(&["kubernetes.io/x", "requests.example.com/x"], &[], &json!([])), json!([])),
            (pod(&["example.com/gpu"], &[], &json!(null)), json!([of("example.com/gpu")])),
            (
                pod(&["example.com/tpu"], &["example.com/gpu", "example.com/tpu"], &json!([other])),
                json!([other, of("example.com/gpu"), of("example.com/tpu")]),
            ),
            (pod(&["example.com/gpu"], &[], &json!([of("example.com/gpu")])), json!([of("example.com/gpu")])),
            (pod(&["example.com/gpu"], &[], &json!([timed, other])), json!([of("example.com/gpu"), other])),
        ];
        for (mut pod, expected) in cases {
            tolerate_devices(&mut pod);
            assert_eq!(pod["spec"]["tolerations"], expected);
        }
    }
}
