//! Requests about group versions that somebody else serves.

use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::time::timeout;

use super::remote::Remote;
use crate::body::{self, Body};
use crate::call::Call;
use crate::encode;
use crate::server::Inner;
use crate::subresources::kubelet;

/// Answers a request that is not for this server; `None` if it is.
pub async fn run(server: &Inner, call: &Call) -> Option<Response<Body>> {
    let (group, version) = group_version(&call.info.path)?;
    if call.catalog.is_built_in(group) {
        return None;
    }
    let remote = server.remotes.find(group, version)?;
    Some(forward(server, call, &remote, &call.info.path).await)
}

fn group_version(path: &str) -> Option<(&str, &str)> {
    let mut segments = path.strip_prefix("/apis/")?.split('/');
    let (group, version) = (segments.next()?, segments.next()?);
    (!group.is_empty() && !version.is_empty()).then_some((group, version))
}

/// Sends the request there under `path`, with the client's query.
pub async fn forward(server: &Inner, call: &Call, remote: &Remote, path: &str) -> Response<Body> {
    let answer = attempt(server, call, remote, path).await;
    answer.unwrap_or_else(|(code, why)| {
        server.metrics.requests.terminated_behind(call, &remote.group, &remote.version, code);
        failure(code, &why)
    })
}

async fn attempt(
    server: &Inner,
    call: &Call,
    remote: &Remote,
    path: &str,
) -> Result<Response<Body>, (StatusCode, String)> {
    let unavailable = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, why.to_string());
    if !remote.is_available(&server.store) {
        return Err(unavailable("service unavailable"));
    }
    remote.connections().map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()))?;
    let to = remote.endpoint(&server.store).map_err(|why| {
        tracing::warn!(apiservice = remote.name, why, "cannot resolve the service of an APIService");
        unavailable("service unavailable")
    })?;
    let query = call.query.raw().map(|raw| format!("?{raw}")).unwrap_or_default();
    let request = kubelet::request(call, call.method.clone(), "", &format!("{path}{query}"));
    let mut request = request.map_err(|status| (StatusCode::BAD_REQUEST, status.message))?;
    add_headers(call, &to, request.headers_mut());
    let upgrade = call.upgrade.lock().take().filter(|_| kubelet::is_upgrade(call));
    if let Some(client) = upgrade {
        let answer = remote.upgrade(server, &to, client, request, &call.user).await;
        let answer = answer.map_err(|why| unavailable(&why))?;
        return match answer.status().as_u16() {
            101 | 400.. => Ok(answer),
            code => Err(unavailable(&format!("invalid upgrade response: status code {code}"))),
        };
    }
    let sending = remote.send(&to, request, &call.user);
    let answer = match is_discovery(call) {
        true => timeout(DISCOVERY_MAX, sending).await.unwrap_or_else(|_| Err("context deadline exceeded".into())),
        false => sending.await,
    };
    let answer = answer.map_err(|why| unavailable(&format!("error trying to reach service: {why}")))?;
    Ok(without_redirect(answer))
}

/// Discovery is to be quick, and clients wait for that of all group versions.
const DISCOVERY_MAX: Duration = Duration::from_secs(5);

fn is_discovery(call: &Call) -> bool {
    !call.info.is_resource && call.info.path.trim_matches('/').split('/').count() == 3
}

/// Whoever is behind this server sends nobody elsewhere.
fn without_redirect(answer: Response<Body>) -> Response<Body> {
    if !answer.status().is_redirection() || !answer.headers().contains_key(header::LOCATION) {
        return answer;
    }
    let text = "the backend attempted to redirect this request, which is not permitted";
    let mut refused = Response::new(body::full(text));
    *refused.status_mut() = StatusCode::BAD_GATEWAY;
    refused
}

/// What proxies tell of the request that they pass on.
fn add_headers(call: &Call, to: &Authority, headers: &mut HeaderMap) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("audit-id", &call.audit_id);
    if let Some(peer) = call.peer {
        let before = call.header("x-forwarded-for");
        let comma = if before.is_empty() { "" } else { ", " };
        set("x-forwarded-for", &format!("{before}{comma}{}", peer.ip()));
    }
    if !kubelet::is_upgrade(call) {
        set("x-forwarded-uri", &call.info.path);
        set("x-forwarded-host", to.as_str());
        set("x-forwarded-proto", "https");
    }
}

/// As Go's servers tell an error.
fn failure(code: StatusCode, why: &str) -> Response<Body> {
    let mut answer = encode::plain(code, "text/plain; charset=utf-8", format!("{why}\n").into());
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
