//! Requests of the API server to itself: through the same pipeline as everybody's, under its own name.

use std::sync::Arc;

use apimachinery::Status;
use auth::{UserInfo, names};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::body::{self, Body};
use crate::call::Call;
use crate::pipeline;
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Inner;

const USER: &str = "system:apiserver";
/// Upstream's name, which becomes the manager of the fields that the server sets.
const AGENT: &str = "kube-apiserver/v1.36";

/// A request that only its own code answers: for what no path leads to.
pub fn call(server: &Inner, method: Method, path: &str) -> Result<Call, Status> {
    let (mut parts, body) = request(method, path, None)?.into_parts();
    let query = Query::parse("");
    let info = RequestInfo::parse(&parts.method, path, &query);
    let mut call = Call::new(&mut parts, info, query, body, server.catalog.get());
    call.user = user();
    Ok(call)
}

/// Sends a request and reads the whole answer; a failure is a Status.
pub async fn send(server: &Arc<Inner>, method: Method, path: &str, content: Option<&Value>) -> Result<Value, Status> {
    let request = request(method, path, content)?;
    // The pipeline's future knows of everything that a request may set off, this call too.
    let response = Box::pin(pipeline::handle(server, request)).await;
    let failed = !response.status().is_success();
    let bytes: Bytes = response.into_body().collect().await.map_err(Status::internal)?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
    match failed {
        true => Err(serde_json::from_value(value).unwrap_or_else(Status::internal)),
        false => Ok(value),
    }
}

fn request(method: Method, path: &str, content: Option<&Value>) -> Result<Request<Body>, Status> {
    let mut request = Request::builder().method(method).uri(path).header(header::USER_AGENT, AGENT).extension(user());
    if content.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = content.map_or_else(body::empty, |value| body::full(value.to_string()));
    request.body(body).map_err(Status::internal)
}

fn user() -> UserInfo {
    UserInfo { name: USER.into(), groups: vec![names::MASTERS.into()], ..UserInfo::default() }
}
