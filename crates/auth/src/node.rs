//! The node authorizer: a kubelet may read what its own pods need, and nothing else of that kind.
//!
//! The graph is kept from pods and persistent volumes: object -> nodes whose pods refer to it.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use parking_lot::RwLock;
use serde_json::Value;

use crate::rbac::{Rule, bootstrap};
use crate::{Attributes, Decision};

static NODE_RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| bootstrap::cluster_role_rules("system:node"));

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reference {
    resource: &'static str,
    namespace: String,
    name: String,
}

impl Reference {
    fn new(resource: &'static str, namespace: &str, name: &str) -> Self {
        Reference { resource, namespace: namespace.into(), name: name.into() }
    }
}

#[derive(Default)]
struct Graph {
    /// The node of each pod and what it refers to, by namespace and name.
    pods: HashMap<(String, String), (String, HashSet<Reference>)>,
    /// How many pods of each node refer to an object.
    nodes: HashMap<Reference, HashMap<String, usize>>,
    /// The claim that each bound volume serves, and the secrets that mounting it needs.
    volumes: HashMap<String, (Reference, HashSet<Reference>)>,
    /// Volumes by secret.
    volume_secrets: HashMap<Reference, HashSet<String>>,
    /// The node of each volume attachment.
    attachments: HashMap<String, String>,
}

/// Which node needs what.
#[derive(Default)]
pub struct NodeGraph {
    graph: RwLock<Graph>,
}

impl NodeGraph {
    pub fn apply_pod(&self, namespace: &str, name: &str, pod: Option<&Value>) {
        self.graph.write().apply_pod(namespace, name, pod);
    }

    pub fn apply_volume(&self, name: &str, volume: Option<&Value>) {
        self.graph.write().apply_volume(name, volume);
    }

    pub fn apply_attachment(&self, name: &str, attachment: Option<&Value>) {
        let node = attachment.and_then(|a| a.pointer("/spec/nodeName")).and_then(Value::as_str);
        let mut graph = self.graph.write();
        match node {
            Some(node) => graph.attachments.insert(name.to_string(), node.to_string()),
            None => graph.attachments.remove(name),
        };
    }

    pub fn forget(&self, resource: &str) {
        let mut graph = self.graph.write();
        match resource {
            "pods" => {
                graph.pods.clear();
                graph.nodes.clear();
            }
            "persistentvolumes" => {
                graph.volumes.clear();
                graph.volume_secrets.clear();
            }
            _ => graph.attachments.clear(),
        }
    }

    pub fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let Some(node) = asked.user.node_name() else { return Decision::NoOpinion(String::new()) };
        if asked.path.is_some() {
            return by_static_rules(asked);
        }
        match (asked.group, asked.resource) {
            ("", "secrets" | "configmaps") => self.read_namespaced(node, asked),
            ("", "persistentvolumeclaims") if asked.subresource == "status" => status_update(asked),
            ("", "persistentvolumeclaims" | "persistentvolumes") => self.get_only(node, asked),
            ("storage.k8s.io", "volumeattachments") => self.get_only(node, asked),
            ("", "serviceaccounts") => self.service_account(node, asked),
            ("coordination.k8s.io", "leases") => lease(node, asked),
            ("storage.k8s.io", "csinodes") => csi_node(node, asked),
            ("", "nodes") => own_node(node, asked),
            ("", "pods") => self.pods(node, asked),
            _ => by_static_rules(asked),
        }
    }

    fn read_namespaced(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if !matches!(asked.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !asked.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if asked.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, asked)
    }

    fn get_only(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if asked.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !asked.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, asked)
    }

    fn service_account(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        match (asked.verb, asked.subresource) {
            ("get", "") | ("create", "token") => self.related(node, asked),
            ("create", _) => no("can only create tokens for individual service accounts"),
            _ => no("can only get individual resources of this type"),
        }
    }

    fn pods(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        match (asked.verb, asked.subresource) {
            ("get", "") => self.related(node, asked),
            ("list" | "watch", "") if selects(asked, "spec.nodeName", node) => allow(),
            ("list" | "watch", "") => no("can only list/watch pods with spec.nodeName field selector"),
            _ => by_static_rules(asked),
        }
    }

    fn related(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if asked.name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.read().has_path(node, asked.resource, asked.namespace, asked.name) {
            return allow();
        }
        no(&format!("no relationship found between node '{node}' and this object"))
    }
}

