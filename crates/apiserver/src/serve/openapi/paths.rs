//! The paths and what can be done at them.

use api::schema;
use apiextensions::openapi::model_name;
use registry::strategy::{Resource, Subresource};

use super::parameters::{self, Parameter};
use super::path;
use super::route::{About, Content, Payload, Route, TEXT_FORMS};
use crate::verbs::delete::ANSWER_WITH_OBJECT;

/// One path of a resource.
struct Endpoint<'a> {
    path: String,
    resource: &'a Resource,
    sub: Option<&'a Subresource>,
    /// The verbs that upstream puts at such a path.
    wanted: &'static [&'static str],
}

/// All that can be done with a resource.
pub fn of(resource: &Resource) -> Vec<Route> {
    let endpoints = endpoints(resource);
    endpoints.iter().flat_map(|endpoint| endpoint.verbs().map(|verb| endpoint.route(verb))).collect()
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
        if resource.namespaced {
            all.push(at(format!("/{base}/watch/{}", resource.name), &["watchlist"]));
        }
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
const PART_VERBS: &[&str] = &["get", "update", "patch", "delete", "create", "head", "options"];
/// What connects instead of reading or writing.
const CONNECTING: &[&str] = &["attach", "exec", "portforward", "proxy"];

/// A subresource names group and version only where they are not its resource's.
pub fn kind_of<'a>(resource: &'a Resource, sub: &'a Subresource) -> (&'static str, &'static str, &'static str) {
    if sub.version.is_empty() {
        (resource.group, resource.version, sub.kind)
    } else {
        (sub.group, sub.version, sub.kind)
    }
}

const ANYTHING: &[&str] = &["*/*"];
const OBJECTS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const LOG: &[&str] = &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// A strategic merge needs to know the kind when the server is built.
const CUSTOM_PATCHES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

