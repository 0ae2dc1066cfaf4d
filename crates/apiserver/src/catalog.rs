//! The resources that are served, by path and by place in the store.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use apimachinery::{GroupKind, GroupResource, Gvk, object};
use registry::strategy::{Resource, Subresource};
use serde_json::Value;
use store::{Header, Indexer, Key, Prefix};

static BY_PATH: LazyLock<HashMap<(&'static str, &'static str, &'static str), &'static Resource>> =
    LazyLock::new(|| registry::resources().iter().map(|r| ((r.group, r.version, r.name), r)).collect());

static BY_STORAGE: LazyLock<HashMap<(&'static str, &'static str), &'static Resource>> = LazyLock::new(|| {
    let owners = registry::resources().iter().filter(|resource| resource.storage.is_none());
    owners.map(|resource| ((resource.group, resource.name), resource)).collect()
});

pub fn find(group: &str, version: &str, name: &str) -> Option<&'static Resource> {
    BY_PATH.get(&(group, version, name)).copied()
}

/// The resource that stores objects under this group and name.
pub fn of_storage(group: &str, name: &str) -> Option<&'static Resource> {
    BY_STORAGE.get(&(group, name)).copied()
}

/// Shorthands for a resource's names.
pub trait ResourceExt {
    fn gvk(&self) -> Gvk;
    fn group_kind(&self) -> GroupKind;
    fn group_resource(&self) -> GroupResource;
    fn api_version(&self) -> String;
    fn list_kind(&self) -> String;
    fn storage(&self) -> (&'static str, &'static str);
    fn key(&self, namespace: &str, name: &str) -> Key;
    fn prefix(&self, namespace: &str) -> Prefix;
    fn subresource(&self, name: &str) -> Option<&'static Subresource>;
    fn has_verb(&self, verb: &str) -> bool;
}

impl ResourceExt for &'static Resource {
    fn gvk(&self) -> Gvk {
        Gvk::new(self.group, self.version, self.kind)
    }

    fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group, self.kind)
    }

    fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.name)
    }

    fn api_version(&self) -> String {
        apimachinery::gvk::api_version(self.group, self.version)
    }

    fn list_kind(&self) -> String {
        format!("{}List", self.kind)
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

    fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

/// What the store is told about an object.
pub fn header(resource: &'static Resource, value: &Value) -> Header {
    let labels = object::labels(value).into_iter().flatten();
    let label = |(key, value): (&String, &Value)| (key.as_str().into(), value.as_str().unwrap_or_default().into());
    let fields = resource.strategy.fields(value);
    Header {
        namespace: object::namespace(value).into(),
        name: object::name(value).into(),
        uid: object::uid(value).into(),
        labels: labels.map(label).collect(),
        fields: fields.into_iter().map(|(name, value)| (name, value.into())).collect(),
        owners: object::owner_references(value).map(|owner| owner.uid.into()).collect(),
        deleting: object::deletion_timestamp(value).is_some(),
    }
}

/// Computes headers when the store loads.
pub struct HeaderIndexer;

impl Indexer for HeaderIndexer {
    fn header(&self, key: &Key, value: &Value) -> Header {
        match of_storage(key.group(), key.resource()) {
            Some(resource) => header(resource, value),
            None => Header { namespace: key.namespace().into(), name: key.name().into(), ..Header::default() },
        }
    }
}

pub fn indexer() -> Arc<dyn Indexer> {
    Arc::new(HeaderIndexer)
}