impl Graph {
    fn has_path(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        match resource {
            "pods" => self.pods.get(&(namespace.into(), name.into())).is_some_and(|(own, _)| own == node),
            "volumeattachments" => self.attachments.get(name).is_some_and(|own| own == node),
            "persistentvolumes" => self.volumes.get(name).is_some_and(|(claim, _)| self.needs(node, claim)),
            _ => {
                let Some(resource) = known(resource) else { return false };
                let reference = Reference::new(resource, namespace, name);
                self.needs(node, &reference) || self.needs_by_volume(node, &reference)
            }
        }
    }

    fn needs(&self, node: &str, reference: &Reference) -> bool {
        self.nodes.get(reference).is_some_and(|nodes| nodes.contains_key(node))
    }

    fn needs_by_volume(&self, node: &str, secret: &Reference) -> bool {
        let volumes = self.volume_secrets.get(secret).into_iter().flatten();
        volumes.filter_map(|volume| self.volumes.get(volume)).any(|(claim, _)| self.needs(node, claim))
    }

    fn apply_pod(&mut self, namespace: &str, name: &str, pod: Option<&Value>) {
        let key = (namespace.to_string(), name.to_string());
        if let Some((node, references)) = self.pods.remove(&key) {
            references.iter().for_each(|reference| self.release(&node, reference));
        }
        let Some(pod) = pod else { return };
        let Some(node) = pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|n| !n.is_empty()) else {
            return;
        };
        let references = pod_references(namespace, name, pod);
        for reference in &references {
            *self.nodes.entry(reference.clone()).or_default().entry(node.to_string()).or_default() += 1;
        }
        self.pods.insert(key, (node.to_string(), references));
    }

    fn release(&mut self, node: &str, reference: &Reference) {
        let Some(nodes) = self.nodes.get_mut(reference) else { return };
        if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
        if nodes.is_empty() {
            self.nodes.remove(reference);
        }
    }

    fn apply_volume(&mut self, name: &str, volume: Option<&Value>) {
        if let Some((_, secrets)) = self.volumes.remove(name) {
            for secret in secrets {
                if let Some(volumes) = self.volume_secrets.get_mut(&secret) {
                    volumes.remove(name);
                }
            }
        }
        let Some(claim) = volume.and_then(claim_of) else { return };
        let secrets = volume.map(volume_secrets).unwrap_or_default();
        for secret in &secrets {
            self.volume_secrets.entry(secret.clone()).or_default().insert(name.to_string());
        }
        self.volumes.insert(name.to_string(), (claim, secrets));
    }
}

fn known(resource: &str) -> Option<&'static str> {
    ["secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts"].into_iter().find(|own| *own == resource)
}

fn claim_of(volume: &Value) -> Option<Reference> {
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
    let (namespace, name) = (text("/spec/claimRef/namespace")?, text("/spec/claimRef/name")?);
    Some(Reference::new("persistentvolumeclaims", namespace, name))
}

fn volume_secrets(volume: &Value) -> HashSet<Reference> {
    let claim_namespace = volume.pointer("/spec/claimRef/namespace").and_then(Value::as_str).unwrap_or_default();
    let Some(spec) = volume.get("spec").and_then(Value::as_object) else { return HashSet::new() };
    let sources = spec.values().filter_map(Value::as_object).flatten();
    let references = sources.filter(|(key, _)| key.ends_with("SecretRef") || *key == "secretRef");
    references
        .filter_map(|(_, reference)| {
            let name = reference.get("name")?.as_str()?;
            let namespace = reference.get("namespace").and_then(Value::as_str).unwrap_or(claim_namespace);
            Some(Reference::new("secrets", namespace, name))
        })
        .collect()
}

