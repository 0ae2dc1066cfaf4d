//! Pods stay on a node for five minutes after it stops answering, unless they say otherwise.

use apimachinery::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{Operation, Plugin, Request};

pub struct DefaultTolerationSeconds;

const SECONDS: u64 = 300;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.subresource.is_empty() || !request.is_resource("", "pods") {
            return Ok(());
        }
        if let Some(spec) = request.object.as_deref_mut().and_then(|pod| pod.get_mut("spec")) {
            tolerate(spec, "node.kubernetes.io/not-ready");
            tolerate(spec, "node.kubernetes.io/unreachable");
        }
        Ok(())
    }
}

fn tolerate(spec: &mut Value, taint: &str) {
    let given = spec.get("tolerations").and_then(Value::as_array);
    if given.into_iter().flatten().any(|toleration| covers(toleration, taint)) {
        return;
    }
    let added = json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
    match spec.get_mut("tolerations").and_then(Value::as_array_mut) {
        Some(list) => list.push(added),
        None => spec["tolerations"] = json!([added]),
    }
}

fn covers(toleration: &Value, taint: &str) -> bool {
    let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
    (text("key").is_empty() || text("key") == taint) && matches!(text("effect"), "" | "NoExecute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tolerations_are_respected() {
        let mut spec = json!({"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 5}]});
        tolerate(&mut spec, "node.kubernetes.io/not-ready");
        tolerate(&mut spec, "node.kubernetes.io/unreachable");
        let list = spec["tolerations"].as_array().unwrap();
        assert_eq!((list.len(), &list[1]["tolerationSeconds"]), (2, &json!(300)));
    }
}
