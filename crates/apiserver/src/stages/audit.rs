//! The audit stage: every request is told of, by the pipeline alone.

use std::sync::Arc;

use apimachinery::Status;
use http::{Response, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::audit::{Level, RESPONSE_BYTES_MAX, Record, Stage, response_status};
use crate::body::{self, Body};
use crate::call::Call;
use crate::server::Inner;

/// Opens the record, once the user is known or is known to be nobody.
pub fn begin(server: &Arc<Inner>, call: &mut Call, authenticated: bool) {
    let Some(auditor) = &server.auditor else { return };
    let record = auditor.begin(call, authenticated);
    if authenticated && let Some(record) = &record {
        record.stage(Stage::RequestReceived);
    }
    call.audit = record;
}

/// The request's body, where the policy wants it.
pub fn request_body(call: &Call, bytes: &[u8]) {
    let Some(record) = call.audit.as_ref().filter(|record| record.level() >= Level::Request) else { return };
    if call.info.is_resource
        && !bytes.is_empty()
        && let Ok(object) = crate::decode::parse(&call.headers, bytes, ("", ""))
    {
        record.set_object("requestObject", object);
    }
}

/// Closes the record with the answer. An answer that goes on keeps it until it ends.
pub async fn finish(call: &mut Call, response: Response<Body>, failure: Option<&Status>) -> Response<Body> {
    let Some(record) = call.audit.take() else { return response };
    record.set("responseStatus", response_status(response.status(), failure));
    if call.user.name.is_empty() {
        // Upstream tells of a failed authentication at this stage.
        record.stage(Stage::ResponseStarted);
        record.complete();
        return response;
    }
    record.impersonated(call);
    if call.info.long_running() && response.status().as_u16() < 300 {
        record.stage(Stage::ResponseStarted);
        return response.map(|body| body::with(body, record));
    }
    let response = match record.level() {
        Level::RequestResponse if call.info.is_resource => object(&record, response).await,
        _ => response,
    };
    record.complete();
    response
}

/// Records the answer's object. The answers that come here are whole already.
async fn object(record: &Record, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Response::from_parts(parts, body::empty());
    };
    let plain = !parts.headers.contains_key(header::CONTENT_ENCODING) && bytes.len() <= RESPONSE_BYTES_MAX;
    if plain && let Some(object) = parse(&parts.headers, &bytes) {
        record.set_object("responseObject", object);
    }
    Response::from_parts(parts, body::full(bytes))
}

fn parse(headers: &http::HeaderMap, bytes: &[u8]) -> Option<Value> {
    crate::decode::parse(headers, bytes, ("", "")).ok().filter(Value::is_object)
}
