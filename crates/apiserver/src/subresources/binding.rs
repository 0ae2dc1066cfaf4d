//! Binding a pod to a node: what the scheduler writes.

use std::sync::Arc;

use admission::Operation;
use apimachinery::field::{ErrorList, Path};
use apimachinery::{GroupResource, Status, object};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::options::WriteOptions;
use crate::server::Inner;
use crate::{catalog, encode};

pub async fn run(server: &Arc<Inner>, call: &Call) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::kind("", "v1", "Binding");
    let binding = decode::object(call, &body, &expected, options.field_validation)?;
    let own = object::name(&binding);
    if !own.is_empty() && own != call.info.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    bind(server, call, binding, &call.info.name, &options).await
}

/// `POST …/bindings`, where the pod is the binding's own name.
pub async fn create(
    server: &Arc<Inner>,
    call: &Call,
    binding: &Value,
    options: &WriteOptions,
) -> Result<Response<Body>, Status> {
    bind(server, call, binding.clone(), object::name(binding), options).await
}

async fn bind(
    server: &Arc<Inner>,
    call: &Call,
    mut binding: Value,
    pod: &str,
    options: &WriteOptions,
) -> Result<Response<Body>, Status> {
    validate(&binding)?;
    let Some(pods) = catalog::built_in("", "v1", "pods") else { return Err(Status::path_not_found()) };
    let part = Part::Other("binding");
    let change = Change { name: pod, ..Change::of(server, call, pods, part, options) };
    change.mutate(Operation::Create, &mut binding, None).await?;
    change.admit(Operation::Create, &mut binding, None).await?;
    change.update(true, |old| bound(&change, old, &binding)).await?;
    let status = Status { status: "Success".into(), code: 201, ..Status::default() };
    Ok(encode::value_response(call, StatusCode::CREATED, &status.to_value()))
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
    let (uid, version) = (object::uid(binding), object::resource_version(binding));
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(old));
        return Err(conflict(why));
    }
    if !version.is_empty() && version != object::resource_version(old) {
        return Err(conflict(format!("Precondition failed: ResourceVersion in precondition: {version}")));
    }
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
    set_scheduled(&mut new, &change.call.now_text());
    Ok(new)
}

fn merge_map(pod: &mut Value, binding: &Value, map: &str) {
    let given = binding.pointer(&format!("/metadata/{map}")).and_then(Value::as_object);
    for (key, value) in given.into_iter().flatten() {
        pod["metadata"][map][key] = value.clone();
    }
}

fn set_scheduled(pod: &mut Value, now: &str) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    let status = object::child_mut(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|condition| condition["type"] == "PodScheduled") {
        Some(own) => *own = condition,
        None => list.push(condition),
    }
}
