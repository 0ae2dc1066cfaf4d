//! A running pod asks for no more than its node has, and only on nodes that can resize.

use apimachinery::status::Cause;
use apimachinery::{Quantity, Status};
use async_trait::async_trait;
use quota::pod_resources;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct PodResizeValidator;

#[async_trait]
impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let resizes = request.is_resource("", "pods") && request.subresource == "resize";
        if !resizes || request.operation != Operation::Update {
            return Ok(());
        }
        let (Some(pod), Some(old)) = (request.object.as_deref(), request.old) else { return Ok(()) };
        let name = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || pod["spec"] == old["spec"] {
            return Ok(());
        }
        let Some(node) = request.get("", "nodes", "", name) else {
            return Err(request.forbidden(format!("node {name:?} not found")));
        };
        check(pod, &node.value()).map_err(|(reason, why)| refusal(request, reason, &why))
    }
}

fn refusal(request: &Request<'_>, reason: &str, why: &str) -> Status {
    let mut status = request.forbidden(why);
    let cause = Cause { reason: reason.into(), ..Cause::default() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

/// The reason and the words of a refusal.
fn check(pod: &Value, node: &Value) -> Result<(), (&'static str, String)> {
    let system = apimachinery::object::label(node, "kubernetes.io/os").unwrap_or("linux");
    if system != "linux" {
        let name = apimachinery::object::name(node);
        let why = format!("pod resize is only supported on linux nodes, node {name:?} is {system:?}");
        return Err(("UnsupportedPlatform", why));
    }
    let lacking = lacking(pod, node);
    if lacking.is_empty() {
        return Ok(());
    }
    Err(("NodeCapacity", format!("node didn't have enough allocatable resources: {}", lacking.join("; "))))
}

fn lacking(pod: &Value, node: &Value) -> Vec<String> {
    let asked = pod_resources::total(pod, "requests");
    let more = |resource: &str, count: fn(Quantity) -> i64| {
        let requested = asked.get(resource).copied().unwrap_or_default();
        let allocatable = Quantity::of(&node["status"]["allocatable"][resource]);
        let (wanted, given) = (count(requested), count(allocatable));
        (requested > allocatable).then(|| format!("{resource}, requested: {wanted}, allocatable: {given}"))
    };
    [more("cpu", Quantity::milli_value), more("memory", Quantity::value)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_asks_for_no_more_than_a_linux_node_has() {
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "1Ki"}}});
        let pod = |cpu: &str, memory: &str| json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}});
        assert_eq!(check(&pod("2", "1024"), &node), Ok(()));
        let told = "node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000; memory, \
                    requested: 1025, allocatable: 1024";
        assert_eq!(check(&pod("2500m", "1025"), &node), Err(("NodeCapacity", told.to_owned())));
        let windows = json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": "windows"}}});
        let told = "pod resize is only supported on linux nodes, node \"n\" is \"windows\"";
        assert_eq!(check(&pod("1", "1"), &windows), Err(("UnsupportedPlatform", told.to_owned())));
    }
}
