//! Requests about group versions that somebody else serves.

use http::{Response, StatusCode, header};

use super::remote::Remote;
use crate::body::Body;
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
    if !remote.is_available(&server.store) {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    let tls = match remote.tls() {
        Ok(tls) => tls,
        Err(why) => return failure(StatusCode::INTERNAL_SERVER_ERROR, &why),
    };
    if let Err(why) = remote.service.resolve(&server.store) {
        tracing::warn!(apiservice = remote.name, why, "cannot resolve the service of an APIService");
        return failure(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    let query = call.query.raw().map(|raw| format!("?{raw}")).unwrap_or_default();
    let request = match kubelet::request(call, call.method.clone(), "", &format!("{path}{query}")) {
        Ok(request) => request,
        Err(status) => return encode::status(call.accept, &status),
    };
    let upgrade = call.upgrade.lock().take().filter(|_| kubelet::is_upgrade(call));
    match remote.send(server, tls, upgrade, request, &call.user).await {
        Ok(mut response) => {
            // Of the connection to that server, not of the client's.
            for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().remove(name);
                }
            }
            response
        }
        Err(why) => failure(StatusCode::SERVICE_UNAVAILABLE, &format!("error trying to reach service: {why}")),
    }
}

fn failure(code: StatusCode, why: &str) -> Response<Body> {
    encode::plain(code, "text/plain; charset=utf-8", format!("{why}\n").into())
}
