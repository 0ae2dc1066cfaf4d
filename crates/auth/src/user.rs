//! The identity of a caller.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names;

/// A caller as authentication (or impersonation) established it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    #[serde(rename = "username", skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(ToString::to_string).collect();
        UserInfo { name: name.into(), groups, ..UserInfo::default() }
    }

    /// The caller that no authorizer is asked about: the server's own components at start.
    pub fn master(name: &str) -> Self {
        UserInfo::new(name, &[names::MASTERS, names::AUTHENTICATED])
    }

    pub fn anonymous() -> Self {
        UserInfo::new(names::ANONYMOUS, &[names::UNAUTHENTICATED])
    }

    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let mut user = UserInfo::new(
            format!("{}{namespace}:{name}", names::SERVICE_ACCOUNT_USER_PREFIX),
            &[names::SERVICE_ACCOUNTS],
        );
        user.groups.push(format!("{}:{namespace}", names::SERVICE_ACCOUNTS));
        user.uid = uid.to_string();
        user
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// Adds `system:authenticated`, once.
    pub fn authenticated(mut self) -> Self {
        let known = [names::AUTHENTICATED, names::UNAUTHENTICATED];
        if !known.iter().any(|group| self.in_group(group)) {
            self.groups.push(names::AUTHENTICATED.to_string());
        }
        self
    }

    /// The node that this caller is, if it is a kubelet.
    pub fn node_name(&self) -> Option<&str> {
        let name = self.name.strip_prefix(names::NODE_USER_PREFIX)?;
        self.in_group(names::NODES).then_some(name)
    }

    /// Namespace and name, if this caller is a service account.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix(names::SERVICE_ACCOUNT_USER_PREFIX)?.split_once(':')
    }
}
