//! Who asks.

use apimachinery::Status;
use auth::UserInfo;
use http::Extensions;

use crate::call::Call;
use crate::server::{Inner, PeerCertificates};

/// Paths that answer a caller without credentials.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

pub fn run(server: &Inner, extensions: &Extensions, call: &Call) -> Result<UserInfo, Status> {
    if let Some(user) = extensions.get::<UserInfo>() {
        return Ok(user.clone().authenticated());
    }
    let chain = extensions.get::<PeerCertificates>().map(|peer| peer.0.as_slice());
    let authorization = Some(call.header("authorization")).filter(|header| !header.is_empty());
    match server.authenticator.authenticate(chain, authorization) {
        Ok(Some(user)) => Ok(user),
        Ok(None) if is_public(&call.info.path) => Ok(UserInfo::anonymous()),
        Ok(None) => Err(Status::unauthorized()),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, path = call.info.path, "authentication failed");
            Err(Status::unauthorized())
        }
    }
}

fn is_public(path: &str) -> bool {
    let within =
        |public: &&str| path == *public || path.strip_prefix(*public).is_some_and(|rest| rest.starts_with('/'));
    PUBLIC.iter().any(within)
}
