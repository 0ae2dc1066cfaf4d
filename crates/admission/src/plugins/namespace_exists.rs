//! Nothing is written, and nothing deleted, in a namespace that is missing.

use apimachinery::{GroupResource, Status};
use async_trait::async_trait;

use crate::{Operation, Plugin, Request};

pub struct NamespaceExists;

#[async_trait]
impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<(), Status> {
        let namespace = request.namespace;
        let within = !namespace.is_empty() && !request.is_resource("", "namespaces");
        if !within || request.operation == Operation::Connect {
            return Ok(());
        }
        match request.get("", "namespaces", "", namespace) {
            Some(_) => Ok(()),
            None => Err(Status::not_found(&GroupResource::new("", "namespaces"), namespace)),
        }
    }
}
