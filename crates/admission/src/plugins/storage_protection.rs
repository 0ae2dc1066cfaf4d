//! Volumes, claims and attribute classes that are in use stay until they are not: their finalizer is the protection controllers'.

use apimachinery::{Status, object};
use async_trait::async_trait;

use crate::{Operation, Plugin, Request};

pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let finalizer = if request.is(Operation::Create, "", "persistentvolumeclaims") {
            "kubernetes.io/pvc-protection"
        } else if request.is(Operation::Create, "", "persistentvolumes") {
            "kubernetes.io/pv-protection"
        } else if request.is(Operation::Create, "storage.k8s.io", "volumeattributesclasses") {
            "kubernetes.io/vac-protection"
        } else {
            return Ok(());
        };
        if let Some(object) = request.object.as_deref_mut().filter(|object| !object::has_finalizer(object, finalizer)) {
            let all = object::finalizers(object).chain([finalizer]).map(str::to_owned).collect();
            object::set_finalizers(object, all);
        }
        Ok(())
    }
}
