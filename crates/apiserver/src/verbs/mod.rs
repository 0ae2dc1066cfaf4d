//! One file for each verb; [`dispatch`] finds the resource and the verb.

pub mod apply;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod patch;
pub mod update;
pub mod watch;

use std::sync::Arc;

use apimachinery::Status;
use http::{Method, Response};
use registry::strategy::Resource;

use crate::body::Body;
use crate::call::Call;
use crate::catalog::ResourceExt;
use crate::change::{Change, Part};
use crate::custom::convert::Conversions;
use crate::negotiate::{Offer, Shape};
use crate::ownership::Ownership;
use crate::serve::page_not_found;
use crate::server::Inner;
use crate::subresources;

pub async fn dispatch(server: &Arc<Inner>, call: &mut Call) -> Result<Response<Body>, Status> {
    let (group, version, name) = (&call.info.group, &call.info.version, &call.info.resource);
    let Some(resource) = &call.catalog.find(group, version, name).cloned() else {
        return if call.catalog.is_built_in(group) { Err(Status::path_not_found()) } else { Ok(page_not_found()) };
    };
    if fits_scope(resource, call).is_none() {
        return Err(Status::path_not_found());
    }
    if !call.info.subresource.is_empty() {
        return subresources::dispatch(server, call, resource).await;
    }
    let verb = allowed_verb(resource, call)?;
    warn_of_deprecation(call, resource);
    call.negotiate_offer(offer(resource))?;
    check_table_options(call)?;
    match verb {
        "get" => get::run(server, call, resource).await,
        "list" => list::run(server, call, resource).await,
        "watch" => watch::run(server, call, resource).await,
        "create" => create::run(server, call, resource).await,
        "update" => update::run(server, call, resource, Part::Main).await,
        "patch" => patch::run(server, call, resource, Part::Main).await,
        "delete" => delete::run(server, call, resource).await,
        _ => delete::collection(server, call, resource).await,
    }
}

fn offer(resource: &Resource) -> Offer {
    match resource.verbs {
        _ if resource.custom.is_some() => Offer::CustomObjects,
        ["create"] => Offer::Reviews,
        _ => Offer::Objects,
    }
}

fn warn_of_deprecation(call: &Call, resource: &Resource) {
    if !resource.deprecation.is_empty() {
        call.warn(resource.deprecation.clone());
    }
}

/// Namespaced objects live in a namespace, others do not.
fn fits_scope(resource: &Resource, call: &Call) -> Option<()> {
    let info = &call.info;
    let in_namespace = !info.namespace.is_empty() && info.resource != "namespaces";
    let across = segments_name(call).is_empty() && info.subresource.is_empty();
    match (resource.namespaced, in_namespace) {
        (true, true) | (false, false) => Some(()),
        (true, false) if across => Some(()),
        _ => None,
    }
}

fn check_table_options(call: &Call) -> Result<(), Status> {
    match call.query.text("includeObject") {
        "" | "None" | "Metadata" | "Object" => Ok(()),
        _ if call.shape() != Shape::Table => Ok(()),
        other => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

/// The verb, or 405 when the resource does not have it at this path.
fn allowed_verb(resource: &Resource, call: &Call) -> Result<&'static str, Status> {
    let verb = call.info.verb;
    let reads = matches!(verb, "get" | "list" | "watch");
    if reads && call.method != Method::GET && resource.custom.is_none() {
        return Err(Status::method_not_allowed());
    }
    let on_item = !segments_name(call).is_empty();
    let everywhere = resource.namespaced && call.info.namespace.is_empty();
    let placed = match verb {
        "create" | "deletecollection" if everywhere => false,
        "create" | "list" | "deletecollection" => !on_item,
        "update" | "patch" | "delete" | "get" => on_item,
        _ => true,
    };
    // What is made alone, and never kept, has no path for one of them, and none across namespaces.
    if resource.verbs == ["create"] && (on_item || everywhere) {
        return Err(Status::path_not_found());
    }
    if verb.is_empty() || !placed || !resource.has_verb(verb) {
        return Err(Status::method_not_allowed());
    }
    Ok(verb)
}

/// The name in the path: a field selector may have set another one for the authorizers.
fn segments_name(call: &Call) -> &str {
    match call.info.verb {
        "list" | "watch" | "deletecollection" => "",
        _ => &call.info.name,
    }
}

impl<'a> Change<'a> {
    /// The change that this request asks for.
    pub fn of(
        server: &'a Inner,
        call: &'a Call,
        resource: &'a Resource,
        part: Part,
        options: &crate::options::WriteOptions,
    ) -> Change<'a> {
        Change {
            server,
            call,
            resource,
            part,
            namespace: if resource.namespaced { &call.info.namespace } else { "" },
            name: &call.info.name,
            dry_run: options.dry_run,
            manager: options.manager.clone(),
            ownership: Ownership::Kept,
            conversions: Conversions::default(),
        }
    }
}
