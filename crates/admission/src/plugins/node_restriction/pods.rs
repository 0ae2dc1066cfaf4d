//! Pods of a kubelet: it makes mirror pods, and reports, evicts and deletes those that run on it.

use apimachinery::{Status, object};
use serde_json::Value;

use super::{stored, text};
use crate::{Operation, Request};

pub fn judge(request: &Request<'_>, node: &str) -> Result<(), Status> {
    match (request.subresource, request.operation) {
        ("", Operation::Create) => new(request, node),
        ("", Operation::Delete) => delete(request, node),
        ("", operation) => Err(request.forbidden(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            operation.name()
        ))),
        ("status", Operation::Update) => status(request, node),
        ("status", operation) => Err(request.forbidden(format!("unexpected operation {:?}", operation.name()))),
        ("eviction", Operation::Create) => evict(request, node),
        ("eviction", operation) => Err(request.forbidden(format!("unexpected operation {}", operation.name()))),
        (other, _) => Err(request
            .forbidden(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))),
    }
}

fn new(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let Some(pod) = request.object.as_deref() else { return Ok(()) };
    if let Some(why) = unfit_mirror(pod, node) {
        return Err(request.forbidden(why));
    }
    let stored = stored(request, "node", "nodes", "", node)?;
    let owner = object::owner_references(pod).next().map(|owner| owner.uid).unwrap_or_default();
    if owner != object::uid(&stored) {
        let known = object::uid(&stored);
        return Err(request.forbidden(format!("node {node} UID mismatch: expected {owner} got {known}")));
    }
    match api_reference(pod) {
        None => Ok(()),
        Some(Ok(what)) => Err(request.forbidden(format!("node {node:?} can not create pods that reference {what}"))),
        Some(Err(why)) => Err(request.forbidden(format!("error checking mirror pod for API references: {why}"))),
    }
}

