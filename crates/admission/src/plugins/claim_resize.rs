//! Claims grow only where their class can make volumes grow.

use apimachinery::{Quantity, Status};
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        if !request.is(Operation::Update, "", "persistentvolumeclaims") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (request.object.as_deref(), request.old) else { return Ok(()) };
        if size(new) <= size(old) {
            return Ok(());
        }
        if old.pointer("/status/phase").and_then(Value::as_str) != Some("Bound") {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        if !may_grow(request, new, old) {
            return Err(request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            ));
        }
        Ok(())
    }
}

fn size(claim: &Value) -> Quantity {
    claim.pointer("/spec/resources/requests/storage").map(Quantity::of).unwrap_or_default()
}

fn class(claim: &Value) -> &str {
    let old = apimachinery::object::annotation(claim, "volume.beta.kubernetes.io/storage-class");
    old.or_else(|| claim.pointer("/spec/storageClassName")?.as_str()).unwrap_or_default()
}

fn may_grow(request: &Request<'_>, new: &Value, old: &Value) -> bool {
    let name = class(new);
    if name.is_empty() || name != class(old) {
        return false;
    }
    let stored = request.get("storage.k8s.io", "storageclasses", "", name);
    stored.is_some_and(|stored| stored.value()["allowVolumeExpansion"] == Value::Bool(true))
}
