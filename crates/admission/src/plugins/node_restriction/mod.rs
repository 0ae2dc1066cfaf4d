//! A kubelet writes its own node, the pods on it, its lease, and tokens for those pods: nothing else.

mod labels;
mod pods;
mod token;

use apimachinery::{GroupResource, Status, object};
use async_trait::async_trait;
use serde_json::Value;

use super::certificates::common_name;
use crate::{Operation, Plugin, Request};

pub struct NodeRestriction;

const SIGNERS_OF_NODES: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        match request.operation {
            Operation::Create | Operation::Update => judge(request),
            Operation::Delete | Operation::Connect => Ok(()),
        }
    }

    /// Deletions only have the second half of the chain.
    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if request.operation == Operation::Delete { judge(request) } else { Ok(()) }
    }
}

fn judge(request: &Request<'_>) -> Result<(), Status> {
    let Some(node) = request.user.node_name() else { return Ok(()) };
    if node.is_empty() {
        return Err(request.forbidden(format!("could not determine node from user {:?}", request.user.name)));
    }
    match (request.resource.group, request.resource.name) {
        ("", "pods") => pods::judge(request, node),
        ("", "nodes") => own_node(request, node),
        ("", "persistentvolumeclaims") => claim(request, node),
        ("", "serviceaccounts") => token::judge(request, node),
        ("coordination.k8s.io", "leases") => lease(request, node),
        ("storage.k8s.io", "csinodes") => named(request, node, "CSINode"),
        ("resource.k8s.io", "resourceslices") => resource_slice(request, node),
        ("certificates.k8s.io", "certificatesigningrequests") => signing_request(request, node),
        ("certificates.k8s.io", "podcertificaterequests") => {
            Err(request.forbidden("PodCertificateRequest feature gate is disabled"))
        }
        _ => Ok(()),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A stored object that the request speaks of.
fn stored(request: &Request<'_>, kind: &str, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let found = request.get("", resource, namespace, name).map(|object| object.value());
    found.ok_or_else(|| Status::not_found(&GroupResource::new("", kind), name))
}

fn own_node(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let name = request.object_name();
    if name != node {
        return Err(request.forbidden(format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    let Some(new) = request.object.as_deref() else { return Ok(()) };
    let refused = match request.old {
        Some(old) => changed_node(node, new, old),
        None => new_node(node, new),
    };
    refused.map_or(Ok(()), |why| Err(request.forbidden(why)))
}

fn config_source(node: &Value) -> Option<&Value> {
    node.pointer("/spec/configSource").filter(|source| !source.is_null())
}

fn new_node(node: &str, new: &Value) -> Option<String> {
    if config_source(new).is_some() {
        return Some(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
    }
    let refused = labels::refused(new, None);
    let names = refused.join(", ");
    (!refused.is_empty()).then(|| format!("node {node:?} is not allowed to set the following labels: {names}"))
}

fn changed_node(node: &str, new: &Value, old: &Value) -> Option<String> {
    if config_source(new).is_some() && config_source(new) != config_source(old) {
        return Some(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource"));
    }
    let taints = |node: &Value| node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
    if taints(new) != taints(old) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    let refused = labels::refused(new, Some(old));
    (!refused.is_empty()).then(|| format!("is not allowed to modify labels: {}", refused.join(", ")))
}

fn claim(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.subresource != "status" {
        return Err(request.forbidden("may only update PVC status"));
    }
    match (request.operation, request.object.as_deref(), request.old) {
        (Operation::Update, Some(new), Some(old)) if fixed_part(new) == fixed_part(old) => Ok(()),
        (Operation::Update, ..) => Err(request.forbidden(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ))),
        (operation, ..) => Err(request.forbidden(format!("unexpected operation {:?}", operation.name()))),
    }
}

/// A claim without what the kubelet reports of its size.
fn fixed_part(claim: &Value) -> Value {
    let mut fixed = claim.clone();
    for key in ["resourceVersion", "managedFields"] {
        object::metadata_mut(&mut fixed).remove(key);
    }
    let status = object::child_mut(&mut fixed, "status");
    for key in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
        status.remove(key);
    }
    fixed
}

fn lease(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.namespace != "kube-node-lease" {
        return Err(request.forbidden("can only access leases in the \"kube-node-lease\" system namespace"));
    }
    named(request, node, "node lease")
}

fn named(request: &Request<'_>, node: &str, what: &str) -> Result<(), Status> {
    if request.object_name() == node {
        return Ok(());
    }
    Err(request.forbidden(format!("can only access {what} with the same name as the requesting node")))
}

/// Of what the authorizer cannot see: a new slice, and each slice of a collection.
fn resource_slice(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let (verb, slice) = match request.operation {
        Operation::Create => ("create", request.object.as_deref()),
        Operation::Delete => ("delete", request.old),
        Operation::Update | Operation::Connect => return Ok(()),
    };
    if slice.is_some_and(|slice| text(slice, "/spec/nodeName") == node) {
        return Ok(());
    }
    Err(request.forbidden(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")))
}

fn signing_request(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let Some(new) = request.object.as_deref().filter(|_| request.operation == Operation::Create) else {
        return Ok(());
    };
    if !SIGNERS_OF_NODES.contains(&text(new, "/spec/signerName")) {
        return Ok(());
    }
    let name = common_name(text(new, "/spec/request"));
    match name.map_err(|why| request.forbidden(format!("unable to parse csr: {why}")))? {
        name if name == format!("system:node:{node}") => Ok(()),
        _ => Err(request.forbidden(format!("can only create a node CSR with CN=system:node:{node}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_written_without_foreign_labels_taints_and_config_sources() {
        let node = |label: &str, spec: Value| json!({"metadata": {"labels": {label: "x"}}, "spec": spec});
        let own = node("kubernetes.io/hostname", json!({"taints": [{"key": "a"}]}));
        let foreign = node("node-role.kubernetes.io/x", json!({"taints": [{"key": "a"}]}));
        assert_eq!(new_node("n", &own), None);
        assert_eq!(
            new_node("n", &foreign).unwrap(),
            "node \"n\" is not allowed to set the following labels: node-role.kubernetes.io/x"
        );
        assert_eq!(changed_node("n", &own, &own), None);
        assert_eq!(changed_node("n", &foreign, &foreign), None);
        let why = "is not allowed to modify labels: node-role.kubernetes.io/x";
        assert_eq!(changed_node("n", &foreign, &own).unwrap(), why);
        assert_eq!(changed_node("n", &own, &foreign).unwrap(), why);
        let bare = node("kubernetes.io/hostname", json!({}));
        assert_eq!(changed_node("n", &bare, &own).unwrap(), "node \"n\" is not allowed to modify taints");
        let dynamic = node("team", json!({"configSource": {"configMap": {}}}));
        assert_eq!(
            new_node("n", &dynamic).unwrap(),
            "node \"n\" is not allowed to create pods with a non-nil configSource"
        );
    }

    #[test]
    fn of_a_claim_only_the_reported_size_changes() {
        let old = json!({"metadata": {"resourceVersion": "1"}, "spec": {"a": 1}, "status": {"phase": "Bound"}});
        let mut new = old.clone();
        new["metadata"]["resourceVersion"] = "2".into();
        new["status"]["capacity"] = json!({"storage": "2Gi"});
        assert_eq!(fixed_part(&new), fixed_part(&old));
        new["metadata"]["finalizers"] = json!(["x"]);
        assert_ne!(fixed_part(&new), fixed_part(&old));
    }
}
