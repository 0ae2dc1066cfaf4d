//! Pods of a runtime class get its overhead and its scheduling rules.

use apimachinery::{Status, object};
use async_trait::async_trait;
use quota::usage;
use serde_json::Value;

use super::tolerations;
use crate::{Operation, Plugin, Request};

pub struct RuntimeClass;

const OTHER_OVERHEAD: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let Some(class) = class(request)? else { return Ok(()) };
        let merged = request.new_pod().map_or(Ok(()), |pod| merge(pod, &class));
        merged.map_err(|why| request.forbidden(why))
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let class = class(request)?;
        let Some(pod) = new_pod(request) else { return Ok(()) };
        check_overhead(pod, class.as_ref()).map_err(|why| request.forbidden(why))
    }
}

fn new_pod<'a>(request: &'a Request<'_>) -> Option<&'a Value> {
    request.object.as_deref().filter(|_| request.is(Operation::Create, "", "pods"))
}

/// The class that a new pod names.
fn class(request: &Request<'_>) -> Result<Option<Value>, Status> {
    let named = new_pod(request).and_then(|pod| pod.pointer("/spec/runtimeClassName")?.as_str());
    let Some(name) = named else { return Ok(None) };
    match request.get("node.k8s.io", "runtimeclasses", "", name) {
        Some(class) => Ok(Some(class.value())),
        None => Err(request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

fn merge(pod: &mut Value, class: &Value) -> Result<(), String> {
    if class["overhead"].is_object() {
        set_overhead(pod, class.pointer("/overhead/podFixed"))?;
    }
    if class["scheduling"].is_object() {
        merge_node_selector(pod, class)?;
        merge_tolerations(pod, class);
    }
    Ok(())
}

fn set_overhead(pod: &mut Value, fixed: Option<&Value>) -> Result<(), String> {
    let own = usage::of(pod.pointer("/spec/overhead"));
    if !own.is_empty() && own != usage::of(fixed) {
        return Err(OTHER_OVERHEAD.into());
    }
    let spec = object::child_mut(pod, "spec");
    match fixed {
        Some(fixed) => spec.insert("overhead".into(), fixed.clone()),
        None => spec.remove("overhead"),
    };
    Ok(())
}

fn merge_node_selector(pod: &mut Value, class: &Value) -> Result<(), String> {
    for (key, value) in class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        match pod.pointer("/spec/nodeSelector").and_then(|own| own.get(key)) {
            Some(own) if own != value => return Err(conflict(key, value, own)),
            _ => pod["spec"]["nodeSelector"][key] = value.clone(),
        }
    }
    Ok(())
}

fn conflict(key: &str, wanted: &Value, own: &Value) -> String {
    let (wanted, own) = (wanted.as_str().unwrap_or_default(), own.as_str().unwrap_or_default());
    format!("conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {own}")
}

fn merge_tolerations(pod: &mut Value, class: &Value) {
    let added = class.pointer("/scheduling/tolerations").and_then(Value::as_array).map(Vec::as_slice);
    let merged = tolerations::merge(tolerations::of_pod(pod), added.unwrap_or_default());
    if !merged.is_empty() {
        pod["spec"]["tolerations"] = merged.into();
    }
}

/// A pod has the overhead of its class and no other, whoever changed it meanwhile.
fn check_overhead(pod: &Value, class: Option<&Value>) -> Result<(), &'static str> {
    let own = pod.pointer("/spec/overhead").filter(|own| !own.is_null());
    match class.map(|class| &class["overhead"]).filter(|overhead| overhead.is_object()) {
        Some(overhead) if usage::of(overhead.get("podFixed")) != usage::of(own) => Err(OTHER_OVERHEAD),
        None if own.is_some() => {
            Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_of_overhead_are_compared_and_not_their_spelling() {
        let class = json!({"overhead": {"podFixed": {"cpu": "1"}}});
        let mut pod = json!({"spec": {"overhead": {"cpu": "1000m"}}});
        assert_eq!(merge(&mut pod, &class), Ok(()));
        assert_eq!(check_overhead(&pod, Some(&class)), Ok(()));
        let mut other = json!({"spec": {"overhead": {"cpu": "2"}}});
        assert_eq!(merge(&mut other, &class), Err(OTHER_OVERHEAD.to_owned()));
        assert_eq!(check_overhead(&json!({"spec": {}}), Some(&class)), Err(OTHER_OVERHEAD));
        let without = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        assert_eq!(check_overhead(&pod, None), Err(without));
        assert_eq!(check_overhead(&pod, Some(&json!({}))), Err(without));
    }

    #[test]
    fn a_conflict_of_selectors_names_both_values() {
        let class = json!({"scheduling": {"nodeSelector": {"os": "a"}, "tolerations": [{"operator": "Exists"}]}});
        let mut pod = json!({"spec": {"nodeSelector": {"os": "b"}}});
        assert_eq!(
            merge(&mut pod, &class).unwrap_err(),
            "conflict: runtimeClass.scheduling.nodeSelector[os] = a; pod.spec.nodeSelector[os] = b"
        );
        let mut pod = json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}});
        merge(&mut pod, &class).unwrap();
        assert_eq!(pod["spec"], json!({"nodeSelector": {"os": "a"}, "tolerations": [{"operator": "Exists"}]}));
    }
}
