//! What the server offers: resources by any of their names.

use std::sync::Arc;

use client::Client;
use serde_json::Value;

use super::Call;
use super::call::encode;
use crate::failure::{Failure, fail};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A resource of the server, in one version.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub group: String,
    pub version: String,
    pub kind: String,
    /// The plural name.
    pub resource: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub verbs: Vec<String>,
    pub subresources: Vec<String>,
    pub namespaced: bool,
    /// Whether the group prefers this version.
    pub preferred: bool,
}

impl Mapping {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// `deployment.apps`, as objects are called in messages.
    pub fn kind_name(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    pub fn same_resource(&self, other: &Self) -> bool {
        (&self.group, &self.version, &self.resource) == (&other.group, &other.version, &other.resource)
    }

    /// The path of all objects, in a namespace unless it is empty.
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let root = format!("{root}/{}", self.api_version());
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/namespaces/{}/{}", encode(namespace), self.resource)
        } else {
            format!("{root}/{}", self.resource)
        }
    }

    pub fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), encode(name))
    }

    fn is_called(&self, name: &str) -> bool {
        self.resource == name || self.singular == name
    }
}

/// All resources, in the server's order of preference.
#[derive(Debug, Default)]
pub struct Catalog {
    mappings: Vec<Arc<Mapping>>,
}

impl Catalog {
    pub async fn fetch(client: &Client) -> Result<Self, Failure> {
        let mut mappings = Vec::new();
        for root in ["/api", "/apis"] {
            let answer = match Call::get(root).accept(AGGREGATED).value(client).await {
                Err(failure) if failure.is_not_found() => continue,
                answer => answer?,
            };
            if answer["kind"] == "APIGroupDiscoveryList" {
                mappings.extend(aggregated(&answer));
            } else {
                mappings.extend(legacy(client, root, &answer).await?);
            }
        }
        Ok(Self { mappings: mappings.into_iter().map(Arc::new).collect() })
    }

    #[cfg(test)]
    pub fn of(mappings: Vec<Mapping>) -> Self {
        Self { mappings: mappings.into_iter().map(Arc::new).collect() }
    }

    pub fn all(&self) -> &[Arc<Mapping>] {
        &self.mappings
    }

    fn find(&self, wanted: impl Fn(&Mapping) -> bool) -> Option<Arc<Mapping>> {
        let preferred = self.mappings.iter().find(|mapping| mapping.preferred && wanted(mapping));
        preferred.or_else(|| self.mappings.iter().find(|mapping| wanted(mapping))).cloned()
    }

