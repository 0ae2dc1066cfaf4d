//! Claims and ingresses that name no class get the default one.

use std::cmp::Reverse;
use std::sync::Arc;

use apimachinery::{Status, object};
use async_trait::async_trait;
use serde_json::Value;
use store::Object;

use crate::{Operation, Plugin, Request};

const STORAGE_DEFAULT: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const INGRESS_DEFAULT: &[&str] = &["ingressclass.kubernetes.io/is-default-class"];

pub struct DefaultStorageClass;
pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let asks = request.is(Operation::Create, "", "persistentvolumeclaims") && {
            let claim = request.object.as_deref();
            claim.is_some_and(|claim| {
                claim.pointer("/spec/storageClassName").is_none_or(Value::is_null)
                    && object::annotation(claim, "volume.beta.kubernetes.io/storage-class").is_none()
            })
        };
        if !asks {
            return Ok(());
        }
        let classes = request.list("storage.k8s.io", "storageclasses", None);
        let default = newest(&classes, STORAGE_DEFAULT);
        if let (Some(name), Some(claim)) = (default, request.object.as_deref_mut()) {
            claim["spec"]["storageClassName"] = name.into();
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        let asks = request.is(Operation::Create, "networking.k8s.io", "ingresses") && {
            let ingress = request.object.as_deref();
            ingress.is_some_and(|ingress| {
                ingress.pointer("/spec/ingressClassName").is_none_or(Value::is_null)
                    && object::annotation(ingress, "kubernetes.io/ingress.class").is_none()
            })
        };
        if !asks {
            return Ok(());
        }
        let classes = request.list("networking.k8s.io", "ingressclasses", None);
        let default = newest(&classes, INGRESS_DEFAULT);
        if let (Some(name), Some(ingress)) = (default, request.object.as_deref_mut()) {
            ingress["spec"]["ingressClassName"] = name.into();
        }
        Ok(())
    }
}

/// The newest class that carries one of the annotations; of those of one second the first by name.
fn newest(classes: &[Arc<Object>], annotations: &[&str]) -> Option<String> {
    let marked = |class: &Value| annotations.iter().any(|key| object::annotation(class, key) == Some("true"));
    let classes = classes.iter().map(|class| class.value()).filter(marked);
    let order = |class: &Value| (Reverse(object::creation_timestamp(class).to_owned()), object::name(class).to_owned());
    classes.min_by_key(order).map(|class| object::name(&class).to_owned())
}
