//! What expressions see of a request.

use apimachinery::{GroupResource, Status};
use expressions::{Authorizer, Bindings, ResourceTarget};
use serde_json::Value;

use crate::Request;
use crate::matching::Target;
use crate::webhook::review;

/// The values of `object`, `oldObject`, `request` and `namespaceObject`. Null where there is none.
pub struct Input {
    pub object: Value,
    old: Value,
    request: Value,
    namespace: Value,
    resource: ResourceTarget,
}

impl Input {
    /// In the form of a target. A match condition does not see the namespace.
    pub fn new(request: &Request<'_>, target: &Target, namespace: Value) -> Input {
        let shown = |object: Option<&Value>| object.map_or(Value::Null, |object| target.converted(request, object));
        Input {
            object: shown(request.object.as_deref()),
            old: shown(request.old),
            request: review::described(request, target),
            namespace,
            resource: ResourceTarget {
                group: request.resource.group.to_string(),
                resource: request.resource.name.to_string(),
                subresource: request.subresource.to_owned(),
                namespace: request.scope().to_owned(),
                name: request.object_name().to_owned(),
                ..ResourceTarget::default()
            },
        }
    }

    pub fn bindings<'a>(&'a self, params: &'a Value, authorizer: &'a dyn Authorizer) -> Bindings<'a> {
        Bindings::new()
            .json("object", &self.object)
            .json("oldObject", &self.old)
            .json("request", &self.request)
            .json("namespaceObject", &self.namespace)
            .json("params", params)
            .authorizer(authorizer, Some(self.resource.clone()))
    }
}

/// The namespace of the object; null for namespaces themselves and what is in none.
pub fn namespace_of(request: &Request<'_>) -> Result<Value, Status> {
    let name = request.scope();
    if name.is_empty() || request.is_resource("", "namespaces") {
        return Ok(Value::Null);
    }
    let stored = request.get("", "namespaces", "", name);
    let missing = || Status::not_found(&GroupResource::new("", "namespaces"), name);
    stored.map(|stored| stored.value()).ok_or_else(missing)
}
