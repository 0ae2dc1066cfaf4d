//! A kubelet writes its own node, the pods on it, its lease, and tokens for those pods: nothing else.

use apimachinery::{Status, object};
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct NodeRestriction;

/// Labels under `kubernetes.io` and `k8s.io` that a kubelet may set on its node.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_LABEL_GROUPS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let Some(node) = request.user.node_name() else { return Ok(()) };
        let checked = match (request.resource.group, request.resource.name, request.subresource) {
            ("", "pods", "") => pod(request, node),
            ("", "pods", "status") => pod_status(request, node),
            ("", "pods", "eviction") => own_pod(request, node, "evict"),
            ("", "nodes", _) => own_node(request, node),
            ("", "serviceaccounts", "token") => token(request, node),
            ("coordination.k8s.io", "leases", _) => lease(request, node),
            ("storage.k8s.io", "csinodes", _) => csi_node(request, node),
            _ => Ok(()),
        };
        checked.map_err(|why| request.forbidden(why))
    }
}

type Checked = Result<(), String>;

fn pod(request: &Request<'_>, node: &str) -> Checked {
    match request.operation {
        Operation::Create => new_pod(request, node),
        Operation::Delete => own_pod(request, node, "delete"),
        operation => {
            Err(format!("unexpected operation {operation:?}, node {node:?} can only create and delete mirror pods"))
        }
    }
}

fn new_pod(request: &Request<'_>, node: &str) -> Checked {
    let Some(pod) = request.object.as_deref() else { return Ok(()) };
    if object::annotation(pod, "kubernetes.io/config.mirror").is_none() {
        return Err(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
        ));
    }
    if pod.pointer("/spec/nodeName").and_then(Value::as_str) != Some(node) {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owned_by_node = object::owner_references(pod).all(|owner| owner.kind == "Node" && owner.name == node);
    if !owned_by_node {
        return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    let refers = ["/spec/serviceAccountName"]
        .iter()
        .any(|p| pod.pointer(p).and_then(Value::as_str).is_some_and(|s| !s.is_empty()));
    if refers {
        return Err(format!("node {node:?} can not create pods that reference a service account"));
    }
    Ok(())
}

fn own_pod(request: &Request<'_>, node: &str, verb: &str) -> Checked {
    let (namespace, name) = (request.namespace, request.name);
    let stored;
    let pod = match request.old {
        Some(old) => Some(old),
        None => {
            stored = request.get("", "pods", namespace, name).map(|pod| pod.value());
            stored.as_ref()
        }
    };
    match pod {
        Some(pod) if pod.pointer("/spec/nodeName").and_then(Value::as_str) != Some(node) => {
            Err(format!("node {node:?} can only {verb} pods with spec.nodeName set to itself"))
        }
        _ => Ok(()),
    }
}

fn pod_status(request: &Request<'_>, node: &str) -> Checked {
    let Some(old) = request.old else { return Ok(()) };
    if old.pointer("/spec/nodeName").and_then(Value::as_str) != Some(node) {
        return Err(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    match request.object.as_deref() {
        Some(new) if object::labels(new) != object::labels(old) => {
            Err(format!("node {node:?} cannot update labels through pod status"))
        }
        _ => Ok(()),
    }
}

fn own_node(request: &Request<'_>, node: &str) -> Checked {
    let name = request.object.as_deref().map(object::name).filter(|name| !name.is_empty()).unwrap_or(request.name);
    if name != node {
        return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    match (request.operation, request.object.as_deref(), request.old) {
        (Operation::Create, Some(new), _) => labels(node, new, None),
        (Operation::Update, Some(new), Some(old)) => {
            if request.subresource.is_empty() && new.pointer("/spec/taints") != old.pointer("/spec/taints") {
                return Err(format!("node {node:?} is not allowed to modify taints"));
            }
            labels(node, new, Some(old))
        }
        _ => Ok(()),
    }
}

fn labels(node: &str, new: &Value, old: Option<&Value>) -> Checked {
    let changed = |key: &str| old.is_none_or(|old| object::label(old, key) != object::label(new, key));
    let own = object::labels(new).into_iter().flatten().map(|(key, _)| key.as_str());
    let removed = old.and_then(object::labels).into_iter().flatten().map(|(key, _)| key.as_str());
    let mut refused: Vec<&str> = own.chain(removed).filter(|key| changed(key) && !may_set(key)).collect();
    refused.sort_unstable();
    refused.dedup();
    if refused.is_empty() {
        return Ok(());
    }
    Err(format!("is not allowed to modify labels: {}", refused.join(", ")).replacen(
        "is",
        &format!("node {node:?} is"),
        1,
    ))
}

fn may_set(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return true };
    let within = |suffix: &str| domain == suffix || domain.ends_with(&format!(".{suffix}"));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    !(within("kubernetes.io") || within("k8s.io"))
        || OWN_LABELS.contains(&label)
        || OWN_LABEL_GROUPS.iter().any(|group| within(group))
}

fn token(request: &Request<'_>, node: &str) -> Checked {
    let Some(asked) = request.object.as_deref() else { return Ok(()) };
    let text = |pointer: &str| asked.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/boundObjectRef/kind") != "Pod" {
        return Err(format!("node requested token not bound to a pod, node {node:?}"));
    }
    let (name, uid) = (text("/spec/boundObjectRef/name"), text("/spec/boundObjectRef/uid"));
    let Some(stored) = request.get("", "pods", request.namespace, name) else {
        return Err(format!("pod {name:?} not found"));
    };
    if uid != &*stored.header.uid {
        return Err(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    let pod = stored.value();
    if pod.pointer("/spec/nodeName").and_then(Value::as_str) != Some(node) {
        return Err(format!("node requested token bound to a pod scheduled on a different node, node {node:?}"));
    }
    if pod.pointer("/spec/serviceAccountName").and_then(Value::as_str) != Some(request.name) {
        return Err(format!("node requested token of a service account that the pod does not use, node {node:?}"));
    }
    Ok(())
}

fn lease(request: &Request<'_>, node: &str) -> Checked {
    if request.namespace != "kube-node-lease" {
        return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    named(request, node, "node lease")
}

fn csi_node(request: &Request<'_>, node: &str) -> Checked {
    named(request, node, "CSINode")
}

fn named(request: &Request<'_>, node: &str, what: &str) -> Checked {
    let name = request.object.as_deref().map(object::name).filter(|name| !name.is_empty()).unwrap_or(request.name);
    if name == node { Ok(()) } else { Err(format!("can only access {what} with the same name as the requesting node")) }
}

#[cfg(test)]
mod tests {
    use super::may_set;

    #[test]
    fn a_kubelet_sets_only_labels_of_its_own() {
        let allowed = [
            "team",
            "example.com/x",
            "kubernetes.io/hostname",
            "node.kubernetes.io/anything",
            "topology.kubernetes.io/zone",
        ];
        let refused = [
            "node-restriction.kubernetes.io/x",
            "node-role.kubernetes.io/control-plane",
            "x.k8s.io/y",
            "kubernetes.io/other",
        ];
        assert!(allowed.iter().all(|label| may_set(label)));
        assert!(refused.iter().all(|label| !may_set(label)));
    }
}
