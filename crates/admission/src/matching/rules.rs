//! One rule: operations, groups, versions, resources and a scope.

use serde_json::Value;

use super::Target;
use crate::Request;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
}

#[derive(Clone, Debug)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource; the second is empty for the resource itself.
    resources: Vec<(String, String)>,
    names: Vec<String>,
    scope: Scope,
}

impl Rule {
    pub fn of(rule: &Value) -> Rule {
        Rule {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources").iter().map(|text| split(text)).collect(),
            names: texts(rule, "resourceNames"),
            scope: match rule["scope"].as_str() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::All,
            },
        }
    }

    /// The rules of a webhook, or of a policy's constraints.
    pub fn list(rules: &Value) -> Vec<Rule> {
        rules.as_array().into_iter().flatten().map(Rule::of).collect()
    }

    /// Whether the request, seen as one to `target`, is meant.
    pub fn matches(&self, request: &Request<'_>, target: &Target) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == request.object_name());
        named
            && self.in_scope(request)
            && has(&self.operations, request.operation.name())
            && has(&self.groups, &target.resource.group)
            && has(&self.versions, &target.version)
            && self.has_resource(&target.resource.resource, request.subresource)
    }

    fn in_scope(&self, request: &Request<'_>) -> bool {
        let namespaced = !request.is_resource("", "namespaces") && !request.scope().is_empty();
        match self.scope {
            Scope::All => true,
            Scope::Cluster => !namespaced,
            Scope::Namespaced => namespaced,
        }
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        let matches =
            |(own, sub): &(String, String)| (own == "*" || own == resource) && (sub == "*" || sub == subresource);
        self.resources.iter().any(matches)
    }
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    value[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn split(text: &str) -> (String, String) {
    let (resource, subresource) = text.split_once('/').unwrap_or((text, ""));
    (resource.to_owned(), subresource.to_owned())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}
