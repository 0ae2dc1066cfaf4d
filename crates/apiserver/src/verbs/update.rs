//! A whole new state.

use std::sync::Arc;

use apimachinery::{GroupKind, Status, object};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part, Updated};
use crate::decode::{self, Expected};
use crate::encode;
use crate::options::WriteOptions;
use crate::server::Inner;
use crate::verbs::create::settle_namespace;

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource, part: Part) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "UpdateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::of(resource);
    let mut wanted = decode::object(call, &body, &expected, options.field_validation)?;
    settle_namespace(call, resource, &mut wanted)?;
    settle_name(call, &mut wanted)?;
    let change = Change::of(server, call, resource, part, &options);
    let Updated { item, created } = write(&change, wanted).await?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(encode::object(call, code, resource, &item))
}

pub fn settle_name(call: &Call, object: &mut Value) -> Result<(), Status> {
    let (own, path) = (object::name(object), call.info.name.as_str());
    if own.is_empty() {
        let why = format!("the name of the object ({path} based on URL) was undeterminable: name must be provided");
        return Err(Status::bad_request(why));
    }
    if own != path {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({path})"
        )));
    }
    Ok(())
}

/// Stores the wanted state; creates where the kind allows that and the object is missing.
pub async fn write(change: &Change<'_>, wanted: Value) -> Result<Updated, Status> {
    let strategy = &change.resource.strategy;
    let key = change.resource.key(change.namespace, change.name);
    let missing = change.server.store.get(&key).is_none();
    if missing && change.part == Part::Main && strategy.allows_create_on_update() {
        crate::stages::authorize::check(change.server, &create_attributes(change))?;
        let item = change.create(wanted).await?;
        return Ok(Updated { item, created: true });
    }
    change.update(is_unconditional(&wanted), |old| checked(change, old, &wanted)).await
}

pub fn create_attributes<'a>(change: &'a Change<'_>) -> auth::Attributes<'a> {
    let resource = change.resource;
    auth::Attributes::resource(&change.call.user, "create", resource.group, resource.name)
        .in_namespace(change.namespace)
        .named(change.name)
}

/// The wanted state, if what it says of itself fits the stored one.
fn checked(change: &Change<'_>, old: &Value, wanted: &Value) -> Result<Value, Status> {
    let uid = object::uid(wanted);
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(old));
        return Err(Status::conflict(&change.resource.group_resource(), change.name, why));
    }
    check_version(change.resource, change.name, wanted, old)?;
    Ok(wanted.clone())
}

/// Whether the object names no version; zero is none.
fn is_unconditional(object: &Value) -> bool {
    matches!(object::resource_version(object), "" | "0")
}

/// A version that is named must be the stored one. Some kinds demand that one is named.
pub fn check_version(resource: &Resource, name: &str, new: &Value, old: &Value) -> Result<(), Status> {
    let given = object::resource_version(new);
    if is_unconditional(new) {
        return if resource.strategy.allows_unconditional_update() { Ok(()) } else { Err(versionless(resource, name)) };
    }
    if given.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing {given:?}: invalid syntax");
        return Err(Status::failure(500, "", why));
    }
    if given == object::resource_version(old) {
        Ok(())
    } else {
        Err(Status::modified(&resource.group_resource(), name))
    }
}

fn versionless(resource: &Resource, name: &str) -> Status {
    let path = apimachinery::field::Path::new("metadata").child("resourceVersion");
    let mut errors = apimachinery::field::ErrorList::new();
    errors.invalid(&path, 0, "must be specified for an update");
    // Upstream names the resource here where others name the kind.
    Status::invalid(&GroupKind::new(resource.group, resource.name), name, &errors)
}
