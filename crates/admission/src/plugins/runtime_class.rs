//! Pods of a runtime class get its overhead and its scheduling rules.

use apimachinery::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{Plugin, Request};

pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let Some(pod) = request.new_pod() else { return Ok(()) };
        let Some(name) = pod.pointer("/spec/runtimeClassName").and_then(Value::as_str).map(str::to_string) else {
            return Ok(());
        };
        let Some(class) = request.get("node.k8s.io", "runtimeclasses", "", &name) else {
            return Err(request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found")));
        };
        let class = class.value();
        let merged = request.new_pod().map(|pod| merge(&mut pod["spec"], &class));
        merged.unwrap_or(Ok(())).map_err(|why| request.forbidden(why))
    }
}

fn merge(spec: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(overhead) = class.pointer("/overhead/podFixed") {
        match spec.get("overhead").filter(|own| !own.is_null()) {
            Some(own) if own != overhead => {
                return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into());
            }
            _ => spec["overhead"] = overhead.clone(),
        }
    }
    for (key, value) in class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        match spec.pointer("/nodeSelector").and_then(|own| own.get(key)) {
            Some(own) if own != value => return Err(format!("conflict: runtimeClass.scheduling.nodeSelector[{key}]")),
            _ => spec["nodeSelector"][key] = value.clone(),
        }
    }
    for toleration in class.pointer("/scheduling/tolerations").and_then(Value::as_array).into_iter().flatten() {
        match spec.get_mut("tolerations").and_then(Value::as_array_mut) {
            Some(own) if own.contains(toleration) => {}
            Some(own) => own.push(toleration.clone()),
            None => spec["tolerations"] = json!([toleration]),
        }
    }
    Ok(())
}
