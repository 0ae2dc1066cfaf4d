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
    let mut paths: Map<String, Value> = described.collect();
    for resource in resources.iter().filter(|resource| resource.custom.is_none()) {
        paths.entry(format!("/{}/", path(resource.group, resource.version))).or_insert_with(|| root(resource));
    }
    paths.into()
}

/// Where the resources of a version are listed.
fn root(resource: &Resource) -> Value {
    let id = format!("get{}{}APIResources", group_title(resource.group), title(resource.version));
    json!({"get": {"operationId": id, "responses": {"200": {"description": "OK"}}}})
}

fn endpoints(resource: &Resource) -> Vec<Endpoint<'_>> {
    let base = path(resource.group, resource.version);
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("/{base}{scope}/{}", resource.name);
    let item = format!("{collection}/{{name}}");
    let at = |path: String, wanted| Endpoint { path, resource, sub: None, wanted };
    let mut all = vec![at(collection, &["create", "list", "deletecollection"]), at(item.clone(), ITEM_VERBS)];
    if resource.namespaced {
        all.push(at(format!("/{base}/{}", resource.name), &["list"]));
    }
    if resource.custom.is_none() && resource.verbs.contains(&"watch") {
        all.push(at(format!("/{base}/watch{scope}/{}/{{name}}", resource.name), &["watch"]));
        all.push(at(format!("/{base}/watch{scope}/{}", resource.name), &["watchlist"]));
        all.push(at(format!("/{base}/watch/{}", resource.name), &["watchlist"]));
    }
    for sub in &resource.subresources {
        let path = format!("{item}/{}", sub.name);
        let of = |path| Endpoint { path, resource, sub: Some(sub), wanted: PART_VERBS };
        if sub.name == "proxy" {
            all.push(of(format!("{path}/{{path}}")));
        }
        all.push(of(path));
    }
    all
}

const ITEM_VERBS: &[&str] = &["get", "update", "patch", "delete"];
const PART_VERBS: &[&str] = &["get", "update", "patch", "delete", "create"];
/// What connects instead of reading or writing.
const CONNECTING: &[&str] = &["attach", "exec", "portforward", "proxy"];

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
        let served = self.wanted.iter().filter(|verb| verbs.contains(verb) || verb.starts_with("watch"));
        let mut item: Map<String, Value> =
            served.map(|verb| (method(verb).into(), self.operation(verb, dialect))).collect();
        if item.is_empty() {
            return None;
        }
        item.insert("parameters".into(), self.path_parameters(dialect).into());
        Some(item.into())
    }

    fn path_parameters(&self, dialect: Dialect) -> Vec<Value> {
        let in_path =
            ["name", "namespace", "path"].into_iter().filter(|name| self.path.contains(&format!("{{{name}}}")));
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
            "x-kubernetes-action": if self.connects() { "connect" } else { action(verb) },
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
            "parameters": queries(verb).iter().map(|name| parameter(name, "query", dialect)).collect::<Vec<_>>(),
            "responses": {"200": {"description": "OK"}},
        });
        if matches!(verb, "create" | "update" | "patch") && !self.connects() {
            let patches = if self.resource.custom.is_some() { &PATCHES[..3] } else { PATCHES };
            add_body(&mut operation, if verb == "patch" { patches } else { &["*/*"] }, dialect);
        }
        operation
    }

    fn connects(&self) -> bool {
        self.sub.is_some_and(|sub| CONNECTING.contains(&sub.name))
    }

    /// As upstream names them: `createAppsV1NamespacedDeployment`, `listCoreV1PodForAllNamespaces`.
    fn operation_id(&self, verb: &str) -> String {
        let connected = if self.connects() { title(method(verb)) } else { String::new() };
        let list = if verb == "watchlist" { "List" } else { "" };
        let with_path = if self.path.ends_with("{path}") { "WithPath" } else { "" };
        let resource = self.resource;
        let across = resource.namespaced && !self.path.contains("{namespace}");
        let (scope, end) = match (resource.namespaced, across) {
            (_, true) => ("", "ForAllNamespaces"),
            (true, false) => ("Namespaced", ""),
            (false, false) => ("", ""),
        };
        let (verb, many) = match verb {
            _ if self.connects() => ("connect", ""),
            "watchlist" => ("watch", ""),
            "get" => ("read", ""),
            "update" => ("replace", ""),
            "deletecollection" => ("delete", "Collection"),
            other => (other, ""),
        };
        let sub = self.sub.map(|sub| title(sub.name)).unwrap_or_default();
        let (group, version) = (group_title(resource.group), title(resource.version));
        format!("{verb}{group}{version}{connected}{many}{scope}{}{list}{sub}{with_path}{end}", resource.kind)
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
        "list" | "watch" | "watchlist" => &[
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

/// The last one only built-in kinds understand.
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

fn add_body(operation: &mut Value, medias: &[&str], dialect: Dialect) {
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
