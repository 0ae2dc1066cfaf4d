//! The paths and what can be done at them.

use registry::strategy::{Resource, Subresource};
use serde_json::{Map, Value, json};

use super::{Dialect, path};

/// One path of a resource.
struct Endpoint<'a> {
    path: String,
    resource: &'a Resource,
    sub: Option<&'a Subresource>,
    /// The verbs that upstream puts at such a path.
    wanted: &'static [&'static str],
}

pub fn of(resources: &[&Resource], dialect: Dialect) -> Value {
    let endpoints = resources.iter().flat_map(|resource| endpoints(resource));
    let described = endpoints.filter_map(|endpoint| Some((endpoint.path.clone(), endpoint.describe(dialect)?)));
    described.collect::<Map<_, _>>().into()
}

fn endpoints(resource: &Resource) -> Vec<Endpoint<'_>> {
    let base = path(resource.group, resource.version);
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("/{base}{scope}/{}", resource.name);
    let item = format!("{collection}/{{name}}");
    let at = |path: String, wanted| Endpoint { path, resource, sub: None, wanted };
    let mut all = vec![
        at(collection, &["create", "list", "deletecollection"]),
        at(item.clone(), &["get", "update", "patch", "delete"]),
    ];
    if resource.namespaced {
        all.push(at(format!("/{base}/{}", resource.name), &["list"]));
    }
    all.extend(resource.subresources.iter().map(|sub| Endpoint {
        path: format!("{item}/{}", sub.name),
        resource,
        sub: Some(sub),
        wanted: &["get", "update", "patch", "delete", "create"],
    }));
    all
}

/// A subresource names group and version only where they are not its resource's.
pub fn kind_of<'a>(resource: &'a Resource, sub: &'a Subresource) -> (&'a str, &'a str, &'a str) {
    if sub.version.is_empty() {
        (resource.group, resource.version, sub.kind)
    } else {
        (sub.group, sub.version, sub.kind)
    }
}

impl Endpoint<'_> {
    /// The path item, unless nothing can be done here.
    fn describe(&self, dialect: Dialect) -> Option<Value> {
        let verbs = self.sub.map_or(self.resource.verbs, |sub| sub.verbs);
        let served = self.wanted.iter().filter(|verb| verbs.contains(verb));
        let mut item: Map<String, Value> =
            served.map(|verb| (method(verb).into(), self.operation(verb, dialect))).collect();
        if item.is_empty() {
            return None;
        }
        item.insert("parameters".into(), self.path_parameters(dialect).into());
        Some(item.into())
    }

    fn path_parameters(&self, dialect: Dialect) -> Vec<Value> {
        let in_path = ["name", "namespace"].into_iter().filter(|name| self.path.contains(&format!("{{{name}}}")));
        let mut parameters: Vec<Value> = in_path.map(|name| parameter(name, "path", dialect)).collect();
        parameters.push(parameter("pretty", "query", dialect));
        parameters
    }

    fn operation(&self, verb: &str, dialect: Dialect) -> Value {
        let (group, version, kind) = match self.sub {
            Some(sub) => kind_of(self.resource, sub),
            None => (self.resource.group, self.resource.version, self.resource.kind),
        };
        let mut operation = json!({
            "operationId": self.operation_id(verb),
            "x-kubernetes-action": action(verb),
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
            "parameters": queries(verb).iter().map(|name| parameter(name, "query", dialect)).collect::<Vec<_>>(),
            "responses": {"200": {"description": "OK"}},
        });
        if matches!(verb, "create" | "update" | "patch") {
            add_body(&mut operation, verb, dialect);
        }
        operation
    }

    /// As upstream names them: `createAppsV1NamespacedDeployment`, `listCoreV1PodForAllNamespaces`.
    fn operation_id(&self, verb: &str) -> String {
        let resource = self.resource;
        let across = resource.namespaced && !self.path.contains("{namespace}");
        let (scope, end) = match (resource.namespaced, across) {
            (_, true) => ("", "ForAllNamespaces"),
            (true, false) => ("Namespaced", ""),
            (false, false) => ("", ""),
        };
        let (verb, many) = match verb {
            "get" => ("read", ""),
            "update" => ("replace", ""),
            "deletecollection" => ("delete", "Collection"),
            other => (other, ""),
        };
        let sub = self.sub.map(|sub| title(sub.name)).unwrap_or_default();
        let (group, version) = (group_title(resource.group), title(resource.version));
        format!("{verb}{group}{version}{many}{scope}{}{sub}{end}", resource.kind)
    }
}

fn group_title(group: &str) -> String {
    match group.strip_suffix(".k8s.io").unwrap_or(group) {
        "" => "Core".into(),
        name => name.split('.').map(title).collect(),
    }
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn method(verb: &str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        "patch" => "patch",
        "delete" | "deletecollection" => "delete",
        _ => "get",
    }
}

fn action(verb: &str) -> &str {
    match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    }
}

fn queries(verb: &str) -> &'static [&'static str] {
    match verb {
        "create" | "update" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "list" => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        "delete" => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
        "deletecollection" => {
            &["dryRun", "fieldSelector", "gracePeriodSeconds", "labelSelector", "limit", "propagationPolicy"]
        }
        _ => &[],
    }
}

fn parameter(name: &str, place: &str, dialect: Dialect) -> Value {
    let kind = match name {
        "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    let mut parameter = match dialect {
        Dialect::V2 => json!({"name": name, "in": place, "type": kind, "uniqueItems": true}),
        Dialect::V3 => json!({"name": name, "in": place, "schema": {"type": kind, "uniqueItems": true}}),
    };
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];

fn add_body(operation: &mut Value, verb: &str, dialect: Dialect) {
    let medias: &[&str] = if verb == "patch" { &PATCHES } else { &["*/*"] };
    match dialect {
        Dialect::V2 => {
            let body = json!({"name": "body", "in": "body", "required": true, "schema": {"type": "object"}});
            operation["consumes"] = json!(medias);
            operation["parameters"].as_array_mut().expect("every operation has a list").insert(0, body);
        }
        Dialect::V3 => {
            let contents = medias.iter().map(|media| ((*media).to_string(), json!({"schema": {"type": "object"}})));
            let content: Map<String, Value> = contents.collect();
            operation["requestBody"] = json!({"required": true, "content": content});
        }
    }
}
