//! The flow-control stage: a seat of the request's priority level, at once or after a wait.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use tokio::time::Instant;

use crate::body::{self, Body};
use crate::call::Call;
use crate::encode;
use crate::flow::{Refused, Seat};
use crate::server::Inner;

/// How long a request without a limit of its own waits: a quarter of the time that it has.
const WAIT_SHARE: u32 = 4;
const WAIT_MAX: Duration = Duration::from_secs(60);

pub enum Admission {
    /// Held until the answer is made: a watch holds it until its first events are there.
    Seat(Option<Seat>),
    Refused(Response<Body>),
}

pub async fn run(server: &Inner, call: &mut Call) -> Admission {
    if call.info.long_running() && call.info.verb != "watch" {
        return Admission::Seat(None);
    }
    let Some(flow) = server.flow.classify(call) else { return Admission::Seat(None) };
    call.flow = Some(flow.clone());
    let wait = (call.time_limit() / WAIT_SHARE).min(WAIT_MAX);
    let asked = Instant::now();
    let admitted = server.flow.admit(call, &flow, call.received + wait).await;
    call.queue_wait = asked.elapsed();
    match admitted {
        Ok(seat) => Admission::Seat(Some(seat)),
        Err(refused) => Admission::Refused(too_many_requests(&refused)),
    }
}

/// Upstream's text: no Status.
fn too_many_requests(refused: &Refused) -> Response<Body> {
    let text = "Too many requests, please try again later.\n";
    let mut response = encode::plain(StatusCode::TOO_MANY_REQUESTS, "text/plain; charset=utf-8", text.into());
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, refused.retry_after.into());
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Counts a watch that began, until its answer ends.
pub fn count_watch(server: &Arc<Inner>, call: &Call, response: Response<Body>) -> Response<Body> {
    if call.info.verb != "watch" || !response.status().is_success() {
        return response;
    }
    match server.flow.register_watch(call) {
        Some(watching) => response.map(|body| body::with(body, watching)),
        None => response,
    }
}
