//! The namespace and object selectors of a webhook or policy.

use apimachinery::labels::{ParseError, Selector};
use apimachinery::{GroupResource, Status, object};
use serde_json::Value;

use crate::{Operation, Request};

#[derive(Clone, Debug)]
pub struct Selectors {
    namespace: Selector,
    object: Selector,
}

impl Selectors {
    /// From what has the fields `namespaceSelector` and `objectSelector`. Unset means everything.
    pub fn of(owner: &Value) -> Result<Selectors, ParseError> {
        let read = |field: &str| match owner.get(field).filter(|selector| !selector.is_null()) {
            Some(selector) => Selector::from_label_selector(Some(selector)),
            None => Ok(Selector::everything()),
        };
        Ok(Selectors { namespace: read("namespaceSelector")?, object: read("objectSelector")? })
    }

    /// Cluster-scoped objects besides namespaces are in no namespace and always match. 404 for a namespace that is gone.
    pub fn match_namespace(&self, request: &Request<'_>) -> Result<bool, Status> {
        let namespace = request.scope();
        if self.namespace.is_everything() || (namespace.is_empty() && !request.is_resource("", "namespaces")) {
            return Ok(true);
        }
        if let Some(new) = written_namespace(request) {
            return Ok(self.namespace.matches_object(new));
        }
        let stored = request.get("", "namespaces", "", namespace);
        let stored = stored.ok_or_else(|| Status::not_found(&GroupResource::new("", "namespaces"), namespace))?;
        Ok(self.namespace.matches_with(|key| stored.header.label(key)))
    }

    /// Either the new or the old object.
    pub fn match_object(&self, request: &Request<'_>) -> bool {
        let matches = |object: Option<&Value>| object.is_some_and(|object| self.object.matches(object::labels(object)));
        self.object.is_everything() || matches(request.object.as_deref()) || matches(request.old)
    }
}

/// A namespace on its way to the store counts by its new labels.
fn written_namespace<'a>(request: &'a Request<'_>) -> Option<&'a Value> {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let is_namespace = request.is_resource("", "namespaces") && request.subresource.is_empty();
    request.object.as_deref().filter(|_| writes && is_namespace)
}