/// Everything of its namespace that a pod needs on its node.
fn pod_references(namespace: &str, pod_name: &str, pod: &Value) -> HashSet<Reference> {
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
    found
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
    for driver in ["csi/nodePublishSecretRef", "cephfs/secretRef", "iscsi/secretRef", "flexVolume/secretRef"] {
        add("secrets", volume.pointer(&format!("/{driver}/name")));
    }
    let Some(projected) = volume.get("projected") else { return };
    for source in list(projected, "sources") {
        add("secrets", source.pointer("/secret/name"));
        add("configmaps", source.pointer("/configMap/name"));
    }
}

fn status_update(asked: &Attributes<'_>) -> Decision {
    match asked.verb {
        "update" | "patch" => by_static_rules(asked),
        _ => no("can only update PVC status"),
    }
}

fn lease(node: &str, asked: &Attributes<'_>) -> Decision {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if asked.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    allow()
}

fn csi_node(node: &str, asked: &Attributes<'_>) -> Decision {
    if !asked.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    allow()
}

fn own_node(node: &str, asked: &Attributes<'_>) -> Decision {
    match asked.verb {
        "get" | "list" | "watch" if asked.name == node || selects(asked, "metadata.name", node) => allow(),
        "get" | "list" | "watch" => no(&format!("node '{node}' cannot read all nodes, only its own Node object")),
        _ => by_static_rules(asked),
    }
}

fn selects(asked: &Attributes<'_>, key: &str, value: &str) -> bool {
    asked.fields.iter().any(|term| term.key == key && term.value == value)
}

fn by_static_rules(asked: &Attributes<'_>) -> Decision {
    if NODE_RULES.iter().any(|rule| rule.allows(asked)) { allow() } else { Decision::NoOpinion(String::new()) }
}

fn allow() -> Decision {
    Decision::Allow(String::new())
}

fn no(reason: &str) -> Decision {
    Decision::NoOpinion(reason.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{UserInfo, names};

    fn ask(graph: &NodeGraph, node: &str, verb: &str, resource: &str, name: &str) -> bool {
        let user = UserInfo::new(format!("system:node:{node}"), &[names::NODES]);
        graph.authorize(&Attributes::resource(&user, verb, "", resource).in_namespace("ns").named(name)).allowed()
    }

    #[test]
    fn a_secret_is_readable_on_the_node_of_a_pod_that_mounts_it_and_no_longer() {
        let graph = NodeGraph::default();
        let pod = json!({"spec": {"nodeName": "n1", "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}});
        graph.apply_pod("ns", "p", Some(&pod));
        assert!(ask(&graph, "n1", "get", "secrets", "s"));
        assert!(!ask(&graph, "n2", "get", "secrets", "s"));
        assert!(!ask(&graph, "n1", "get", "secrets", "other"));
        assert!(!ask(&graph, "n1", "list", "secrets", ""));
        graph.apply_pod("ns", "p", None);
        assert!(!ask(&graph, "n1", "get", "secrets", "s"));
    }

    #[test]
    fn a_secret_of_a_volume_follows_the_claim() {
        let graph = NodeGraph::default();
        let volume = json!({"spec": {
            "claimRef": {"namespace": "ns", "name": "c"},
            "csi": {"nodePublishSecretRef": {"namespace": "ns", "name": "s"}},
        }});
        let pod = json!({"spec": {
            "nodeName": "n1",
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
        }});
        graph.apply_volume("pv", Some(&volume));
        graph.apply_pod("ns", "p", Some(&pod));
        assert!(ask(&graph, "n1", "get", "persistentvolumes", "pv"));
        assert!(ask(&graph, "n1", "get", "secrets", "s"));
        assert!(!ask(&graph, "n2", "get", "secrets", "s"));
    }
}
