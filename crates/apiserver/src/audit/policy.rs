//! The audit policy: how much is recorded of which request.

use std::path::Path;

use auth::UserInfo;
use serde::Deserialize;

use crate::request_info::RequestInfo;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    kind: String,
    api_version: String,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("read the audit policy")]
    Read(#[source] std::io::Error),
    #[error("the audit policy is no Policy: {0}")]
    Parse(String),
    #[error("the audit policy is {kind} of {api_version}, not Policy of audit.k8s.io/v1")]
    Kind { kind: String, api_version: String },
    #[error("the audit policy has no rules")]
    Empty,
    #[error("rule {0} of the audit policy is about resources and about other paths at once")]
    Mixed(usize),
}

/// What the policy says of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

impl Policy {
    pub fn load(path: &Path) -> Result<Policy, PolicyError> {
        Policy::parse(&std::fs::read_to_string(path).map_err(PolicyError::Read)?)
    }

    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let policy: Policy = serde_saphyr::from_str(text).map_err(|error| PolicyError::Parse(error.to_string()))?;
        if policy.kind != "Policy" || policy.api_version != "audit.k8s.io/v1" {
            return Err(PolicyError::Kind { kind: policy.kind, api_version: policy.api_version });
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        let mixed = |rule: &Rule| !rule.urls.is_empty() && (!rule.resources.is_empty() || !rule.namespaces.is_empty());
        match policy.rules.iter().position(mixed) {
            Some(index) => Err(PolicyError::Mixed(index)),
            None => Ok(policy),
        }
    }

    /// By the first rule that matches; nothing is recorded without one.
    pub fn decide(&self, user: Option<&UserInfo>, info: &RequestInfo) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(user, info)) else { return Decision::default() };
        let omit_stages = self.omit_stages.iter().chain(&rule.omit_stages).copied().collect();
        let omit_managed_fields = rule.omit_managed_fields.unwrap_or(self.omit_managed_fields);
        Decision { level: rule.level, omit_stages, omit_managed_fields }
    }
}

fn lists(list: &[String], text: &str) -> bool {
    list.is_empty() || list.iter().any(|own| own == text)
}

impl Rule {
    fn matches(&self, user: Option<&UserInfo>, info: &RequestInfo) -> bool {
        let by_user = match user {
            Some(user) => {
                let grouped = self.user_groups.is_empty() || self.user_groups.iter().any(|group| user.in_group(group));
                lists(&self.users, &user.name) && grouped
            }
            None => self.users.is_empty() && self.user_groups.is_empty(),
        };
        by_user && lists(&self.verbs, info.verb) && self.reaches(info)
    }

    fn reaches(&self, info: &RequestInfo) -> bool {
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && lists(&self.namespaces, &info.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|own| own.matches(info)));
        }
        if !self.urls.is_empty() {
            return !info.is_resource && self.urls.iter().any(|url| covers(url, &info.path));
        }
        true
    }
}

fn covers(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

impl GroupResources {
    fn matches(&self, info: &RequestInfo) -> bool {
        if self.group != info.group {
            return false;
        }
        let named = lists(&self.resource_names, &info.name);
        self.resources.is_empty() || self.resources.iter().any(|own| named && matches_resource(own, info))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`.
fn matches_resource(own: &str, info: &RequestInfo) -> bool {
    let RequestInfo { resource, subresource, .. } = info;
    match own.split_once('/') {
        None => own == "*" || (own == resource && subresource.is_empty()),
        Some(("*", sub)) => sub == subresource,
        Some((name, "*")) => name == resource,
        Some((name, sub)) => name == resource && sub == subresource,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::query::Query;

    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:kube-proxy]
  verbs: [watch]
  resources: [{group: '', resources: [endpoints, services/status]}]
- level: None
  nonResourceURLs: [/api*, /version]
- level: Request
  namespaces: [kube-system]
  resources: [{group: '', resources: [configmaps], resourceNames: [controller-leader]}]
- level: RequestResponse
  userGroups: [admins]
  omitStages: [ResponseStarted]
  omitManagedFields: true
- level: Metadata
  resources: [{group: '', resources: ['*/log', 'secrets/*']}]
";

    fn level(user: &str, group: &str, method: &Method, uri: &str) -> Level {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let info = RequestInfo::parse(method, path, &Query::parse(query));
        let policy = Policy::parse(POLICY).unwrap();
        policy.decide(Some(&UserInfo::new(user, &[group])), &info).level
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let get = &Method::GET;
        assert_eq!(level("system:kube-proxy", "admins", get, "/api/v1/endpoints?watch=1"), Level::None);
        assert_eq!(level("system:kube-proxy", "admins", get, "/api/v1/endpoints"), Level::RequestResponse);
        assert_eq!(level("jane", "admins", get, "/apis/apps"), Level::None);
        let leader = "/api/v1/namespaces/kube-system/configmaps/controller-leader";
        assert_eq!(level("jane", "admins", get, leader), Level::Request);
        assert_eq!(level("jane", "users", get, "/api/v1/namespaces/a/pods/x/log"), Level::Metadata);
        assert_eq!(level("jane", "users", get, "/api/v1/namespaces/a/secrets/x"), Level::Metadata);
        assert_eq!(level("jane", "users", get, "/api/v1/namespaces/a/pods/x"), Level::None);
    }

    #[test]
    fn stages_of_policy_and_rule_add_up_and_managed_fields_follow_the_rule() {
        let info = RequestInfo::parse(&Method::GET, "/healthz", &Query::parse(""));
        let decision = Policy::parse(POLICY).unwrap().decide(Some(&UserInfo::new("x", &["admins"])), &info);
        assert_eq!(decision.omit_stages, [Stage::RequestReceived, Stage::ResponseStarted]);
        assert!(decision.omit_managed_fields);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        assert!(matches!(Policy::parse("kind: Policy\napiVersion: v1"), Err(PolicyError::Kind { .. })));
        assert!(matches!(Policy::parse("kind: Policy\napiVersion: audit.k8s.io/v1"), Err(PolicyError::Empty)));
        assert!(matches!(Policy::parse("- 1"), Err(PolicyError::Parse(_))));
        let mixed =
            "kind: Policy\napiVersion: audit.k8s.io/v1\nrules: [{level: None, namespaces: [a], nonResourceURLs: [/x]}]";
        assert!(matches!(Policy::parse(mixed), Err(PolicyError::Mixed(0))));
    }
}
