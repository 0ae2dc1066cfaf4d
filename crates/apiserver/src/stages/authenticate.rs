//! Who asks.

use apimachinery::Status;
use auth::UserInfo;
use auth::authn::AuthnError;
use auth::oidc::OidcError;
use http::{Extensions, HeaderMap};

use crate::call::Call;
use crate::server::{Inner, PeerCertificates};

/// Paths that answer a caller without credentials.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

pub async fn run(server: &Inner, extensions: &Extensions, call: &mut Call) -> Result<UserInfo, Status> {
    let user = match extensions.get::<UserInfo>() {
        Some(user) => user.clone().authenticated(),
        None => stranger(server, extensions, call).await?,
    };
    forget_credentials(server, &mut call.headers);
    Ok(user)
}

/// Nobody behind authentication sees what proved who the caller is.
fn forget_credentials(server: &Inner, headers: &mut HeaderMap) {
    headers.remove(http::header::AUTHORIZATION);
    let Some(proxies) = server.authenticator.proxies() else { return };
    let owned: Vec<_> = headers.keys().filter(|name| proxies.owns(name.as_str())).cloned().collect();
    for name in owned {
        headers.remove(name);
    }
}

async fn stranger(server: &Inner, extensions: &Extensions, call: &Call) -> Result<UserInfo, Status> {
    let chain = extensions.get::<PeerCertificates>().map(|peer| peer.0.as_slice()).filter(|chain| !chain.is_empty());
    if let Some(user) = chain.and_then(|chain| proxied(server, chain, &call.headers)) {
        return Ok(user);
    }
    let authorization = Some(call.header("authorization")).filter(|header| !header.is_empty());
    let mut answer = server.authenticator.authenticate(chain, authorization);
    if let Err(AuthnError::Oidc { issuer, source: OidcError::NoKeys | OidcError::UnknownKey }) = &answer
        && server.issuer_keys.refreshed(server, issuer).await
    {
        answer = server.authenticator.authenticate(chain, authorization);
    }
    match answer {
        Ok(Some(user)) => Ok(user),
        Ok(None) if may_be_anonymous(server, &call.info.path) => Ok(UserInfo::anonymous()),
        Ok(None) => Err(Status::unauthorized()),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, path = call.info.path, "authentication failed");
            Err(Status::unauthorized())
        }
    }
}

fn proxied(server: &Inner, chain: &[rustls_pki_types::CertificateDer<'_>], headers: &HeaderMap) -> Option<UserInfo> {
    let proxies = server.authenticator.proxies()?;
    if !proxies.username_headers.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let texts: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    server.authenticator.proxied(chain, &texts)
}

fn may_be_anonymous(server: &Inner, path: &str) -> bool {
    server.authenticator.allows_anonymous(path).unwrap_or_else(|| is_public(path))
}

fn is_public(path: &str) -> bool {
    let within =
        |public: &&str| path == *public || path.strip_prefix(*public).is_some_and(|rest| rest.starts_with('/'));
    PUBLIC.iter().any(within)
}