impl Endpoint<'_> {
    fn verbs(&self) -> impl Iterator<Item = &'static str> {
        let served = self.sub.map_or(self.resource.verbs, |sub| sub.verbs);
        let proxied = self.sub.is_some_and(|sub| sub.name == "proxy");
        self.wanted.iter().copied().filter(move |verb| match *verb {
            "head" | "options" => proxied,
            verb => served.contains(&verb) || verb.starts_with("watch"),
        })
    }

    fn route(&self, verb: &'static str) -> Route {
        Route {
            path: self.path.clone(),
            method: method(verb),
            id: self.operation_id(verb),
            tag: tag(self.resource.group, self.resource.version),
            about: Some(self.about(verb)),
            parameters: self.parameters(verb),
            body: self.body(verb),
            consumes: self.consumes(verb),
            produces: self.produces(verb),
            answers: self.answers(verb),
        }
    }

    fn connects(&self) -> bool {
        self.sub.is_some_and(|sub| CONNECTING.contains(&sub.name))
    }

    fn is_custom(&self) -> bool {
        self.resource.custom.is_some()
    }

    fn kind(&self) -> (&'static str, &'static str, &'static str) {
        let resource = self.resource;
        self.sub.map_or((resource.group, resource.version, resource.kind), |sub| kind_of(resource, sub))
    }

    /// Of a custom resource every operation is about the resource's own kind.
    fn about(&self, verb: &'static str) -> About {
        let resource = self.resource;
        let own = (resource.group, resource.version, resource.kind);
        let (group, version, kind) = if self.is_custom() { own } else { self.kind() };
        About { action: if self.connects() { "connect" } else { action(verb) }, group, version, kind }
    }

    fn parameters(&self, verb: &str) -> Vec<Parameter> {
        let in_path =
            parameters::IN_PATH.iter().filter(|parameter| self.path.contains(&format!("{{{}}}", parameter.name)));
        let mut all: Vec<Parameter> = in_path.copied().collect();
        if let Some(sub) = self.sub {
            all.extend(parameters::of_subresource(self.resource.name, sub.name));
        }
        if !self.connects() {
            all.push(parameters::PRETTY);
            all.extend(self.options(verb));
        }
        all
    }

    fn options(&self, verb: &str) -> Vec<Parameter> {
        let watches = |parameter: &&Parameter| parameters::WATCHING.contains(&parameter.name);
        match verb {
            "create" | "update" => parameters::CREATE.to_vec(),
            "patch" => parameters::PATCH.to_vec(),
            "delete" => parameters::DELETE.to_vec(),
            "get" if self.is_custom() => vec![parameters::RESOURCE_VERSION],
            "list" | "watch" | "watchlist" => parameters::LIST.to_vec(),
            "deletecollection" if self.is_custom() => parameters::LIST.to_vec(),
            "deletecollection" => {
                let chosen = parameters::LIST.iter().filter(|parameter| !watches(parameter));
                chosen.chain(parameters::DELETE).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    fn body(&self, verb: &str) -> Option<Payload> {
        if self.connects() {
            return None;
        }
        let (definition, required) = match verb {
            "create" | "update" => (definition_of(self.kind()), true),
            "patch" => (format!("{META}.Patch"), true),
            "deletecollection" if self.is_custom() => return None,
            "delete" | "deletecollection" => (format!("{META}.DeleteOptions"), false),
            _ => return None,
        };
        Some(Payload { definition, required })
    }

    fn consumes(&self, verb: &str) -> &'static [&'static str] {
        match (verb, self.is_custom()) {
            ("patch", true) => CUSTOM_PATCHES,
            (_, true) => TEXT_FORMS,
            ("patch", false) if !self.connects() => PATCHES,
            _ => ANYTHING,
        }
    }

    fn produces(&self, verb: &str) -> &'static [&'static str] {
        match verb {
            _ if self.is_custom() => TEXT_FORMS,
            _ if self.connects() => ANYTHING,
            "list" | "watch" | "watchlist" => STREAMS,
            _ if self.sub.is_some_and(|sub| sub.name == "log") => LOG,
            _ => OBJECTS,
        }
    }

    fn answers(&self, verb: &str) -> Vec<(u16, Content)> {
        let (group, version, kind) = self.kind();
        let own = || Content::Of(definition_of((group, version, kind)));
        let status = || Content::Of(format!("{META}.Status"));
        let with = |content: Content, codes: &[u16]| codes.iter().map(|code| (*code, content.clone())).collect();
        match verb {
            _ if self.connects() || self.sub.is_some_and(|sub| sub.name == "log") => with(Content::Text, &[200]),
            "create" => with(own(), &[200, 201, 202]),
            "update" => with(own(), &[200, 201]),
            "patch" if self.is_custom() => with(own(), &[200]),
            "patch" => with(own(), &[200, 201]),
            "delete" if ANSWER_WITH_OBJECT.contains(&(self.resource.group, self.resource.name)) => {
                with(own(), &[200, 202])
            }
            "delete" => with(status(), &[200, 202]),
            "deletecollection" => with(status(), &[200]),
            "watch" | "watchlist" => with(Content::Of(format!("{META}.WatchEvent")), &[200]),
            "list" => with(Content::Of(self.list_definition()), &[200]),
            _ => with(own(), &[200]),
        }
    }

    fn list_definition(&self) -> String {
        let resource = self.resource;
        match &resource.custom {
            Some(custom) => model_name(resource.group, resource.version, &custom.list_kind),
            None => format!("{}List", definition_of((resource.group, resource.version, resource.kind))),
        }
    }

    /// As upstream names them: `createAppsV1NamespacedDeployment`, `listCoreV1PodForAllNamespaces`.
    fn operation_id(&self, verb: &str) -> String {
        let connected = if self.connects() { identifier(method(verb), true) } else { String::new() };
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
        let sub = self.sub.map(|sub| identifier(sub.name, true)).unwrap_or_default();
        let (group, version) = (group_identifier(resource.group, true), identifier(resource.version, true));
        format!("{verb}{group}{version}{connected}{many}{scope}{}{list}{sub}{with_path}{end}", resource.kind)
    }
}

fn definition_of((group, version, kind): (&str, &str, &str)) -> String {
    let built_in = schema::kind(group, version, kind).map(|definition| definition.name.to_owned());
    built_in.unwrap_or_else(|| model_name(group, version, kind))
}

pub fn tag(group: &str, version: &str) -> String {
    format!("{}_{}", group_identifier(group, false), identifier(version, false))
}

pub fn group_identifier(group: &str, capital: bool) -> String {
    let name = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    identifier(name, capital)
}

/// What stands between words goes, and a capital begins the next one.
pub fn identifier(text: &str, capital: bool) -> String {
    let (mut out, mut capital) = (String::new(), capital);
    for (at, letter) in text.char_indices() {
        if !letter.is_alphabetic() && letter != '_' && (at == 0 || !letter.is_numeric()) {
            capital = true;
        } else if std::mem::take(&mut capital) {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
    }
    out
}

fn method(verb: &str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        "patch" => "patch",
        "delete" | "deletecollection" => "delete",
        "head" => "head",
        "options" => "options",
        _ => "get",
    }
}

fn action(verb: &'static str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    }
}
