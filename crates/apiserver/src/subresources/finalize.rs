//! `namespaces/finalize`: the namespace controller takes out its finalizer here.

use std::sync::Arc;

use apimachinery::{Status, object};
use http::{Response, StatusCode};
use registry::strategy::Resource;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::decode::{self, Expected};
use crate::encode;
use crate::options::WriteOptions;
use crate::server::Inner;
use crate::verbs::update::settle_name;

pub async fn run(server: &Arc<Inner>, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(call, "UpdateOptions")?;
    let body = call.read_body().await?;
    let expected = Expected::of(resource);
    let mut wanted = decode::object(call, &body, &expected, options.field_validation)?;
    settle_name(call, &mut wanted)?;
    let change = Change::of(server, call, resource, Part::Other("finalize"), &options);
    let given = object::resource_version(&wanted).to_string();
    let updated = change
        .update(given.is_empty(), |old| {
            if !given.is_empty() && given != object::resource_version(old) {
                return Err(Status::modified(&resource.group_resource(), &call.info.name));
            }
            let mut new = old.clone();
            let finalizers = wanted.pointer("/spec/finalizers").cloned().unwrap_or(Value::Array(Vec::new()));
            let spec = object::child_mut(&mut new, "spec");
            if finalizers.as_array().is_some_and(Vec::is_empty) {
                spec.remove("finalizers");
            } else {
                spec.insert("finalizers".into(), finalizers);
            }
            Ok(new)
        })
        .await?;
    Ok(encode::object(call, StatusCode::OK, resource, &updated.item))
}
