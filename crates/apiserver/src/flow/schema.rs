//! A FlowSchema as requests are compared with it.

use auth::UserInfo;
use serde::Deserialize;
use serde_json::Value;

use crate::request_info::RequestInfo;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Schema {
    pub priority_level_configuration: Named,
    pub matching_precedence: i64,
    pub distinguisher_method: Option<Method>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    namespace: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Method {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    subjects: Vec<Subject>,
    resource_rules: Vec<ResourceRule>,
    non_resource_rules: Vec<PathRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subject {
    kind: String,
    user: Named,
    group: Named,
    service_account: Named,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PathRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    urls: Vec<String>,
}

impl Schema {
    pub fn of(object: &Value) -> Schema {
        object.get("spec").and_then(|spec| Schema::deserialize(spec).ok()).unwrap_or_default()
    }

    pub fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, info))
    }

    /// What tells the flows of the schema apart.
    pub fn distinguisher<'a>(&self, user: &'a UserInfo, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher_method.as_ref().map(|method| method.kind.as_str()) {
            Some("ByUser") => &user.name,
            Some("ByNamespace") => &info.namespace,
            _ => "",
        }
    }
}

impl Rule {
    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.subjects.iter().any(|subject| subject.matches(user))
            && match info.is_resource {
                true => self.resource_rules.iter().any(|rule| rule.matches(info)),
                false => self.non_resource_rules.iter().any(|rule| rule.matches(info)),
            }
    }
}

impl Subject {
    fn matches(&self, user: &UserInfo) -> bool {
        match self.kind.as_str() {
            "User" => self.user.name == "*" || self.user.name == user.name,
            "Group" => self.group.name == "*" || user.in_group(&self.group.name),
            "ServiceAccount" => user.as_service_account().is_some_and(|(namespace, name)| {
                namespace == self.service_account.namespace
                    && (self.service_account.name == "*" || name == self.service_account.name)
            }),
            _ => false,
        }
    }
}

fn lists(list: &[String], text: &str) -> bool {
    matches!(list, [only] if only == "*") || list.iter().any(|own| own == text)
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        lists(&self.verbs, info.verb)
            && self.lists_resource(info)
            && lists(&self.api_groups, &info.group)
            && if info.namespace.is_empty() { self.cluster_scope } else { lists(&self.namespaces, &info.namespace) }
    }

    fn lists_resource(&self, info: &RequestInfo) -> bool {
        let RequestInfo { resource, subresource, .. } = info;
        if subresource.is_empty() {
            return lists(&self.resources, resource);
        }
        let named = |own: &String| own.split_once('/') == Some((resource, subresource));
        lists(&self.resources, "*") || self.resources.iter().any(named)
    }
}

impl PathRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        lists(&self.verbs, info.verb) && self.urls.iter().any(|url| covers(url, &info.path))
    }
}

/// `/healthz` covers what lies below it, as `/healthz/*` does.
fn covers(url: &str, path: &str) -> bool {
    if url == "*" || url == path {
        return true;
    }
    let prefix = url.strip_suffix('*').unwrap_or(url).trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use registry::flow_bootstrap;

    use super::*;
    use crate::query::Query;

    /// The name of the bootstrap schema that takes the request.
    fn taken_by(user: &UserInfo, method: &Method, path: &str) -> &'static str {
        let info = RequestInfo::parse(method, path, &Query::parse(""));
        let mut schemas: Vec<(Schema, &'static str)> = flow_bootstrap::objects()
            .into_iter()
            .filter(|own| own.resource == "flowschemas")
            .map(|own| (Schema::of(&own.object()), own.name))
            .collect();
        schemas.sort_by_key(|(schema, name)| (schema.matching_precedence, *name));
        schemas.iter().find(|(schema, _)| schema.matches(user, &info)).map_or("", |(_, name)| name)
    }

    #[test]
    fn everybody_finds_his_schema() {
        let node = UserInfo::new("system:node:a", &["system:nodes", "system:authenticated"]);
        let account = |namespace: &str| UserInfo::service_account(namespace, "x", "").authenticated();
        let scheduler = UserInfo::new("system:kube-scheduler", &["system:authenticated"]);
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
        let pods = "/api/v1/namespaces/a/pods";
        let (get, put) = (&Method::GET, &Method::PUT);
        assert_eq!(taken_by(&UserInfo::master("x"), get, pods), "exempt");
        assert_eq!(taken_by(&UserInfo::anonymous(), get, "/readyz/ping"), "probes");
        assert_eq!(taken_by(&UserInfo::anonymous(), get, "/readyzz"), "global-default");
        assert_eq!(taken_by(&node, put, "/api/v1/nodes/a/status"), "system-node-high");
        assert_eq!(taken_by(&node, put, lease), "system-node-high");
        assert_eq!(taken_by(&node, get, pods), "system-nodes");
        assert_eq!(taken_by(&scheduler, put, lease), "system-leader-election");
        assert_eq!(taken_by(&scheduler, get, pods), "kube-scheduler");
        assert_eq!(taken_by(&account("kube-system"), get, pods), "kube-system-service-accounts");
        assert_eq!(taken_by(&account("a"), get, pods), "service-accounts");
        assert_eq!(taken_by(&UserInfo::new("jane", &["system:authenticated"]), get, pods), "global-default");
    }
}
