//! The parameters with which a policy is evaluated for a binding.

use std::sync::Arc;

use apimachinery::Gvk;
use apimachinery::labels::Selector;
use registry::strategy::Resource;
use serde_json::Value;
use store::{Key, Prefix};

use super::index::Binding;
use crate::Request;

/// Why there are none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    #[error("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")]
    NoNamespace,
    #[error("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")]
    Namespace,
    #[error("no params found for policy binding with `Deny` parameterNotFoundAction")]
    NotFound,
    #[error("one of name or selector must be provided")]
    NoReference,
    #[error("{0}")]
    Selector(String),
}

/// The resource of a parameter kind, if it is served.
pub fn resource(kind: &(String, String), request: &Request<'_>) -> Result<Arc<Resource>, String> {
    let (api_version, kind) = kind;
    let missing = || {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        format!("failed to find resource referenced by paramKind: '{}'", Gvk::new(group, version, kind))
    };
    request.origin.resource_of(api_version, kind).ok_or_else(missing)
}

/// One evaluation for each; null stands for "without parameters".
pub fn collect(
    resource: Option<&Resource>,
    binding: &Binding,
    request: &Request<'_>,
) -> Result<Vec<Value>, ParamError> {
    let (Some(resource), Some(reference)) = (resource, &binding.param_ref) else { return Ok(vec![Value::Null]) };
    let named = reference["namespace"].as_str().unwrap_or_default();
    let namespace = match (resource.namespaced, named, request.scope()) {
        (false, "", _) => "",
        (false, ..) => return Err(ParamError::Namespace),
        (true, "", "") => return Err(ParamError::NoNamespace),
        (true, "", own) => own,
        (true, named, _) => named,
    };
    let found = find(resource, namespace, reference, request)?;
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err(ParamError::NotFound);
    }
    Ok(found)
}

fn find(
    resource: &Resource,
    namespace: &str,
    reference: &Value,
    request: &Request<'_>,
) -> Result<Vec<Value>, ParamError> {
    let (group, plural) = resource.storage.unwrap_or((resource.group, resource.name));
    let name = reference["name"].as_str().unwrap_or_default();
    if !name.is_empty() {
        let stored = request.store.get(&Key::new(group, plural, namespace, name));
        return Ok(stored.iter().map(|stored| request.origin.served(resource, stored)).collect());
    }
    let selector = reference.get("selector").filter(|selector| !selector.is_null()).ok_or(ParamError::NoReference)?;
    let selector =
        Selector::from_label_selector(Some(selector)).map_err(|error| ParamError::Selector(error.to_string()))?;
    let prefix: Prefix = Key::prefix(group, plural, Some(namespace).filter(|namespace| !namespace.is_empty()));
    let snapshot = request.store.snapshot();
    let all = snapshot.range(&prefix, None).map(|(_, stored)| stored);
    let selected = all.filter(|stored| selector.matches_with(|key| stored.header.label(key)));
    Ok(selected.map(|stored| request.origin.served(resource, stored)).collect())
}
