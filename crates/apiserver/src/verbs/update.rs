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
        return Err(Status::bad_request("name must be provided"));
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
    let unconditional = object::resource_version(&wanted).is_empty();
    change.update(unconditional, |old| checked(change, old, &wanted)).await
}

pub fn create_attributes<'a>(change: &'a Change<'_>) -> auth::Attributes<'a> {
    let resource = change.resource;
    auth::Attributes::resource(&change.call.user, "create", resource.group, resource.name)
        .in_namespace(change.namespace)
        .named(change.name)
}

/// The wanted state, if what it says of itself fits the stored one.
fn checked(change: &Change<'_>, old: &Value, wanted: &Value) -> Result<Value, Status> {
    let (given, stored) = (object::resource_version(wanted), object::resource_version(old));
    let (resource, name) = (change.resource.group_resource(), change.name);
    if given.is_empty() && !change.resource.strategy.allows_unconditional_update() {
        let path = apimachinery::field::Path::new("metadata").child("resourceVersion");
        let mut errors = apimachinery::field::ErrorList::new();
        errors.invalid(&path, 0, "must be specified for an update");
        // Upstream names the resource here where others name the kind.
        let named = GroupKind::new(change.resource.group, change.resource.name);
        return Err(Status::invalid(&named, name, &errors));
    }
    let uid = object::uid(wanted);
    if !uid.is_empty() && uid != object::uid(old) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object::uid(old));
        return Err(Status::conflict(&resource, name, why));
    }
    if !given.is_empty() && given.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing {given:?}: invalid syntax");
        return Err(Status::failure(500, "", why));
    }
    if !given.is_empty() && given != stored {
        return Err(Status::modified(&resource, name));
    }
    Ok(wanted.clone())
}
