//! What a plugin sees of a write.

use std::sync::Arc;

use apimachinery::{GroupResource, Status, object};
use auth::UserInfo;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Key, Object, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// A write on its way to the store.
pub struct Request<'a> {
    pub operation: Operation,
    pub resource: &'a Resource,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Absent for deletions. A subresource's own object (Binding, Eviction, TokenRequest) for those.
    pub object: Option<&'a mut Value>,
    /// The stored object, for updates and deletions.
    pub old: Option<&'a Value>,
    pub user: &'a UserInfo,
    pub dry_run: bool,
    pub store: &'a Store,
}

impl Request<'_> {
    /// Whether this is the operation on the main resource of a group.
    pub fn is(&self, operation: Operation, group: &str, resource: &str) -> bool {
        self.operation == operation && self.subresource.is_empty() && self.is_resource(group, resource)
    }

    pub fn is_resource(&self, group: &str, resource: &str) -> bool {
        self.resource.group == group && self.resource.name == resource
    }

    /// A pod that is being created.
    pub fn new_pod(&mut self) -> Option<&mut Value> {
        if !self.is(Operation::Create, "", "pods") {
            return None;
        }
        self.object.as_deref_mut()
    }

    pub fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.store.get(&Key::new(group, resource, namespace, name))
    }

    pub fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let (snapshot, prefix) = (self.store.snapshot(), Key::prefix(group, resource, namespace));
        snapshot.range(&prefix, None).map(|(_, object)| object.clone()).collect()
    }

    /// A refusal in the name of this object.
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let named = self.object.as_deref().map(object::name).filter(|name| !name.is_empty());
        let name = named.unwrap_or(self.name);
        Status::forbidden(&GroupResource::new(self.resource.group, self.resource.name), name, why)
    }
}
