//! The resources that are served, by path and by place in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use apimachinery::{GroupResource, Gvk, object};
use arc_swap::ArcSwap;
use registry::strategy::{Resource, Subresource};
use serde_json::Value;
use store::{Header, Indexer, Key, Prefix};
use tokio::sync::watch;

use crate::serve::Documents;

/// Everything that is served at one moment: built-in kinds, and those that definitions brought. It never changes; a
/// definition that comes or goes makes another one.
pub struct Catalog {
    /// In the order of name, group and version: names differ early.
    by_path: Vec<Arc<Resource>>,
    /// In the order of name and group; those that own their storage.
    by_storage: Vec<Arc<Resource>>,
    custom: Vec<Arc<Resource>>,
    groups: Vec<Group>,
    /// What clients read about this catalog, made when it is first asked for.
    pub documents: Documents,
}

/// The catalog of this moment, and who waits for the next.
pub struct Current {
    catalog: ArcSwap<Catalog>,
    changes: watch::Sender<()>,
}

impl Default for Current {
    fn default() -> Self {
        Current { catalog: ArcSwap::new(Catalog::built_in()), changes: watch::Sender::new(()) }
    }
}

impl Current {
    pub fn get(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    pub fn replace(&self, catalog: Catalog) {
        self.catalog.store(Arc::new(catalog));
        self.changes.send_replace(());
    }

    /// Tells when there is another catalog.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// A group that is served, with its versions; the preferred one first.
pub struct Group {
    pub name: &'static str,
    pub versions: Vec<&'static str>,
}

static BUILT_IN: LazyLock<Arc<Catalog>> = LazyLock::new(|| Arc::new(Catalog::new(Vec::new())));

impl Catalog {
    /// The built-in kinds and `custom` ones: for each definition, the version in which objects are stored comes first.
    pub fn new(custom: Vec<Arc<Resource>>) -> Catalog {
        let all = registry::resources().iter().chain(&custom);
        let mut by_path: Vec<_> = all.clone().cloned().collect();
        by_path.sort_by_key(|resource| (resource.name, resource.group, resource.version));
        let mut by_storage: Vec<_> = all.filter(|resource| resource.storage.is_none()).cloned().collect();
        by_storage.sort_by_key(|resource| (resource.name, resource.group));
        by_storage.dedup_by_key(|resource| (resource.group, resource.name));
        let groups = groups(&custom);
        Catalog { by_path, by_storage, custom, groups, documents: Documents::default() }
    }

    /// Whether the server itself brings something of this group.
    pub fn is_built_in(&self, group: &str) -> bool {
        api::discovery::groups().iter().any(|own| own.name == group)
    }

    /// In the order of discovery.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn group_versions(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.groups.iter().flat_map(|group| group.versions.iter().map(|version| (group.name, *version)))
    }

    pub fn of_version(&self, group: &str, version: &str) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources().filter(move |resource| resource.group == group && resource.version == version)
    }

    /// What is served when nobody defined anything.
    pub fn built_in() -> Arc<Catalog> {
        BUILT_IN.clone()
    }

    pub fn find(&self, group: &str, version: &str, name: &str) -> Option<&Arc<Resource>> {
        let found = self.by_path.binary_search_by(|r| (r.name, r.group, r.version).cmp(&(name, group, version)));
        found.ok().map(|index| &self.by_path[index])
    }

    /// The resource that stores objects under this group and name.
    pub fn of_storage(&self, group: &str, name: &str) -> Option<&Arc<Resource>> {
        let found = self.by_storage.binary_search_by(|r| (r.name, r.group).cmp(&(name, group)));
        found.ok().map(|index| &self.by_storage[index])
    }

    /// Built-in kinds in discovery's order, then the others.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        registry::resources().iter().chain(&self.custom)
    }

    pub fn custom(&self) -> &[Arc<Resource>] {
        &self.custom
    }
}

