//! `/statusz`: since when the server runs, as which version. For people as text; the structured form is asked for by name.

use std::sync::LazyLock;

use apimachinery::Status;
use http::{Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use super::version::VERSION;
use crate::accept::Clause;
use crate::body::Body;
use crate::call::Call;
use crate::encode;

const PATHS: [&str; 6] = ["/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"];
const STRUCTURED: &str = "application/json;g=config.k8s.io;v=v1beta1;as=Statusz";
const SUPPORTED: [&str; 2] = ["text/plain", STRUCTURED];

static STARTED: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

/// The server starts now.
pub fn begin() {
    LazyLock::force(&STARTED);
}

pub fn run(call: &Call) -> Result<Response<Body>, Status> {
    let accept = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let clauses = Clause::parse_all(accept);
    if clauses.iter().any(is_structured) {
        return Ok(encode::plain(StatusCode::OK, STRUCTURED, structured(call.now).into()));
    }
    let is_text = |clause: &Clause<'_>| clause.matches("text", "plain");
    if accept.is_empty() || clauses.iter().any(is_text) {
        return Ok(encode::plain(StatusCode::OK, "text/plain; charset=utf-8", text(call.now).into()));
    }
    Err(Status::not_acceptable(&SUPPORTED))
}

fn is_structured(clause: &Clause<'_>) -> bool {
    let named = [("g", "config.k8s.io"), ("v", "v1beta1"), ("as", "Statusz")];
    clause.is("application", "json") && named.iter().all(|(key, value)| clause.parameter(key) == *value)
}

fn seconds_up(now: Timestamp) -> i64 {
    now.as_second() - STARTED.as_second()
}

fn structured(now: Timestamp) -> String {
    let status = json!({
        "kind": "Statusz",
        "apiVersion": "config.k8s.io/v1beta1",
        "metadata": {"name": "apiserver"},
        "startTime": apimachinery::time::format(*STARTED),
        "uptimeSeconds": seconds_up(now),
        "goVersion": "none",
        "binaryVersion": VERSION,
        "emulationVersion": VERSION,
        "paths": PATHS,
    });
    status.to_string()
}

fn text(now: Timestamp) -> String {
    let up = seconds_up(now);
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    format!(
        "\napiserver statusz\nWarning: This endpoint is for people: its form may change, and no program should read it.\n\n\
         Started: {}\nUp: {hours} hr {minutes:02} min {seconds:02} sec\nBinary version: {VERSION}\n\
         Emulation version: {VERSION}\nPaths: {}\n",
        STARTED.strftime("%a %b %e %H:%M:%S UTC %Y"),
        PATHS.join(" "),
    )
}
