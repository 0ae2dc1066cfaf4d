//! Who owns whom, as the caches show it.

use std::sync::Arc;

use api::metav1::OwnerReference;
use apimachinery::ObjectKey;
use client::{ApiResource, Object, PartialObject};
use controller_runtime::Lister;

use super::Node;
use super::plan::{FOREGROUND, has_finalizer};
use crate::pods::is_deleted;
use crate::resources::{Monitor, Monitors, Resources};

pub(super) struct Graph {
    resources: Arc<Resources>,
}

impl Graph {
    pub fn new(resources: &Arc<Resources>) -> Self {
        Self { resources: resources.clone() }
    }

    fn monitors(&self) -> Arc<Monitors> {
        self.resources.monitors()
    }

    fn lister(&self, resource: &ApiResource) -> Option<Lister<PartialObject>> {
        self.monitors().get(resource).map(|monitor| monitor.lister.clone())
    }

    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<Arc<ApiResource>> {
        self.monitors().keys().find(|resource| is(resource, api_version, kind)).cloned()
    }

    pub fn get(&self, node: &Node) -> Option<Arc<PartialObject>> {
        self.lister(&node.resource)?.get(&node.key)
    }

    /// The objects that `select` picks of each resource.
    fn nodes(&self, select: impl Fn(&Lister<PartialObject>) -> Vec<Arc<PartialObject>>) -> Vec<Node> {
        let of = |(resource, monitor): (&Arc<ApiResource>, &Arc<Monitor>)| {
            let node = |object: Arc<PartialObject>| Node { resource: resource.clone(), key: object.key() };
            select(&monitor.lister).into_iter().map(node).collect::<Vec<_>>()
        };
        self.monitors().iter().flat_map(of).collect()
    }

    /// Objects that name this UID as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<Node> {
        self.nodes(|lister| lister.by_owner(uid))
    }

    /// Objects that name an owner of this kind.
    pub fn dependents_of_kind(&self, owners: &ApiResource) -> Vec<Node> {
        let names = |object: &PartialObject| {
            let mut references = object.metadata.owner_references.iter().flatten();
            references.any(|owner| is(owners, &owner.api_version, &owner.kind))
        };
        self.nodes(|lister| lister.list().into_iter().filter(|object| names(object)).collect())
    }

    /// The owner that a reference from this namespace means, if it is there.
    pub fn find_owner(&self, namespace: &str, owner: &OwnerReference) -> Option<Node> {
        let found = |resource: &Arc<ApiResource>, monitor: &Monitor| {
            let namespace = if resource.namespaced { namespace } else { "" };
            let key = ObjectKey::new(namespace, owner.name.as_str());
            let object = monitor.lister.get(&key).filter(|object| object.uid() == owner.uid);
            object.map(|_| Node { resource: resource.clone(), key })
        };
        let monitors = self.monitors();
        let mut of_kind = monitors.iter().filter(|(resource, _)| is(resource, &owner.api_version, &owner.kind));
        of_kind.find_map(|(resource, monitor)| found(resource, monitor))
    }

    pub fn is_ending(&self, node: &Node) -> bool {
        self.get(node).is_some_and(|object| is_deleted(&object.metadata))
    }

    /// Deleted in the foreground: it waits for its dependents.
    pub fn is_foreground(&self, node: &Node) -> bool {
        self.get(node).is_some_and(|object| is_deleted(&object.metadata) && has_finalizer(&object, FOREGROUND))
    }

    /// Whether the dependent holds up the deletion of its owner.
    pub fn blocks(&self, dependent: &Node, owner_uid: &str) -> bool {
        let Some(object) = self.get(dependent) else { return false };
        let mut owners = object.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.uid == owner_uid && owner.block_owner_deletion == Some(true))
    }
}

/// Versions of a group hold the same objects.
fn is(resource: &ApiResource, api_version: &str, kind: &str) -> bool {
    let (group, _) = apimachinery::gvk::split_api_version(api_version);
    resource.group == group && resource.kind == kind
}
