//! Claims and ingresses that name no class get the default one.

use std::sync::Arc;

use apimachinery::{Status, object};
use async_trait::async_trait;
use serde_json::Value;
use store::Object;

use crate::{Operation, Plugin, Request};

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
            claim.is_some_and(|claim| claim.pointer("/spec/storageClassName").is_none_or(Value::is_null))
        };
        if !asks {
            return Ok(());
        }
        let classes = request.list("storage.k8s.io", "storageclasses", None);
        // The newest wins, as upstream's does.
        let default = marked(&classes, "storageclass.kubernetes.io/is-default-class").max();
        if let (Some((_, name)), Some(claim)) = (default, request.object.as_deref_mut()) {
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
        let default = marked(&classes, "ingressclass.kubernetes.io/is-default-class").max();
        if let (Some((_, name)), Some(ingress)) = (default, request.object.as_deref_mut()) {
            ingress["spec"]["ingressClassName"] = name.into();
        }
        Ok(())
    }
}

/// Creation time and name of the classes that carry the annotation.
fn marked<'a>(classes: &'a [Arc<Object>], annotation: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    classes
        .iter()
        .map(|class| class.value())
        .filter(move |class| object::annotation(class, annotation) == Some("true"))
        .map(|class| (object::creation_timestamp(&class).to_string(), object::name(&class).to_string()))
}