    /// By kind; the version may be empty.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Mapping>> {
        self.find(|mapping| {
            mapping.group == group && mapping.kind == kind && (version.is_empty() || mapping.version == version)
        })
    }

    /// The mapping of an object.
    pub fn of_object(&self, object: &Value) -> Result<Arc<Mapping>, Failure> {
        let (api_version, kind) = (text(object, "apiVersion"), text(object, "kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.kind(group, version, kind).ok_or_else(|| {
            Failure::Plain(format!(
                "resource mapping not found for name: {:?} namespace: {:?}: no matches for kind {kind:?} in version \
                 {api_version:?}\nensure CRDs are installed first",
                apimachinery::object::name(object),
                apimachinery::object::namespace(object),
            ))
        })
    }

    /// By what a user calls it: `pods`, `po`, `deploy`, `deployments.apps`, `deployments.v1.apps`, `Deployment`.
    pub fn resource(&self, argument: &str) -> Result<Arc<Mapping>, Failure> {
        let (name, rest) = argument.split_once('.').unwrap_or((argument, ""));
        let lower = name.to_lowercase();
        if let Some((version, group)) = rest.split_once('.')
            && let Some(found) = self.find(|found| {
                found.group == group && found.version == version && (found.is_called(&lower) || found.kind == name)
            })
        {
            return Ok(found);
        }
        match self.called(&lower, rest).or_else(|| self.find(|found| found.kind == name && found.group == rest)) {
            Some(found) => Ok(found),
            None => fail!("the server doesn't have a resource type {name:?}"),
        }
    }

    /// As [`Catalog::resource`], for what is no list of resources: upstream words its complaint in another way.
    pub fn resource_alone(&self, argument: &str) -> Result<Arc<Mapping>, Failure> {
        self.resource(argument).map_err(|failure| Failure::Verbatim(failure.text()))
    }

    /// A full name goes before a short one, a group's name before its beginning.
    fn called(&self, name: &str, group: &str) -> Option<Arc<Mapping>> {
        let short = |mapping: &Mapping| mapping.short_names.iter().any(|short| short == name);
        let exact = |mapping: &Mapping| group.is_empty() || mapping.group == group;
        let begins = |mapping: &Mapping| mapping.group.starts_with(group);
        self.find(|mapping| mapping.is_called(name) && exact(mapping))
            .or_else(|| self.find(|mapping| mapping.is_called(name) && begins(mapping)))
            .or_else(|| self.find(|mapping| short(mapping) && exact(mapping)))
            .or_else(|| self.find(|mapping| short(mapping) && begins(mapping)))
    }

    /// What else a short name could mean.
    pub fn also_called(&self, argument: &str, found: &Mapping) -> Option<String> {
        let short = |mapping: &Mapping| mapping.short_names.iter().any(|short| short == argument);
        if found.is_called(&argument.to_lowercase()) || !short(found) {
            return None;
        }
        let other = self.find(|mapping| mapping.preferred && short(mapping) && mapping.group != found.group)?;
        Some(format!("short name {argument:?} could also match lower priority resource {}", other.qualified()))
    }

    /// The members of a category such as `all`.
    pub fn category(&self, name: &str) -> Vec<Arc<Mapping>> {
        let member =
            |mapping: &&Arc<Mapping>| mapping.preferred && mapping.categories.iter().any(|category| category == name);
        self.mappings.iter().filter(member).cloned().collect()
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Reads `APIGroupDiscoveryList`.
fn aggregated(answer: &Value) -> Vec<Mapping> {
    let mut mappings = Vec::new();
    for group in items(answer, "items") {
        for (index, version) in items(group, "versions").iter().enumerate() {
            for resource in items(version, "resources") {
                let kind = &resource["responseKind"];
                if text(kind, "kind").is_empty() {
                    continue;
                }
                mappings.push(Mapping {
                    group: text(&group["metadata"], "name").into(),
                    version: text(version, "version").into(),
                    kind: text(kind, "kind").into(),
                    resource: text(resource, "resource").into(),
                    singular: singular(text(resource, "singularResource"), text(kind, "kind")),
                    short_names: texts(&resource["shortNames"]),
                    categories: texts(&resource["categories"]),
                    verbs: texts(&resource["verbs"]),
                    subresources: items(resource, "subresources")
                        .iter()
                        .map(|subresource| text(subresource, "subresource").to_owned())
                        .collect(),
                    namespaced: resource["scope"] == "Namespaced",
                    preferred: index == 0,
                });
            }
        }
    }
    mappings
}

fn singular(given: &str, kind: &str) -> String {
    if given.is_empty() { kind.to_lowercase() } else { given.to_owned() }
}

/// Reads the documents of a server that does not aggregate: one for each group and version.
async fn legacy(client: &Client, root: &str, answer: &Value) -> Result<Vec<Mapping>, Failure> {
    let mut mappings = Vec::new();
    if root == "/api" {
        for version in texts(&answer["versions"]) {
            let list = Call::get(format!("/api/{version}")).value(client).await?;
            mappings.extend(legacy_resources(&list, "", &version, true));
        }
        return Ok(mappings);
    }
    for group in items(answer, "groups") {
        let preferred = text(&group["preferredVersion"], "version");
        for version in items(group, "versions") {
            let (name, version) = (text(group, "name"), text(version, "version"));
            // A group whose server is away must not hide the others.
            if let Ok(list) = Call::get(format!("/apis/{name}/{version}")).value(client).await {
                mappings.extend(legacy_resources(&list, name, version, version == preferred));
            }
        }
    }
    Ok(mappings)
}

fn legacy_resources(list: &Value, group: &str, version: &str, preferred: bool) -> Vec<Mapping> {
    let all = items(list, "resources");
    let whole = all.iter().filter(|resource| !text(resource, "name").contains('/'));
    let subresources = |name: &str| {
        let of_it = |resource: &Value| text(resource, "name").strip_prefix(name)?.strip_prefix('/').map(str::to_owned);
        all.iter().filter_map(of_it).collect()
    };
    let mapping = |resource: &Value| Mapping {
        group: group.into(),
        version: version.into(),
        kind: text(resource, "kind").into(),
        resource: text(resource, "name").into(),
        singular: singular(text(resource, "singularName"), text(resource, "kind")),
        short_names: texts(&resource["shortNames"]),
        categories: texts(&resource["categories"]),
        verbs: texts(&resource["verbs"]),
        subresources: subresources(text(resource, "name")),
        namespaced: resource["namespaced"] == true,
        preferred,
    };
    whole.map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(group: &str, resource: &str, short: &str) -> Mapping {
        let singular = resource.trim_end_matches('s').to_owned();
        Mapping {
            group: group.into(),
            version: "v1".into(),
            kind: format!("{}{}", singular[..1].to_uppercase(), &singular[1..]),
            resource: resource.into(),
            singular,
            short_names: vec![short.into()],
            namespaced: true,
            preferred: true,
            ..Mapping::default()
        }
    }

    #[test]
    fn resources_are_found_by_all_their_names() {
        let catalog = Catalog::of(vec![
            mapping("", "events", "ev"),
            mapping("apps", "deployments", "deploy"),
            mapping("events.k8s.io", "events", "ev"),
        ]);
        for name in ["deploy", "Deployment", "deployments.apps", "deployment.v1.apps", "deploy.app", "DEPLOYMENTS"] {
            assert_eq!(catalog.resource(name).expect(name).qualified(), "deployments.apps");
        }
        assert_eq!(catalog.resource("ev").expect("known").group, "");
        assert_eq!(catalog.resource("events.events.k8s.io").expect("known").group, "events.k8s.io");
        let message = catalog.resource("nothing.at.all").expect_err("unknown").report().0;
        assert_eq!(message, "error: the server doesn't have a resource type \"nothing\"");
    }

    #[test]
    fn paths_know_their_namespace() {
        let pods = mapping("", "pods", "po");
        assert_eq!(pods.path("a", "b c"), "/api/v1/namespaces/a/pods/b%20c");
        assert_eq!(mapping("apps", "deployments", "").collection(""), "/apis/apps/v1/deployments");
    }
}
