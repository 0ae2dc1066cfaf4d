//! What pods and persistent volumes refer to.

use std::collections::HashSet;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    pub resource: &'static str,
    pub namespace: String,
    pub name: String,
}

impl Reference {
    pub fn new(resource: &'static str, namespace: &str, name: &str) -> Self {
        Reference { resource, namespace: namespace.into(), name: name.into() }
    }
}

pub(super) fn claim_of(volume: &Value) -> Option<Reference> {
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
    let (namespace, name) = (text("/spec/claimRef/namespace")?, text("/spec/claimRef/name")?);
    Some(Reference::new("persistentvolumeclaims", namespace, name))
}

/// The secrets that mounting a volume needs on the node; those of its controller are not among them.
pub(super) fn volume_secrets(volume: &Value) -> HashSet<Reference> {
    let claim_namespace = volume.pointer("/spec/claimRef/namespace").and_then(Value::as_str).unwrap_or_default();
    let secret = |name: Option<&Value>, namespace: Option<&Value>| {
        let given = namespace.and_then(Value::as_str).filter(|namespace| !namespace.is_empty());
        let name = name.and_then(Value::as_str).filter(|name| !name.is_empty())?;
        Some(Reference::new("secrets", given.unwrap_or(claim_namespace), name))
    };
    let at = |pointer: String| volume.pointer(&pointer);
    let referred = VOLUME_SECRETS
        .iter()
        .filter_map(|place| secret(at(format!("/spec/{place}/name")), at(format!("/spec/{place}/namespace"))));
    let azure = secret(at("/spec/azureFile/secretName".into()), at("/spec/azureFile/secretNamespace".into()));
    referred.chain(azure).collect()
}

const VOLUME_SECRETS: &[&str] = &[
    "csi/nodeStageSecretRef",
    "csi/nodePublishSecretRef",
    "csi/nodeExpandSecretRef",
    "cephfs/secretRef",
    "cinder/secretRef",
    "flexVolume/secretRef",
    "rbd/secretRef",
    "scaleIO/secretRef",
    "iscsi/secretRef",
    "storageos/secretRef",
];

/// Everything of its namespace that a pod needs on its node.
pub(super) fn pod_references(namespace: &str, pod_name: &str, pod: &Value) -> HashSet<Reference> {
    let mut found = HashSet::new();
    // Mirror pods are the node's own word: they open nothing.
    if pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some() {
        return found;
    }
    let mut add = |resource, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !name.is_empty()) {
            found.insert(Reference::new(resource, namespace, name));
        }
    };
    let Some(spec) = pod.get("spec") else { return found };
    add("serviceaccounts", spec.get("serviceAccountName"));
    list(spec, "imagePullSecrets").for_each(|secret| add("secrets", secret.get("name")));
    for kind in ["containers", "initContainers", "ephemeralContainers"] {
        list(spec, kind).for_each(|container| container_references(container, &mut add));
    }
    for volume in list(spec, "volumes") {
        volume_references(volume, &mut add);
        if let (Some(_), Some(name)) = (volume.get("ephemeral"), volume.get("name").and_then(Value::as_str)) {
            add("persistentvolumeclaims", Some(&Value::from(format!("{pod_name}-{name}"))));
        }
    }
    list(spec, "resourceClaims").for_each(|claim| add("resourceclaims", claim_name(pod, claim)));
    add("resourceclaims", pod.pointer("/status/extendedResourceClaimStatus/resourceClaimName"));
    found
}

/// The claim behind a pod's entry: named by it, or made of a template and noted in the status.
fn claim_name<'a>(pod: &'a Value, claim: &'a Value) -> Option<&'a Value> {
    claim.get("resourceClaimName").filter(|name| !name.is_null()).or_else(|| {
        let statuses = pod.pointer("/status/resourceClaimStatuses").and_then(Value::as_array)?;
        statuses.iter().find(|status| status["name"] == claim["name"])?.get("resourceClaimName")
    })
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn container_references(container: &Value, add: &mut dyn FnMut(&'static str, Option<&Value>)) {
    for source in list(container, "envFrom") {
        add("configmaps", source.pointer("/configMapRef/name"));
        add("secrets", source.pointer("/secretRef/name"));
    }
    for variable in list(container, "env") {
        add("configmaps", variable.pointer("/valueFrom/configMapKeyRef/name"));
        add("secrets", variable.pointer("/valueFrom/secretKeyRef/name"));
    }
}

fn volume_references(volume: &Value, add: &mut dyn FnMut(&'static str, Option<&Value>)) {
    add("secrets", volume.pointer("/secret/secretName"));
    add("configmaps", volume.pointer("/configMap/name"));
    add("persistentvolumeclaims", volume.pointer("/persistentVolumeClaim/claimName"));
    add("secrets", volume.pointer("/azureFile/secretName"));
    for place in VOLUME_SECRETS {
        add("secrets", volume.pointer(&format!("/{place}/name")));
    }
    let Some(projected) = volume.get("projected") else { return };
    for source in list(projected, "sources") {
        add("secrets", source.pointer("/secret/name"));
        add("configmaps", source.pointer("/configMap/name"));
    }
}
