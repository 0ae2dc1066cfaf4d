//! RBAC: an index of roles and bindings, kept from the store's events.
//!
//! A request visits only the bindings of its own subjects: no scan over all bindings.

mod aggregate;
pub mod bootstrap;
mod index;
mod rule;

use parking_lot::RwLock;
use serde_json::Value;

pub use aggregate::aggregated_rules;
use index::Index;
pub use rule::{Rule, rules_of};

use crate::authorizer::aggregate;
use crate::{Attributes, Decision, UserInfo};

pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The four kinds by their resource name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Role, Kind::ClusterRole, Kind::RoleBinding, Kind::ClusterRoleBinding];

    pub fn of_resource(resource: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.resource() == resource)
    }

    pub fn resource(self) -> &'static str {
        match self {
            Kind::Role => "roles",
            Kind::ClusterRole => "clusterroles",
            Kind::RoleBinding => "rolebindings",
            Kind::ClusterRoleBinding => "clusterrolebindings",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Role => "Role",
            Kind::ClusterRole => "ClusterRole",
            Kind::RoleBinding => "RoleBinding",
            Kind::ClusterRoleBinding => "ClusterRoleBinding",
        }
    }
}

/// The RBAC authorizer.
#[derive(Default)]
pub struct Rbac {
    index: RwLock<Index>,
}

/// A refusal to grant more than one has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Escalation {
    #[error("user {user:?} (groups={groups:?}) is attempting to grant RBAC permissions not currently held:\n{missing}")]
    NotHeld { user: String, groups: Vec<String>, missing: String },
    #[error("{kind}.{GROUP} {name:?} not found")]
    RoleMissing { kind: &'static str, name: String },
}

impl Rbac {
    /// Takes in one object as it is now, or its absence.
    pub fn apply(&self, kind: Kind, namespace: &str, name: &str, object: Option<&Value>) {
        self.index.write().apply(kind, namespace, name, object);
    }

    pub fn forget(&self, kind: Kind) {
        self.index.write().forget(kind);
    }

    pub fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let index = self.index.read();
        let mut missing = Vec::new();
        let mut reason = None;
        index.visit(asked.user, asked.namespace, &mut |grant| {
            match grant.rules {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => reason = Some(grant.describe()),
                Some(_) => {}
                None => missing.push(grant.missing_role()),
            }
            reason.is_none()
        });
        match reason {
            Some(reason) => Decision::Allow(reason),
            None if missing.is_empty() => Decision::NoOpinion(String::new()),
            None => Decision::NoOpinion(format!("RBAC: {}", aggregate(&missing))),
        }
    }

    /// All rules that the user has in the namespace (and in the cluster).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        self.rules_and_missing(user, namespace).0
    }

    /// The same, and what bindings refer to in vain.
    pub fn rules_and_missing(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        self.index.read().visit(user, namespace, &mut |grant| {
            match grant.rules {
                Some(rules) => all.extend(rules.iter().cloned()),
                None => missing.push(grant.missing_role()),
            }
            true
        });
        (all, missing)
    }

    /// Fails unless the user already holds all of `rules` in the namespace.
    pub fn confirm_no_escalation(&self, user: &UserInfo, namespace: &str, rules: &[Rule]) -> Result<(), Escalation> {
        let held = self.rules_for(user, namespace);
        let pieces = rules.iter().flat_map(Rule::breakdown);
        let lacking: Vec<Rule> = pieces.filter(|piece| !held.iter().any(|rule| rule.covers(piece))).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let missing = lacking.iter().map(Rule::compact).collect::<Vec<_>>().join("\n");
        Err(Escalation::NotHeld { user: user.name.clone(), groups: user.groups.clone(), missing })
    }

    /// The rules behind a binding's `roleRef`.
    pub fn rules_of_ref(&self, namespace: &str, role_ref: &Value) -> Result<Vec<Rule>, Escalation> {
        let text = |key: &str| role_ref.get(key).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let index = self.index.read();
        let (word, rules) = match kind {
            "Role" => ("role", index.role(namespace, name)),
            _ => ("clusterrole", index.role("", name)),
        };
        let missing = || Escalation::RoleMissing { kind: word, name: name.to_string() };
        rules.map(<[Rule]>::to_vec).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests;
