//! What a plugin sees of a write.

use std::sync::Arc;

use apimachinery::{GroupResource, Gvk, Status, object};
use auth::UserInfo;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Key, Object, Store};

use crate::Services;
use crate::webhook::Reinvocation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// As rules and reviews spell it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// The API request behind a write: what plugins tell it, and what they ask of it.
pub trait Origin: Send + Sync {
    /// A text for the `Warning` header.
    fn warn(&self, text: String);

    /// A note for the audit event.
    fn annotate(&self, key: &str, value: String);

    /// The options of the operation (CreateOptions …) as an object of `meta.k8s.io/v1`. None for CONNECT.
    fn options(&self, operation: Operation) -> Option<Value>;

    /// All versions in which the objects of a resource are served, its own among them.
    fn versions(&self, resource: &Resource) -> Vec<Arc<Resource>>;

    /// The resource that serves the objects of a kind.
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>>;

    /// A stored object as the resource serves it.
    fn served(&self, resource: &Resource, stored: &Object) -> Value;
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
    pub origin: &'a dyn Origin,
    pub services: &'a Services,
    /// Which webhooks are to be called a second time. Starts empty.
    pub reinvocation: Reinvocation,
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

    /// The kind of the object: a subresource may have its own.
    pub fn kind(&self) -> Gvk {
        let resource = self.resource;
        let sub = resource.subresources.iter().find(|sub| sub.name == self.subresource);
        match sub.filter(|_| !self.subresource.is_empty()) {
            Some(sub) if !sub.version.is_empty() => Gvk::new(sub.group, sub.version, sub.kind),
            Some(sub) => Gvk::new(resource.group, resource.version, sub.kind),
            None => Gvk::new(resource.group, resource.version, resource.kind),
        }
    }

    /// The namespace that selectors and rules see: a namespace lies in itself.
    pub fn scope(&self) -> &str {
        if self.is_resource("", "namespaces") { self.object_name() } else { self.namespace }
    }

    /// The name of the path, or of a new object.
    pub fn object_name(&self) -> &str {
        let own = || self.object.as_deref().map(object::name).unwrap_or_default();
        if self.name.is_empty() { own() } else { self.name }
    }

    pub fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.store.get(&Key::new(group, resource, namespace, name))
    }

    pub fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let (snapshot, prefix) = (self.store.snapshot(), Key::prefix(group, resource, namespace));
        snapshot.range(&prefix, None).map(|(_, object)| object.clone()).collect()
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.origin.warn(text.into());
    }

    pub fn annotate(&self, key: &str, value: impl Into<String>) {
        self.origin.annotate(key, value.into());
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.resource.group, self.resource.name)
    }

    /// A refusal in the name of this object.
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let named = self.object.as_deref().map(object::name).filter(|name| !name.is_empty());
        let name = named.unwrap_or(self.name);
        Status::forbidden(&self.group_resource(), name, why)
    }
}