/// Groups with something served: the built-in ones in their own order, then the others by name. Versions of the latter
/// stand in the order of Kubernetes: stable ones first, then beta, then alpha.
fn groups(custom: &[Arc<Resource>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for facts in api::discovery::groups() {
        let served =
            |version: &str| registry::resources().iter().any(|r| r.group == facts.name && r.version == version);
        let versions: Vec<_> = facts.versions.iter().map(|version| version.name).filter(|name| served(name)).collect();
        if !versions.is_empty() {
            groups.push(Group { name: facts.name, versions });
        }
    }
    let mut added: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    for resource in custom {
        added.entry(resource.group).or_default().insert(resource.version);
    }
    for (name, versions) in added {
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort_by(|a, b| apimachinery::gvk::compare_versions(b, a));
        groups.push(Group { name, versions });
    }
    groups
}

/// A built-in resource.
pub fn built_in(group: &str, version: &str, name: &str) -> Option<&'static Arc<Resource>> {
    BUILT_IN.find(group, version, name)
}

/// The built-in resource that stores objects under this group and name.
pub fn of_storage(group: &str, name: &str) -> Option<&'static Arc<Resource>> {
    BUILT_IN.of_storage(group, name)
}

/// Shorthands for a resource's names.
pub trait ResourceExt {
    fn gvk(&self) -> Gvk;
    fn group_resource(&self) -> GroupResource;
    fn api_version(&self) -> String;
    fn list_kind(&self) -> String;
    fn storage(&self) -> (&'static str, &'static str);
    fn key(&self, namespace: &str, name: &str) -> Key;
    fn prefix(&self, namespace: &str) -> Prefix;
    fn subresource(&self, name: &str) -> Option<&Subresource>;
    fn has_verb(&self, verb: &str) -> bool;
}

impl ResourceExt for Resource {
    fn gvk(&self) -> Gvk {
        Gvk::new(self.group, self.version, self.kind)
    }

    fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.name)
    }

    fn api_version(&self) -> String {
        apimachinery::gvk::api_version(self.group, self.version)
    }

    fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.clone(),
            None => format!("{}List", self.kind),
        }
    }

    fn storage(&self) -> (&'static str, &'static str) {
        self.storage.unwrap_or((self.group, self.name))
    }

    fn key(&self, namespace: &str, name: &str) -> Key {
        let (group, resource) = self.storage();
        Key::new(group, resource, if self.namespaced { namespace } else { "" }, name)
    }

    /// Of one namespace, or of all when it is empty.
    fn prefix(&self, namespace: &str) -> Prefix {
        let (group, resource) = self.storage();
        Key::prefix(group, resource, Some(namespace).filter(|ns| self.namespaced && !ns.is_empty()))
    }

    fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    fn has_verb(&self, verb: &str) -> bool {
        match &self.custom {
            // Discovery is silent about it, but what has finalizers must be able to lose them.
            Some(custom) if custom.terminating => verb != "create",
            _ => self.verbs.contains(&verb),
        }
    }
}

/// What the store is told about an object.
pub fn header(resource: &Resource, value: &Value) -> Header {
    let fields = resource.strategy.fields(value).into_iter().map(|(name, value)| (name, value.into())).collect();
    Header { fields, ..general_header(value) }
}

/// The same for an object of any kind, without fields of its own.
fn general_header(value: &Value) -> Header {
    let labels = object::labels(value).into_iter().flatten();
    let label = |(key, value): (&String, &Value)| (key.as_str().into(), value.as_str().unwrap_or_default().into());
    Header {
        namespace: object::namespace(value).into(),
        name: object::name(value).into(),
        uid: object::uid(value).into(),
        labels: labels.map(label).collect(),
        fields: Box::default(),
        deleting: object::deletion_timestamp(value).is_some(),
    }
}

/// Computes headers when the store loads.
pub struct HeaderIndexer;

impl Indexer for HeaderIndexer {
    fn header(&self, key: &Key, value: &Value) -> Header {
        match of_storage(key.group(), key.resource()) {
            Some(resource) => header(resource, value),
            // Of a custom resource, whose definition is not read yet.
            None => general_header(value),
        }
    }
}

pub fn indexer() -> Arc<dyn Indexer> {
    Arc::new(HeaderIndexer)
}
