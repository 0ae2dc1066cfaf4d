//! Objects and the nodes whose pods refer to them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::references::{Reference, claim_of, pod_references, volume_secrets};

#[derive(Default)]
pub(super) struct Graph {
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
    /// The node of each resource slice that has one.
    slices: HashMap<String, String>,
}

impl Graph {
    pub fn apply_attachment(&mut self, name: &str, attachment: Option<&Value>) {
        assign(&mut self.attachments, name, attachment);
    }

    pub fn apply_slice(&mut self, name: &str, slice: Option<&Value>) {
        assign(&mut self.slices, name, slice);
    }

    pub fn forget(&mut self, resource: &str) {
        match resource {
            "pods" => {
                self.pods.clear();
                self.nodes.clear();
            }
            "persistentvolumes" => {
                self.volumes.clear();
                self.volume_secrets.clear();
            }
            "resourceslices" => self.slices.clear(),
            _ => self.attachments.clear(),
        }
    }

    pub fn has_path(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        match resource {
            "pods" => self.pods.get(&(namespace.into(), name.into())).is_some_and(|(own, _)| own == node),
            "volumeattachments" => self.attachments.get(name).is_some_and(|own| own == node),
            "resourceslices" => self.slices.get(name).is_some_and(|own| own == node),
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

    pub fn apply_pod(&mut self, namespace: &str, name: &str, pod: Option<&Value>) {
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

    pub fn apply_volume(&mut self, name: &str, volume: Option<&Value>) {
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
    let all = ["secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts", "resourceclaims"];
    all.into_iter().find(|own| *own == resource)
}

/// Notes the node that an object is about.
fn assign(nodes: &mut HashMap<String, String>, name: &str, object: Option<&Value>) {
    let node = object.and_then(|object| object.pointer("/spec/nodeName")).and_then(Value::as_str);
    match node.filter(|node| !node.is_empty()) {
        Some(node) => nodes.insert(name.to_string(), node.to_string()),
        None => nodes.remove(name),
    };
}
