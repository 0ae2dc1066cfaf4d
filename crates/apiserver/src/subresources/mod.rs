//! Subresources: those that the strategies drive (`status`, `scale`) and those with a handler of their own.

pub mod binding;
mod conditions;
mod connect;
mod eviction;
mod finalize;
pub mod kubelet;
pub mod proxy;
pub mod reviews;
mod rewrite;
pub mod scale;
mod stream;
mod token;

use std::sync::Arc;

use apimachinery::Status;
use http::{Response, StatusCode};
use registry::strategy::Resource;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::Part;
use crate::custom::convert;
use crate::encode;
use crate::server::Inner;
use crate::verbs::{patch, update};

pub async fn dispatch(server: &Arc<Inner>, call: &mut Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let name = call.info.subresource.clone();
    let Some(sub) = resource.subresource(&name) else { return Err(Status::path_not_found()) };
    if !sub.verbs.contains(&call.info.verb) {
        return Err(Status::method_not_allowed());
    }
    if matches!(sub.name, "proxy" | "exec" | "attach" | "portforward" | "log") {
        return streamed(server, call, resource, sub.name).await;
    }
    call.negotiate(call.info.verb == "get")?;
    match (resource.name, sub.name) {
        (_, "status") => part(server, call, resource, Part::Status).await,
        (_, "scale") => scale::run(server, call, resource).await,
        ("pods", "binding") => binding::run(server, call).await,
        ("pods", "eviction") => eviction::run(server, call, resource).await,
        ("pods", "ephemeralcontainers" | "resize") => part(server, call, resource, Part::Status).await,
        ("serviceaccounts", "token") => token::run(server, call, resource).await,
        ("namespaces", "finalize") => finalize::run(server, call, resource).await,
        ("certificatesigningrequests", "approval") => part(server, call, resource, Part::Status).await,
        _ => Err(Status::path_not_found()),
    }
}

async fn streamed(
    server: &Arc<Inner>,
    call: &mut Call,
    resource: &Resource,
    sub: &str,
) -> Result<Response<Body>, Status> {
    match (resource.name, sub) {
        ("pods", "proxy") | ("services", "proxy") | ("nodes", "proxy") => proxy::run(server, call, resource).await,
        ("pods", sub) => stream::run(server, call, resource, sub).await,
        _ => Err(Status::path_not_found()),
    }
}

/// The object itself, read or written through one of its parts.
async fn part(server: &Arc<Inner>, call: &Call, resource: &Resource, part: Part) -> Result<Response<Body>, Status> {
    match call.info.verb {
        "get" => read(server, call, resource).await,
        "update" => update::run(server, call, resource, part).await,
        _ => patch::run(server, call, resource, part).await,
    }
}

async fn read(server: &Inner, call: &Call, resource: &Resource) -> Result<Response<Body>, Status> {
    let stored = server.store.get(&resource.key(&call.info.namespace, &call.info.name));
    let stored = stored.ok_or_else(|| call.not_found(resource, &call.info.name))?;
    let item = convert::one(server, resource, stored).await?;
    Ok(encode::object(call, StatusCode::OK, resource, &item))
}
