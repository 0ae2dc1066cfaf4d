//! Binding a pod to a node: what the scheduler writes.

use std::sync::Arc;

use admission::Operation;
use apimachinery::field::{ErrorList, Path};
use apimachinery::{GroupResource, Status, object};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::options::WriteOptions;
use crate::server::Inner;
use crate::subresources::conditions;
use crate::verbs::create::settle_namespace;
use crate::{catalog, encode};

pub async fn run(server: &Arc<Inner>, call: &Call) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::kind("", "v1", "Binding");
    let mut binding = decode::object(call, &body, &expected, options.field_validation)?;
    let Some(pods) = catalog::built_in("", "v1", "pods") else { return Err(Status::path_not_found()) };
    settle_namespace(call, pods, &mut binding)?;
    let change = Change::of(server, call, pods, Part::Other("binding"), &options);
    change.mutate(Operation::Create, &mut binding, None).await?;
    if object::name(&binding) != change.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    bind(&change, binding).await
}

/// `POST …/bindings`, where the pod is the binding's own name.
pub async fn create(
    server: &Arc<Inner>,
    call: &Call,
    resource: &Resource,
    mut binding: Value,
    options: &WriteOptions,
) -> Result<Response<Body>, Status> {
    object::metadata_mut(&mut binding).remove("uid");
    let name = object::name(&binding).to_owned();
    let change = Change { name: &name, ..Change::of(server, call, resource, Part::Main, options) };
    change.mutate(Operation::Create, &mut binding, None).await?;
    bind(&change, binding).await
}

/// `asked`: the request that is admitted.
async fn bind(asked: &Change<'_>, mut binding: Value) -> Result<Response<Body>, Status> {
    validate(&binding)?;
    asked.admit(Operation::Create, &mut binding, None).await?;
    let Some(pods) = catalog::built_in("", "v1", "pods") else { return Err(Status::path_not_found()) };
    let part = Part::Consequence("binding");
    let change = Change { resource: pods, part, name: object::name(&binding), ..asked.another() };
    change.update(true, |old| bound(&change, old, &binding)).await?;
    let status = Status { status: "Success".into(), code: 201, ..Status::default() };
    Ok(encode::value_response(asked.call, StatusCode::CREATED, &status.to_value()))
}

fn validate(binding: &Value) -> Result<(), Status> {
    let text = |pointer: &str| binding.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let target = Path::new("target");
    let mut errors = ErrorList::new();
    if !matches!(text("/target/kind"), "" | "Node") {
        errors.not_supported(&target.child("kind"), text("/target/kind"), &["Node", "<empty>"]);
    }
    if text("/target/name").is_empty() {
        errors.required(&target.child("name"), "");
    }
    if errors.is_empty() {
        return Ok(());
    }
    // Upstream makes a plain failure of it, without a reason.
    Err(Status::failure(500, "", errors.to_string()))
}

fn bound(change: &Change<'_>, old: &Value, binding: &Value) -> Result<Value, Status> {
    let conflict = |why: String| Status::conflict(&GroupResource::new("", "pods/binding"), change.name, why);
    check_preconditions(change, old, binding)?;
    if object::deletion_timestamp(old).is_some() {
        return Err(conflict(format!("pod {} is being deleted, cannot be assigned to a host", change.name)));
    }
    if let Some(node) = old.pointer("/spec/nodeName").and_then(Value::as_str).filter(|node| !node.is_empty()) {
        return Err(conflict(format!("pod {} is already assigned to node {node:?}", change.name)));
    }
    let gates = old.pointer("/spec/schedulingGates").and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return Err(conflict(format!("pod {} has non-empty .spec.schedulingGates", change.name)));
    }
    let mut new = old.clone();
    new["spec"]["nodeName"] = binding["target"]["name"].clone();
    merge_map(&mut new, binding, "annotations");
    merge_map(&mut new, binding, "labels");
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null});
    conditions::set(&mut new, scheduled, &change.call.now_text());
    Ok(new)
}

fn check_preconditions(change: &Change<'_>, old: &Value, binding: &Value) -> Result<(), Status> {
    let pairs = [
        ("UID", object::uid(binding), object::uid(old)),
        ("ResourceVersion", object::resource_version(binding), object::resource_version(old)),
    ];
    let Some((what, asked, stored)) = pairs.into_iter().find(|(_, asked, stored)| !asked.is_empty() && asked != stored)
    else {
        return Ok(());
    };
    let key = format!("/registry/pods/{}/{}", change.namespace, change.name);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: {what} in precondition: {asked}, {what} in object meta: {stored}"
    );
    Err(Status::conflict(&change.resource.group_resource(), change.name, why))
}

fn merge_map(pod: &mut Value, binding: &Value, map: &str) {
    let given = binding.pointer(&format!("/metadata/{map}")).and_then(Value::as_object);
    for (key, value) in given.into_iter().flatten() {
        pod["metadata"][map][key] = value.clone();
    }
}
