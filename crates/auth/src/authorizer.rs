//! The chain of authorizers: system:masters, nodes, RBAC.

use crate::node::NodeGraph;
use crate::rbac::{Kind, Rbac};
use crate::{Attributes, names};

/// An authorizer's answer. The reason is what an access review shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(String),
    NoOpinion(String),
}

impl Decision {
    pub fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    pub fn reason(&self) -> &str {
        match self {
            Decision::Allow(reason) | Decision::NoOpinion(reason) => reason,
        }
    }
}

/// All authorizers of the server, with their indexes.
#[derive(Default)]
pub struct Authorizer {
    pub rbac: Rbac,
    pub nodes: NodeGraph,
}

impl Authorizer {
    /// Drops what is known of a resource, before it is taken in anew.
    pub fn forget(&self, resource: &str) {
        match Kind::of_resource(resource) {
            Some(kind) => self.rbac.forget(kind),
            None => self.nodes.forget(resource),
        }
    }

    /// The first authorizer that allows wins; else the reasons of all are joined.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.in_group(names::MASTERS) {
            return Decision::Allow(String::new());
        }
        let node = self.nodes.authorize(attributes);
        if node.allowed() {
            return node;
        }
        match self.rbac.authorize(attributes) {
            Decision::NoOpinion(reason) => Decision::NoOpinion(join(node.reason(), &reason)),
            allowed => allowed,
        }
    }
}

fn join(first: &str, second: &str) -> String {
    match (first, second) {
        ("", only) | (only, "") => only.to_string(),
        (first, second) => format!("{first}, {second}"),
    }
}
