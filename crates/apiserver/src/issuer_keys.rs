//! Fetches the keys of OpenID Connect issuers, at the start and when a token names a key that is not known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::oidc::Issuer;
use bytes::Bytes;
use http::Request;
use rt::TaskSet;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::outbound::{Endpoint, OutboundError};
use crate::server::Inner;

/// An issuer is asked at most this often, whatever tokens come.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0:?} is not encrypted")]
    Plain(String),
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the issuer answers with something else than {0}")]
    Unfit(&'static str),
}

/// When each issuer was asked last.
#[derive(Default)]
pub struct IssuerKeys {
    asked: Mutex<HashMap<String, Instant>>,
}

impl IssuerKeys {
    /// The issuers are others now: what was asked of the former says nothing of them.
    pub async fn forget(&self) {
        self.asked.lock().await.clear();
    }

    /// Fetches an issuer's keys unless that was done a moment ago; whether there are new ones to try.
    pub async fn refreshed(&self, server: &Inner, url: &str) -> bool {
        let issuers = server.authenticator.issuers();
        let Some(issuer) = issuers.iter().find(|issuer| issuer.url() == url) else { return false };
        // Requests with the same unknown key wait for one fetch.
        let mut asked = self.asked.lock().await;
        let now = Instant::now();
        if asked.get(url).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return true;
        }
        asked.insert(url.to_string(), now);
        match fetch_keys(issuer).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, issuer = url, "no keys of the issuer");
                false
            }
        }
    }
}

/// Asks every issuer once, so that the first token need not wait.
pub fn spawn(server: &Arc<Inner>, tasks: &TaskSet) {
    for issuer in server.authenticator.issuers().iter() {
        let (server, url) = (server.clone(), issuer.url().to_owned());
        tasks.spawn_until_cancelled("issuer-keys", async move {
            server.issuer_keys.refreshed(&server, &url).await;
        });
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

async fn fetch_keys(issuer: &Issuer) -> Result<(), FetchError> {
    let discovery = fetch(issuer, &issuer.discovery_url()).await?;
    let unfit = |_| FetchError::Unfit("a discovery document");
    let discovery: Discovery = serde_json::from_slice(&discovery).map_err(unfit)?;
    if discovery.issuer != issuer.url() {
        return Err(FetchError::Unfit("its own name"));
    }
    let keys = fetch(issuer, &discovery.jwks_uri).await?;
    issuer.set_keys(&keys).map_err(|_| FetchError::Unfit("a key set"))
}

async fn fetch(issuer: &Issuer, url: &str) -> Result<Bytes, FetchError> {
    let endpoint = Endpoint::new(url, issuer.ca_pem(), None)?;
    if !endpoint.is_encrypted() {
        return Err(FetchError::Plain(url.to_string()));
    }
    Ok(endpoint.send(Request::get(endpoint.path()), Bytes::new()).await?)
}