fn unfit_mirror(pod: &Value, node: &str) -> Option<String> {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    if object::annotation(pod, MIRROR).is_none() {
        return Some(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    let only = |what: &str| Some(format!("node {node:?} can only create pods with {what} set to itself"));
    if text(pod, "/spec/nodeName") != node {
        return only("spec.nodeName");
    }
    let owners: Vec<_> = object::owner_references(pod).collect();
    match owners.as_slice() {
        [] => only("an owner reference"),
        [owner] if (owner.api_version, owner.kind, owner.name) != ("v1", "Node", node) => only("an owner reference"),
        [owner] if !owner.controller => only("a controller owner reference"),
        [owner] if owner.block_owner_deletion => {
            Some(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"))
        }
        [_] => None,
        _ => only("a single owner reference"),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The kind of object that the pod needs of the API; an error for a volume that is not known.
fn api_reference(pod: &Value) -> Option<Result<&'static str, String>> {
    let spec = pod.get("spec")?;
    if !text(spec, "/serviceAccountName").is_empty() {
        return Some(Ok("serviceaccounts"));
    }
    if refers_to(spec, &["secretRef", "secretKeyRef"], "secret") || list(spec, "imagePullSecrets").next().is_some() {
        return Some(Ok("secrets"));
    }
    if list(spec, "volumes").any(needs_secret) {
        return Some(Ok("secrets"));
    }
    if refers_to(spec, &["configMapRef", "configMapKeyRef"], "configMap")
        || list(spec, "volumes").any(|volume| has(volume, "configMap"))
    {
        return Some(Ok("configmaps"));
    }
    if list(spec, "resourceClaims").next().is_some() {
        return Some(Ok("resourceclaims"));
    }
    list(spec, "volumes").find_map(volume_reference)
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|value| !value.is_null())
}

/// By the environment of a container, or by a projected volume.
fn refers_to(spec: &Value, keys: &[&str], source: &str) -> bool {
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    let in_environment = |container: &Value| {
        let from = list(container, "envFrom").any(|from| keys.iter().any(|key| has(from, key)));
        let variable = |one: &Value| one.get("valueFrom").is_some_and(|from| keys.iter().any(|key| has(from, key)));
        from || list(container, "env").any(variable)
    };
    let projects = |volume: &Value| {
        let projected = volume.get("projected").unwrap_or(&Value::Null);
        list(projected, "sources").any(|projection| has(projection, source))
    };
    containers.iter().any(|kind| list(spec, kind).any(in_environment)) || list(spec, "volumes").any(projects)
}

fn needs_secret(volume: &Value) -> bool {
    let sources = volume.as_object().into_iter().flatten().map(|(_, source)| source);
    has(volume, "secret")
        || has(volume, "azureFile")
        || sources.into_iter().any(|source| has(source, "secretRef") || has(source, "nodePublishSecretRef"))
}

/// Volumes that the node can mount without asking the API.
const PLAIN_VOLUMES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

fn volume_reference(volume: &Value) -> Option<Result<&'static str, String>> {
    let source = volume.as_object()?.iter().find(|(key, source)| *key != "name" && !source.is_null());
    match source.map(|(key, _)| key.as_str()).unwrap_or_default() {
        plain if PLAIN_VOLUMES.contains(&plain) => None,
        "csi" => Some(Ok("csidrivers (via CSI volumes)")),
        "glusterfs" => Some(Ok("endpoints (via glusterFS volumes)")),
        "persistentVolumeClaim" => Some(Ok("persistentvolumeclaims")),
        "ephemeral" => Some(Ok("persistentvolumeclaims (via ephemeral volumes)")),
        "projected" => list(&volume["projected"], "sources").find_map(|source| projection(volume, source)),
        _ => Some(Err(format!("unknown volume type for volume  {:?}", text(volume, "/name")))),
    }
}

fn projection(volume: &Value, source: &Value) -> Option<Result<&'static str, String>> {
    match source {
        _ if has(source, "serviceAccountToken") => Some(Ok("serviceaccounts (via projected volumes)")),
        _ if has(source, "clusterTrustBundle") => Some(Ok("clustertrustbundles")),
        _ if has(source, "podCertificate") => Some(Ok("podcertificates")),
        _ if has(source, "downwardAPI") => None,
        _ => Some(Err(format!("unknown source for projected volume {:?}", text(volume, "/name")))),
    }
}

fn delete(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let found;
    let pod = match request.old {
        Some(old) => old,
        None => {
            found = stored(request, "pod", "pods", request.namespace, request.name)?;
            &found
        }
    };
    if text(pod, "/spec/nodeName") == node {
        return Ok(());
    }
    Err(request.forbidden(format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
}

fn evict(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let name = request.object_name();
    if name.is_empty() {
        return Err(request.forbidden("could not determine pod from request data"));
    }
    let pod = stored(request, "pod", "pods", request.namespace, name)?;
    if text(&pod, "/spec/nodeName") == node {
        return Ok(());
    }
    Err(request.forbidden(format!("node {node} can only evict pods with spec.nodeName set to itself")))
}

fn status(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let (Some(new), Some(old)) = (request.object.as_deref(), request.old) else { return Ok(()) };
    unfit_status(node, new, old).map_or(Ok(()), |why| Err(request.forbidden(why)))
}

fn unfit_status(node: &str, new: &Value, old: &Value) -> Option<String> {
    if text(old, "/spec/nodeName") != node {
        let only = "can only update pod status for pods with spec.nodeName set to itself";
        return Some(format!("node {node:?} {only}"));
    }
    let none = serde_json::Map::new();
    if object::labels(new).unwrap_or(&none) != object::labels(old).unwrap_or(&none) {
        return Some(format!("node {node:?} cannot update labels through pod status"));
    }
    if claim_statuses(new) != claim_statuses(old) {
        return Some(format!("node {node:?} cannot update resource claim statues"));
    }
    let extended =
        |pod: &Value| pod.pointer("/status/extendedResourceClaimStatus").filter(|status| !status.is_null()).cloned();
    if extended(new) != extended(old) {
        return Some(format!("node {node:?} cannot update extended resource claim status"));
    }
    None
}

fn claim_statuses(pod: &Value) -> Vec<(&str, Option<&str>)> {
    let statuses = pod.pointer("/status/resourceClaimStatuses").and_then(Value::as_array);
    let claim = |status| (text(status, "/name"), status.get("resourceClaimName").and_then(Value::as_str));
    statuses.into_iter().flatten().map(claim).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mirror_pod_belongs_to_its_node() {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true});
        let pod = |owners: Value| {
            json!({
                "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": owners},
                "spec": {"nodeName": "n"},
            })
        };
        let why = |owners: Value| unfit_mirror(&pod(owners), "n").unwrap_or_default();
        let with = |key: &str, value: Value| {
            let mut changed = owner.clone();
            changed[key] = value;
            json!([changed])
        };
        assert_eq!(why(json!([owner])), "");
        assert_eq!(why(json!([])), "node \"n\" can only create pods with an owner reference set to itself");
        assert_eq!(
            why(json!([owner, owner])),
            "node \"n\" can only create pods with a single owner reference set to itself"
        );
        assert_eq!(
            why(with("kind", "Pod".into())),
            "node \"n\" can only create pods with an owner reference set to itself"
        );
        assert_eq!(
            why(with("controller", false.into())),
            "node \"n\" can only create pods with a controller owner reference set to itself"
        );
        assert_eq!(
            why(with("blockOwnerDeletion", true.into())),
            "node \"n\" must not set blockOwnerDeletion on an owner reference"
        );
        assert!(unfit_mirror(&json!({}), "n").unwrap().starts_with("pod does not have"));
    }

    #[test]
    fn a_mirror_pod_refers_to_nothing() {
        let volume = |source: Value| {
            let mut volume = source;
            volume["name"] = "v".into();
            api_reference(&json!({"spec": {"volumes": [volume]}}))
        };
        assert_eq!(volume(json!({"hostPath": {"path": "/"}})), None);
        assert_eq!(volume(json!({"secret": {}})), Some(Ok("secrets")));
        assert_eq!(volume(json!({"projected": {"sources": [{"configMap": {}}]}})), Some(Ok("configmaps")));
        assert_eq!(volume(json!({"ephemeral": {}})), Some(Ok("persistentvolumeclaims (via ephemeral volumes)")));
        assert_eq!(
            volume(json!({"projected": {"sources": [{"serviceAccountToken": {}}]}})),
            Some(Ok("serviceaccounts (via projected volumes)"))
        );
        assert_eq!(volume(json!({"new": {}})), Some(Err("unknown volume type for volume  \"v\"".into())));
        let variable = json!({"valueFrom": {"secretKeyRef": {"name": "s"}}});
        let pod = json!({"spec": {"initContainers": [{"env": [variable]}]}});
        assert_eq!(api_reference(&pod), Some(Ok("secrets")));
    }

    #[test]
    fn a_status_changes_neither_labels_nor_claims() {
        let old = json!({"metadata": {}, "spec": {"nodeName": "n"}, "status": {}});
        let with = |pointer: &str, value: Value| {
            let mut new = old.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent).unwrap()[key] = value;
            unfit_status("n", &new, &old)
        };
        assert_eq!(with("/status/phase", "Running".into()), None);
        assert!(with("/metadata/labels", json!({"a": "b"})).unwrap().ends_with("labels through pod status"));
        let claims = json!([{"name": "a", "resourceClaimName": "x"}]);
        assert!(with("/status/resourceClaimStatuses", claims).unwrap().ends_with("resource claim statues"));
        let extended = with("/status/extendedResourceClaimStatus", json!({"resourceClaimName": "x"}));
        assert!(extended.unwrap().ends_with("extended resource claim status"));
        assert!(unfit_status("m", &old, &old).unwrap().starts_with("node \"m\" can only update pod status"));
    }
}
