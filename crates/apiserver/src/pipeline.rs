//! The one way of every request, in design order.

use std::sync::Arc;

use apimachinery::Status;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};

use crate::body::{self, Body};
use crate::call::Call;
use crate::negotiate::{Accept, Offer};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Inner;
use crate::stages::{audit, authenticate, authorize, deadline, flow, impersonate};
use crate::webhook_time::WEBHOOK_TIME;
use crate::{aggregate, encode, serve, verbs};

pub async fn handle(server: &Arc<Inner>, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let mut call = Call::new(&mut parts, info, query, body, server.catalog.get());
    call.audit_id = audit_id(&call);
    let time = call.webhook_time.clone();
    let answer = WEBHOOK_TIME.scope(time, limited(server, &parts.extensions, &mut call)).await;
    let failure = answer.as_ref().err().cloned();
    let response = answer.unwrap_or_else(|status| encode::status(failure_accept(&call), &status));
    let mut response = audit::finish(&mut call, response, failure.as_ref()).await;
    add_headers(&call, &mut response);
    if parts.version <= Version::HTTP_11 && response.status().as_u16() >= 400 && !body::drain(call.take_body()).await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    server.metrics.requests.answered(&mut call, response)
}

/// As the client names the request, or a new name.
fn audit_id(call: &Call) -> String {
    match call.header("audit-id") {
        "" => uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
        own => own.to_string(),
    }
}

/// Failures are told in the client's format, as whole objects.
fn failure_accept(call: &Call) -> Accept {
    let mut accept = Accept::negotiate(&call.headers, Offer::Documents, false).unwrap_or_default();
    accept.pretty |= call.wants_pretty();
    accept
}

/// Requests that do not stay open must end in time.
async fn limited(
    server: &Arc<Inner>,
    extensions: &http::Extensions,
    call: &mut Call,
) -> Result<Response<Body>, Status> {
    if call.info.long_running() {
        return run(server, extensions, call).await;
    }
    deadline::check(call)?;
    let end = call.received + call.time_limit();
    let answer = tokio::time::timeout_at(end, run(server, extensions, call)).await;
    answer.unwrap_or_else(|_| {
        server.metrics.requests.terminated(call, StatusCode::GATEWAY_TIMEOUT);
        Err(Status::timeout("request did not complete within the allotted timeout", 0))
    })
}

async fn run(server: &Arc<Inner>, extensions: &http::Extensions, call: &mut Call) -> Result<Response<Body>, Status> {
    if let Some(response) = serve::before_authentication(server, call).await {
        return response;
    }
    match authenticate::run(server, extensions, call).await {
        Ok(user) => call.user = user,
        Err(unknown) => {
            audit::begin(server, call, false);
            return Err(unknown);
        }
    }
    audit::begin(server, call, true);
    impersonate::run(server, call)?;
    let _seat = match flow::run(server, call).await {
        flow::Admission::Seat(seat) => seat,
        flow::Admission::Refused(response) => {
            server.metrics.requests.dropped(call);
            return Ok(response);
        }
    };
    if let Err(denied) = authorize::run(server, call) {
        // A kubelet hears of its pod as soon as it is bound: the index of who may what may be a moment behind.
        if call.user.node_name().is_none() {
            return Err(denied);
        }
        server.indexes.settle(server).await;
        authorize::run(server, call)?;
    }
    if call.info.path.contains("//") {
        return Err(Status::path_not_found());
    }
    if let Some(response) = aggregate::proxy::run(server, call).await {
        return Ok(response);
    }
    if !serve::discovery::is_served(server, call) {
        return Ok(serve::page_not_found());
    }
    call.handled(server.metrics.requests.open(call));
    let response = match call.info.is_resource {
        true => verbs::dispatch(server, call).await,
        false => serve::paths(server, call).await,
    };
    response.map(|response| flow::count_watch(server, call, response))
}

fn add_headers(call: &Call, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    if !headers.contains_key("cache-control") {
        headers.insert("cache-control", HeaderValue::from_static("no-cache, private"));
    }
    if let Ok(id) = HeaderValue::from_str(&call.audit_id) {
        headers.insert("audit-id", id);
    }
    if let Some(flow) = &call.flow {
        headers.insert("x-kubernetes-pf-flowschema-uid", flow.schema_uid.clone());
        headers.insert("x-kubernetes-pf-prioritylevel-uid", flow.level_uid.clone());
    }
    for warning in call.warnings() {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append("warning", value);
        }
    }
}
