//! The node authorizer: a kubelet may read what its own pods need, and nothing else of that kind.
//!
//! The graph is kept from pods, persistent volumes, volume attachments and resource slices: object -> nodes.

mod graph;
mod references;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use graph::Graph;
use parking_lot::RwLock;
use serde_json::Value;

use crate::rbac::{Rule, bootstrap};
use crate::{Attributes, Decision};

static NODE_RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| bootstrap::cluster_role_rules("system:node"));

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
        self.graph.write().apply_attachment(name, attachment);
    }

    pub fn apply_slice(&self, name: &str, slice: Option<&Value>) {
        self.graph.write().apply_slice(name, slice);
    }

    pub fn forget(&self, resource: &str) {
        self.graph.write().forget(resource);
    }

    pub fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let Some(node) = asked.user.node_name() else { return Decision::NoOpinion(String::new()) };
        if node.is_empty() {
            return no(&format!("unknown node for user {:?}", asked.user.name));
        }
        if asked.path.is_some() {
            return by_static_rules(asked);
        }
        match (asked.group, asked.resource) {
            ("", "secrets" | "configmaps") => self.read_namespaced(node, asked),
            ("", "persistentvolumeclaims") if asked.subresource == "status" => self.status_update(node, asked),
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("storage.k8s.io", "volumeattachments")
            | ("resource.k8s.io", "resourceclaims") => self.get_only(node, asked),
            ("", "serviceaccounts") => self.service_account(node, asked),
            ("coordination.k8s.io", "leases") => lease(node, asked),
            ("storage.k8s.io", "csinodes") => csi_node(node, asked),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, asked),
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

    fn status_update(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        match asked.verb {
            "update" | "patch" => self.related(node, asked),
            _ => no("can only get/update/patch this type"),
        }
    }

    fn service_account(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if asked.verb == "get" && asked.subresource.is_empty() {
            return self.related(node, asked);
        }
        if asked.verb != "create" || asked.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if asked.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, asked)
    }

    /// What a new slice says, and each one of a collection, is checked by admission.
    fn resource_slice(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if !asked.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match asked.verb {
            "create" => allow(),
            "get" | "update" | "patch" | "delete" => self.related(node, asked),
            "watch" | "list" | "deletecollection" if selects(asked, "nodeName", node) => allow(),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, \
                 delete, deletecollection",
            ),
        }
    }

    fn pods(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        match (asked.subresource, asked.verb) {
            ("", "get") => self.get_only(node, asked),
            ("", "list" | "watch") if selects(asked, "spec.nodeName", node) => allow(),
            ("", "list" | "watch") if !asked.name.is_empty() => self.related(node, asked),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => allow(),
            _ => no(""),
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
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !asked.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if asked.verb != "create" && asked.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    allow()
}

/// Writes are limited to the own node by admission. A list by `metadata.name` is a question for that name.
fn own_node(node: &str, asked: &Attributes<'_>) -> Decision {
    match (asked.subresource, asked.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => allow(),
        ("", "get" | "list" | "watch") => match asked.name {
            own if own == node => allow(),
            "" => no(&format!("node '{node}' cannot read all nodes, only its own Node object")),
            other => no(&format!("node '{node}' cannot read '{other}', only its own Node object")),
        },
        _ => no(""),
    }
}

fn selects(asked: &Attributes<'_>, field: &str, value: &str) -> bool {
    asked.fields.iter().any(|term| term.equal && term.field == field && term.value == value)
}

fn by_static_rules(asked: &Attributes<'_>) -> Decision {
    if NODE_RULES.iter().any(|rule| rule.allows(asked)) { allow() } else { no("") }
}

fn allow() -> Decision {
    Decision::Allow(String::new())
}

fn no(reason: &str) -> Decision {
    Decision::NoOpinion(reason.to_string())
}
