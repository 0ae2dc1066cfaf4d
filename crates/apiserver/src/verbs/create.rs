//! A new object.

use std::sync::Arc;

use apimachinery::{Status, object};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::encode::{self, Item};
use crate::options::WriteOptions;
use crate::server::Inner;
use crate::subresources::reviews;

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::of(resource);
    let mut wanted = decode::object(call, &body, &expected, options.field_validation)?;
    settle_namespace(call, resource, &mut wanted)?;
    if let Some(review) = reviews::run(server, call, resource, &mut wanted, &options).await? {
        return Ok(encode::object(call, StatusCode::CREATED, resource, &Item::Value(review)));
    }
    if resource.group.is_empty() && resource.name == "bindings" {
        return crate::subresources::binding::create(server, call, resource, wanted, &options).await;
    }
    let given = object::name(&wanted).to_string();
    let change = Change { name: &given, ..Change::of(server, call, resource, Part::Main, &options) };
    let item = change.create(wanted).await?;
    Ok(encode::object(call, StatusCode::CREATED, resource, &item))
}

/// The namespace of the path is the object's.
pub fn settle_namespace(call: &Call, resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let (path, own) = (call.info.namespace.as_str(), object::namespace(object));
    if !resource.namespaced {
        if !own.is_empty() {
            object::metadata_mut(object).remove("namespace");
        }
        return Ok(());
    }
    if path.is_empty() {
        return Err(Status::bad_request("an empty namespace may not be set during creation"));
    }
    if !own.is_empty() && own != path {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object::set_namespace(object, path);
    Ok(())
}
