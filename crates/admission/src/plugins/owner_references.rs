//! Who says that an object has an owner must be able to delete the object; who lets it block its owner's end must be able
//! to write the owner's finalizers.

use apimachinery::Status;
use apimachinery::object::{self, OwnerReference};
use async_trait::async_trait;
use auth::Attributes;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct OwnerReferencesPermissionEnforcement;

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        // Old kubelets garble what they write here, and its strategy keeps the owners anyway.
        let is_status = request.is_resource("", "pods") && request.subresource == "status";
        let Some(object) = request.object.as_deref().filter(|_| writes && !is_status) else { return Ok(()) };
        if references(object) == request.old.map(references).unwrap_or_default() {
            return Ok(());
        }
        if request.operation == Operation::Update {
            check_deletion(request)?;
        }
        check_blocking(request, &newly_blocking(object, request.old))
    }
}

fn references(object: &Value) -> &[Value] {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn check_deletion(request: &Request<'_>) -> Result<(), Status> {
    let resource = request.resource;
    let asked = Attributes::resource(request.user, "delete", resource.group, resource.name)
        .subresource(request.subresource)
        .in_namespace(request.namespace)
        .named(request.name);
    require(request, &asked, "cannot set an ownerRef on a resource you can't delete")
}

/// Upstream tells of the authorizer's error too, which is never one here.
fn require(request: &Request<'_>, asked: &Attributes<'_>, why: &str) -> Result<(), Status> {
    let answer = request.services.authorizer.authorize(asked);
    if answer.allowed() { Ok(()) } else { Err(request.forbidden(format!("{why}: {}, <nil>", answer.reason()))) }
}

/// References that block their owner's end and did not before.
fn newly_blocking<'a>(object: &'a Value, old: Option<&Value>) -> Vec<OwnerReference<'a>> {
    let blocked = |uid: &str| {
        let known = old.into_iter().flat_map(object::owner_references);
        known.filter(|owner| owner.uid == uid).last().is_some_and(|owner| owner.block_owner_deletion)
    };
    object::owner_references(object).filter(|owner| owner.block_owner_deletion && !blocked(owner.uid)).collect()
}

fn check_blocking(request: &Request<'_>, owners: &[OwnerReference<'_>]) -> Result<(), Status> {
    let anything = Attributes::resource(request.user, "update", "*", "*").subresource("finalizers").named("*");
    if owners.is_empty() || request.services.authorizer.authorize(&anything).allowed() {
        return Ok(());
    }
    owners.iter().try_for_each(|owner| check_finalizers(request, owner))
}

fn check_finalizers(request: &Request<'_>, owner: &OwnerReference<'_>) -> Result<(), Status> {
    let Some(resource) = request.origin.resource_of(owner.api_version, owner.kind) else {
        return Err(request.forbidden(unknown(owner)));
    };
    let namespace = if resource.namespaced { request.namespace } else { "" };
    let asked = Attributes::resource(request.user, "update", resource.group, resource.name)
        .subresource("finalizers")
        .in_namespace(namespace)
        .named(owner.name);
    let why = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on";
    require(request, &asked, why)
}

fn unknown(owner: &OwnerReference<'_>) -> String {
    let (version, kind) = (owner.api_version, owner.kind);
    format!(
        "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} Kind {kind}: \
         no matches for kind {kind:?} in version {version:?}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_begins_to_block_counts() {
        let owned = |owners: Value| json!({"metadata": {"ownerReferences": owners}});
        let new = owned(json!([
            {"uid": "a", "blockOwnerDeletion": true}, {"uid": "b", "blockOwnerDeletion": true}, {"uid": "c"},
        ]));
        let old = owned(json!([{"uid": "a", "blockOwnerDeletion": true}, {"uid": "b", "blockOwnerDeletion": false}]));
        let uids = |old: Option<&Value>| newly_blocking(&new, old).iter().map(|owner| owner.uid).collect::<Vec<_>>();
        assert_eq!(uids(Some(&old)), ["b"]);
        assert_eq!(uids(None), ["a", "b"]);
    }
}
