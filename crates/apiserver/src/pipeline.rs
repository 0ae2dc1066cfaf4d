//! The one way of every request, in design order.

use std::sync::Arc;

use apimachinery::Status;
use http::{HeaderValue, Request, Response, Version, header};

use crate::body::{self, Body};
use crate::call::Call;
use crate::negotiate::{Accept, Offer};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Inner;
use crate::stages::{audit, authenticate, authorize, flow, impersonate};
use crate::{aggregate, encode, serve, verbs};

pub async fn handle(server: &Arc<Inner>, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let mut call = Call::new(&mut parts, info, query, body, server.catalog.get());
    let answer = run(server, &parts.extensions, &mut call).await;
    let mut response = answer.unwrap_or_else(|status| encode::status(failure_accept(&call), &status));
    add_headers(&call, &mut response);
    if parts.version <= Version::HTTP_11 && response.status().as_u16() >= 400 && !body::drain(call.take_body()).await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    server.metrics.count(&call, response.status());
    response
}

/// Failures are told in the client's format, as whole objects.
fn failure_accept(call: &Call) -> Accept {
    let mut accept = Accept::negotiate(&call.headers, Offer::Documents).unwrap_or_default();
    accept.pretty |= call.wants_pretty();
    accept
}

async fn run(server: &Arc<Inner>, extensions: &http::Extensions, call: &mut Call) -> Result<Response<Body>, Status> {
    if let Some(response) = serve::before_authentication(server, call).await {
        return response;
    }
    call.user = authenticate::run(server, extensions, call)?;
    impersonate::run(server, call)?;
    let _permit = flow::run(server, call)?;
    if let Err(denied) = authorize::run(server, call) {
        // A kubelet hears of its pod as soon as it is bound: the index of who may what may be a moment behind.
        if call.user.node_name().is_none() {
            return Err(denied);
        }
        server.indexes.settle(server).await;
        authorize::run(server, call)?;
    }
    audit::run(call);
    if call.info.path.contains("//") {
        return Err(Status::path_not_found());
    }
    if let Some(response) = aggregate::proxy::run(server, call).await {
        return Ok(response);
    }
    if !serve::discovery::is_served(server, call) {
        return Ok(serve::page_not_found());
    }
    match call.info.is_resource {
        true => verbs::dispatch(server, call).await,
        false => serve::paths(server, call).await,
    }
}

fn add_headers(call: &Call, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    if !headers.contains_key("cache-control") {
        headers.insert("cache-control", HeaderValue::from_static("no-cache, private"));
    }
    for warning in call.warnings() {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append("warning", value);
        }
    }
}
