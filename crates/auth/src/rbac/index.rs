//! Bindings by subject, roles by name.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{GROUP, Kind, Rule, rules_of};
use crate::{UserInfo, names};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Clone, Debug)]
struct Binding {
    role_kind: String,
    role: String,
    /// As bound, for the reason of a decision: `Group "system:masters"`.
    subject: String,
}

#[derive(Default)]
pub(super) struct Index {
    /// Cluster roles under the empty namespace.
    roles: HashMap<(String, String), Vec<Rule>>,
    /// Bindings of a namespace (cluster bindings under the empty one), by subject, by the binding's name.
    bindings: HashMap<String, HashMap<Subject, BTreeMap<String, Binding>>>,
    /// The subjects of each binding, to take it out again.
    subjects: HashMap<(String, String), Vec<Subject>>,
}

/// One binding that applies to a user, with its role's rules when the role exists.
pub(super) struct Grant<'a> {
    binding_name: &'a str,
    namespace: &'a str,
    binding: &'a Binding,
    pub rules: Option<&'a [Rule]>,
}

impl Grant<'_> {
    pub fn describe(&self) -> String {
        let Binding { role_kind, role, subject } = self.binding;
        let name = self.binding_name;
        match self.namespace {
            "" => format!("RBAC: allowed by ClusterRoleBinding {name:?} of {role_kind} {role:?} to {subject}"),
            ns => {
                let path = format!("{name}/{ns}");
                format!("RBAC: allowed by RoleBinding {path:?} of {role_kind} {role:?} to {subject}")
            }
        }
    }

    pub fn missing_role(&self) -> String {
        format!("{}.{GROUP} {:?} not found", self.binding.role_kind.to_lowercase(), self.binding.role)
    }
}

impl Index {
    pub fn apply(&mut self, kind: Kind, namespace: &str, name: &str, object: Option<&Value>) {
        let key = (namespace.to_string(), name.to_string());
        match (kind, object) {
            (Kind::Role | Kind::ClusterRole, Some(role)) => {
                self.roles.insert(key, rules_of(role));
            }
            (Kind::Role | Kind::ClusterRole, None) => {
                self.roles.remove(&key);
            }
            (_, binding) => {
                self.unbind(&key);
                if let Some(binding) = binding {
                    self.bind(key, binding);
                }
            }
        }
    }

    pub fn forget(&mut self, kind: Kind) {
        let cluster = matches!(kind, Kind::ClusterRole | Kind::ClusterRoleBinding);
        let kept = |namespace: &str| namespace.is_empty() != cluster;
        match kind {
            Kind::Role | Kind::ClusterRole => self.roles.retain(|(namespace, _), _| kept(namespace)),
            Kind::RoleBinding | Kind::ClusterRoleBinding => {
                self.bindings.retain(|namespace, _| kept(namespace));
                self.subjects.retain(|(namespace, _), _| kept(namespace));
            }
        }
    }

    fn unbind(&mut self, key: &(String, String)) {
        let Some(space) = self.bindings.get_mut(&key.0) else { return };
        for subject in self.subjects.remove(key).unwrap_or_default() {
            let Some(named) = space.get_mut(&subject) else { continue };
            named.remove(&key.1);
            if named.is_empty() {
                space.remove(&subject);
            }
        }
    }

    fn bind(&mut self, key: (String, String), object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
        let (role_kind, role) = (text("/roleRef/kind"), text("/roleRef/name"));
        let space = self.bindings.entry(key.0.clone()).or_default();
        let mut subjects = Vec::new();
        for subject in object.get("subjects").and_then(Value::as_array).into_iter().flatten() {
            let Some((subject, described)) = parse_subject(subject, &key.0) else { continue };
            let binding = Binding { role_kind: role_kind.clone(), role: role.clone(), subject: described };
            space.entry(subject.clone()).or_default().insert(key.1.clone(), binding);
            subjects.push(subject);
        }
        self.subjects.insert(key, subjects);
    }

    pub fn role(&self, namespace: &str, name: &str) -> Option<&[Rule]> {
        self.roles.get(&(namespace.to_string(), name.to_string())).map(Vec::as_slice)
    }

    /// Calls `visitor` with each grant of the user, cluster bindings first, until it returns false.
    pub fn visit<'a>(&'a self, user: &UserInfo, namespace: &'a str, visitor: &mut dyn FnMut(Grant<'a>) -> bool) {
        let spaces: &[&'a str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for space in spaces {
            if !self.visit_space(user, space, visitor) {
                return;
            }
        }
    }

    fn visit_space<'a>(&'a self, user: &UserInfo, space: &'a str, visitor: &mut dyn FnMut(Grant<'a>) -> bool) -> bool {
        let Some(by_subject) = self.bindings.get(space) else { return true };
        let groups = user.groups.iter().map(|group| Subject::Group(group.clone()));
        let subjects = std::iter::once(Subject::User(user.name.clone())).chain(groups);
        let named = subjects.filter_map(|subject| by_subject.get(&subject)).flatten();
        for (binding_name, binding) in named {
            let role_space = if binding.role_kind == "Role" { space } else { "" };
            let rules = self.role(role_space, &binding.role);
            if !visitor(Grant { binding_name, namespace: space, binding, rules }) {
                return false;
            }
        }
        true
    }
}

fn parse_subject(subject: &Value, binding_namespace: &str) -> Option<(Subject, String)> {
    let text = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    match text("kind") {
        "User" => Some((Subject::User(name.into()), format!("User {name:?}"))),
        "Group" => Some((Subject::Group(name.into()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let namespace = Some(text("namespace")).filter(|ns| !ns.is_empty()).unwrap_or(binding_namespace);
            let user = format!("{}{namespace}:{name}", names::SERVICE_ACCOUNT_USER_PREFIX);
            Some((Subject::User(user), format!("ServiceAccount {:?}", format!("{name}/{namespace}"))))
        }
        _ => None,
    }
}
