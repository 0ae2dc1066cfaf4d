//! A new node takes no pods before it has reported ready.

use apimachinery::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{Operation, Plugin, Request};

pub struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if !request.is(Operation::Create, "", "nodes") {
            return Ok(());
        }
        let Some(node) = request.object.as_deref_mut() else { return Ok(()) };
        let spec = apimachinery::object::child_mut(node, "spec");
        let taints = spec.entry("taints").or_insert_with(|| json!([]));
        let present = taints.as_array().into_iter().flatten().any(is_not_ready);
        if let (false, Some(list)) = (present, taints.as_array_mut()) {
            list.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}

fn is_not_ready(taint: &Value) -> bool {
    taint["key"] == NOT_READY && taint["effect"] == "NoSchedule"
}
