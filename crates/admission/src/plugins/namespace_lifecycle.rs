//! Nothing is created in a namespace that is missing or ending; three namespaces never end.

use apimachinery::status::Cause;
use apimachinery::{GroupResource, Status};
use async_trait::async_trait;
use serde_json::Value;

use crate::{Operation, Plugin, Request};

pub struct NamespaceLifecycle;

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<(), Status> {
        if request.is_resource("", "namespaces") {
            return check_namespace(request);
        }
        let concerns = matches!(request.operation, Operation::Create | Operation::Update);
        if !concerns || request.namespace.is_empty() || is_access_review(request) {
            return Ok(());
        }
        check_content(request)
    }
}

fn check_namespace(request: &Request<'_>) -> Result<(), Status> {
    if request.operation == Operation::Delete && IMMORTAL.contains(&request.name) {
        return Err(request.forbidden("this namespace may not be deleted"));
    }
    Ok(())
}

fn is_access_review(request: &Request<'_>) -> bool {
    request.is_resource("authorization.k8s.io", "localsubjectaccessreviews")
}

fn check_content(request: &Request<'_>) -> Result<(), Status> {
    let namespace = request.namespace;
    let Some(stored) = request.get("", "namespaces", "", namespace) else {
        return Err(Status::not_found(&GroupResource::new("", "namespaces"), namespace));
    };
    if request.operation != Operation::Create || !is_ending(&stored) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = request.forbidden(why);
    status.details.get_or_insert_default().causes.push(Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".into(),
    });
    Err(status)
}

fn is_ending(stored: &store::Object) -> bool {
    stored.header.deleting
        || stored.header.field("status.phase").map_or_else(
            || stored.value().pointer("/status/phase").and_then(Value::as_str) == Some("Terminating"),
            |phase| phase == "Terminating",
        )
}
