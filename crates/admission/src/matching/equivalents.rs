//! Other versions in which a resource is served, and its objects in their form.

use std::sync::Arc;

use apimachinery::{GroupResource, Gvk};
use registry::strategy::Resource;
use serde_json::Value;

use crate::Request;

/// The resource and kind in whose form a request is looked at.
#[derive(Clone)]
pub struct Target {
    pub resource: GroupResource,
    pub version: String,
    pub kind: Gvk,
    /// Where it is not the request's own: in what the objects are converted.
    other: Option<Arc<Resource>>,
}

impl Target {
    /// The request as it came.
    pub fn of(request: &Request<'_>) -> Target {
        let resource = request.resource;
        Target {
            resource: request.group_resource(),
            version: resource.version.to_string(),
            kind: request.kind(),
            other: None,
        }
    }

    /// The same objects under other groups and versions.
    pub fn equivalents(&self, request: &Request<'_>) -> Vec<Target> {
        let own = request.resource;
        let others = request.origin.versions(own).into_iter();
        let others = others.filter(|other| (other.group, other.version) != (own.group, own.version));
        others.filter_map(|other| Target::as_other(other, request)).collect()
    }

    fn as_other(other: Arc<Resource>, request: &Request<'_>) -> Option<Target> {
        let kind = match request.subresource {
            "" => Gvk::new(other.group, other.version, other.kind),
            name => {
                let sub = other.subresources.iter().find(|sub| sub.name == name)?;
                let own = sub.version.is_empty();
                let (group, version) = if own { (other.group, other.version) } else { (sub.group, sub.version) };
                Gvk::new(group, version, sub.kind)
            }
        };
        let resource = GroupResource::new(other.group, other.name);
        Some(Target { resource, version: other.version.to_string(), kind, other: Some(other) })
    }

    /// The resource of objects in this form.
    pub fn form<'a>(&'a self, request: &Request<'a>) -> &'a Resource {
        self.other.as_deref().unwrap_or(request.resource)
    }

    /// An object of the request in this target's form.
    pub fn converted(&self, request: &Request<'_>, object: &Value) -> Value {
        match self.other.as_deref().filter(|_| self.kind != request.kind()) {
            Some(other) => convert(object, request.resource, other),
            None => object.clone(),
        }
    }

    /// And back.
    pub fn restored(&self, request: &Request<'_>, object: Value) -> Value {
        match self.other.as_deref().filter(|_| self.kind != request.kind()) {
            Some(other) => convert(&object, other, request.resource),
            None => object,
        }
    }
}

/// An object of one resource in the form of another that keeps the same objects.
pub fn convert(object: &Value, from: &Resource, to: &Resource) -> Value {
    let mut stored = object.clone();
    if from.storage.is_some() {
        stored = from.strategy.to_storage(stored);
    }
    if to.storage.is_some() {
        stored = to.strategy.from_storage(stored);
    }
    if let Some(map) = stored.as_object_mut() {
        let gvk = Gvk::new(to.group, to.version, to.kind);
        map.insert("apiVersion".into(), gvk.api_version().into());
        map.insert("kind".into(), gvk.kind.into());
    }
    stored
}
