//! One object.

use apimachinery::Status;
use apimachinery::status::Cause;
use http::{Response, StatusCode};
use registry::strategy::Resource;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::custom::convert;
use crate::encode;
use crate::options;
use crate::server::Inner;

pub async fn run(server: &Inner, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    // Upstream hands a malformed version to the storage of a single object, whose complaint becomes a 500.
    let version = options::version(call.query.text("resourceVersion"));
    let version = version.map_err(|status| Status::failure(500, "", status.message))?;
    check_reached(server, version)?;
    let stored = server.store.get(&resource.key(&call.info.namespace, &call.info.name));
    let stored = stored.ok_or_else(|| call.not_found(resource, &call.info.name))?;
    let item = convert::one(server, resource, stored).await?;
    Ok(encode::object(call, StatusCode::OK, resource, &item))
}

/// Reads are never stale, so a version that was not reached yet is one that this server never gave out.
pub fn check_reached(server: &Inner, version: Option<u64>) -> Result<(), Status> {
    let current = server.store.revision().0;
    match version {
        Some(version) if version > current => {
            let why = format!("Too large resource version: {version}, current: {current}");
            let mut status = Status::timeout(why, 1);
            let message = "Too large resource version".into();
            let cause = Cause { reason: "ResourceVersionTooLarge".into(), message, field: String::new() };
            status.details.get_or_insert_default().causes.push(cause);
            Err(status)
        }
        _ => Ok(()),
    }
}
