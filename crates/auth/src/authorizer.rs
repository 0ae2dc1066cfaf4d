//! The chain of authorizers: system:masters, nodes, RBAC.

use crate::node::NodeGraph;
use crate::rbac::{Kind, Rbac, Rule};
use crate::{Attributes, UserInfo, names};

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

/// What somebody may do, as far as it can be listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Grants {
    pub rules: Vec<Rule>,
    /// Somebody else than RBAC decides too, and cannot list.
    pub incomplete: bool,
    pub error: Option<String>,
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

    /// All that the user may do in the namespace (and in the cluster).
    pub fn grants(&self, user: &UserInfo, namespace: &str) -> Grants {
        let incomplete = user.node_name().is_some();
        let unlisted = incomplete.then(|| "node authorizer does not support user rule resolution".to_string());
        let (rules, missing) = self.rbac.rules_and_missing(user, namespace);
        let errors: Vec<String> = unlisted.into_iter().chain(missing).collect();
        let error = (!errors.is_empty()).then(|| aggregate(&errors));
        Grants { rules, incomplete, error }
    }
}

/// Several errors in one text, each once.
pub(crate) fn aggregate(errors: &[String]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for error in errors {
        if !seen.contains(&error.as_str()) {
            seen.push(error);
        }
    }
    match seen.as_slice() {
        [one] => (*one).to_string(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn join(first: &str, second: &str) -> String {
    match (first, second) {
        ("", only) | (only, "") => only.to_string(),
        (first, second) => format!("{first}\n{second}"),
    }
}
