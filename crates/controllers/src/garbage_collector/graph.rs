//! Who owns whom, as the caches show it.

use std::sync::Arc;

use api::metav1::OwnerReference;
use apimachinery::ObjectKey;
use client::{ApiResource, Object, PartialObject};
use controller_runtime::{Informers, Lister};

use super::Node;
use super::plan::{FOREGROUND, has_finalizer};
use crate::pods::is_deleted;

pub(super) struct Graph {
    resources: Vec<(ApiResource, Lister<PartialObject>)>,
}

impl Graph {
    pub fn new(informers: &Informers, resources: Vec<ApiResource>) -> Self {
        let with_lister = |resource: ApiResource| {
            let lister = informers.metadata_lister(&resource);
            (resource, lister)
        };
        Self { resources: resources.into_iter().map(with_lister).collect() }
    }

    pub async fn synced(&self) {
        for (_, lister) in &self.resources {
            lister.synced().await;
        }
    }

    pub fn len(&self) -> usize {
        self.resources.len()
    }

    pub fn lister(&self, resource: usize) -> &Lister<PartialObject> {
        &self.resources[resource].1
    }

    pub fn resource(&self, node: &Node) -> &ApiResource {
        &self.resources[node.resource].0
    }

    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<&ApiResource> {
        self.resources.iter().map(|(resource, _)| resource).find(|resource| is(resource, api_version, kind))
    }

    pub fn get(&self, node: &Node) -> Option<Arc<PartialObject>> {
        self.lister(node.resource).get(&node.key)
    }

    /// Objects that name this UID as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<Node> {
        let of = |(resource, (_, lister)): (usize, &(ApiResource, Lister<PartialObject>))| {
            let found = lister.by_owner(uid);
            found.into_iter().map(move |object| Node { resource, key: object.key() }).collect::<Vec<_>>()
        };
        self.resources.iter().enumerate().flat_map(of).collect()
    }

    /// The owner that a reference from this namespace means, if it is there.
    pub fn find_owner(&self, namespace: &str, owner: &OwnerReference) -> Option<Node> {
        let found = |(resource, lister): &(ApiResource, Lister<PartialObject>), namespace: &str| {
            let namespace = if resource.namespaced { namespace } else { "" };
            let key = ObjectKey::new(namespace, owner.name.as_str());
            lister.get(&key).filter(|object| object.uid() == owner.uid).map(|_| key)
        };
        self.resources
            .iter()
            .enumerate()
            .filter(|(_, (resource, _))| is(resource, &owner.api_version, &owner.kind))
            .find_map(|(resource, entry)| Some(Node { resource, key: found(entry, namespace)? }))
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
