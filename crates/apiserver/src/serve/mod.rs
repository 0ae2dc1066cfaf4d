//! Everything that is served beside resources: the listener, discovery, health, version, joining nodes.

pub mod discovery;
mod documents;
mod gathering;
mod health;
mod join;
pub mod listen;
pub mod metrics;
pub mod openapi;
mod process;
pub mod statusz;
mod version;

pub use documents::Documents;

use std::sync::Arc;

use apimachinery::Status;
use auth::pki::{ClientTrust, ServerIdentity};
use http::{Method, Response, StatusCode, header};
use serde_json::json;

use crate::accept::Clause;
use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::server::Inner;

/// What the listener serves with.
pub struct Identity {
    pub certificate: Arc<ServerIdentity>,
    pub trust: ClientTrust,
}

/// Answers that need no user: the authority to pin, and joining with a token, which is its own authentication.
pub async fn before_authentication(server: &Inner, call: &Call) -> Option<Result<Response<Body>, Status>> {
    match call.info.path.as_str() {
        auth::join::CA_PATH => {
            Some(Ok(encode::plain(StatusCode::OK, "application/x-pem-file", server.pki.ca_pem().to_string().into())))
        }
        auth::join::JOIN_PATH => Some(join::run(server, call).await),
        _ => None,
    }
}

/// What a mux without a matching route says.
pub fn page_not_found() -> Response<Body> {
    encode::plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".into())
}

/// Paths that are no resources. Some are asked for with every method, as upstream's are.
pub async fn paths(server: &Arc<Inner>, call: &mut Call) -> Result<Response<Body>, Status> {
    let path = call.info.path.clone();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [] => root(call),
        ["version"] => version::run(only_get(call)?),
        ["healthz" | "livez" | "readyz", ..] => Ok(health::run(server, call).unwrap_or_else(page_not_found)),
        ["metrics"] => Ok(server.metrics.response(server)),
        ["metrics", "slis"] => Ok(server.metrics.health.response()),
        ["statusz"] => statusz::run(only_get(call)?),
        ["api" | "apis", ..] => discovery::run(server, call),
        ["openapi", "v3", ..] | ["openapi", "v2"] => openapi::run(server, call).await,
        ["debug", "api_priority_and_fairness", dump] => {
            crate::flow::dump::run(&server.flow, call, dump).ok_or_else(Status::path_not_found)
        }
        ["openid", "v1", "jwks"] => key_set(server, only_get(call)?),
        [".well-known", "openid-configuration"] => openid_configuration(server, only_get(call)?),
        _ => Ok(page_not_found()),
    }
}

/// For what upstream's router has under this method alone.
fn only_get(call: &mut Call) -> Result<&mut Call, Status> {
    if call.method == Method::GET { Ok(call) } else { Err(Status::method_not_allowed()) }
}

fn root(call: &mut Call) -> Result<Response<Body>, Status> {
    call.negotiate(false)?;
    let fixed = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/statusz",
        "/version",
    ];
    let mut paths: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    for (group, version) in call.catalog.group_versions().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.sort();
    paths.dedup();
    Ok(encode::json_response(call, &json!({"paths": paths})))
}

fn key_set(server: &Inner, call: &Call) -> Result<Response<Body>, Status> {
    const MEDIA_TYPE: &str = "application/jwk-set+json";
    let accept = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fits = |clause: &Clause<'_>| clause.is("*", "*") || clause.is("application", "jwk-set+json");
    if !accept.is_empty() && !Clause::parse_all(accept).iter().any(fits) {
        return Err(Status::not_acceptable(&[MEDIA_TYPE]));
    }
    let keys = server.pki.service_accounts.key_set().to_string();
    Ok(encode::plain(StatusCode::OK, MEDIA_TYPE, keys.into()))
}

fn openid_configuration(server: &Inner, call: &mut Call) -> Result<Response<Body>, Status> {
    call.negotiate(false)?;
    let keys = &server.pki.service_accounts;
    let configuration = json!({
        "issuer": keys.issuance().issuer(),
        "jwks_uri": keys.issuance().jwks_uri(),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": keys.algorithms(),
    });
    Ok(encode::json_response(call, &configuration))
}
