//! Fetches the keys of OpenID Connect issuers, at the start and when a token names a key that is not known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::oidc::Issuer;
use auth::pki;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rt::TaskSet;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::body::BoxError;
use crate::server::Inner;

/// An issuer is asked at most this often, whatever tokens come.
const PAUSE: Duration = Duration::from_secs(10);
const FETCH_MAX: Duration = Duration::from_secs(10);
const BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0:?} is not an https URL")]
    Url(String),
    #[error("speak to the issuer")]
    Exchange(#[source] BoxError),
    #[error("the issuer answered {0}")]
    Answer(http::StatusCode),
    #[error("the issuer answers with something else than {0}")]
    Unfit(&'static str),
    #[error("the issuer did not answer in time")]
    Late,
}

fn exchange(error: impl Into<BoxError>) -> FetchError {
    FetchError::Exchange(error.into())
}

/// When each issuer was asked last.
#[derive(Default)]
pub struct IssuerKeys {
    asked: Mutex<HashMap<String, Instant>>,
}

impl IssuerKeys {
    /// Fetches an issuer's keys unless that was done a moment ago; whether there are new ones to try.
    pub async fn refreshed(&self, server: &Inner, url: &str) -> bool {
        let Some(issuer) = server.authenticator.issuers().iter().find(|issuer| issuer.config.url == url) else {
            return false;
        };
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

/// Asks every issuer once at the start, so that the first token need not wait.
pub fn spawn(server: &Arc<Inner>, tasks: &TaskSet) {
    for issuer in server.authenticator.issuers() {
        let (server, url) = (server.clone(), issuer.config.url.clone());
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
    let url = format!("{}/.well-known/openid-configuration", issuer.config.url.trim_end_matches('/'));
    let discovery = fetch(issuer, &url).await?;
    let unfit = |_| FetchError::Unfit("a discovery document");
    let discovery: Discovery = serde_json::from_slice(&discovery).map_err(unfit)?;
    if discovery.issuer != issuer.config.url {
        return Err(FetchError::Unfit("its own name"));
    }
    let keys = fetch(issuer, &discovery.jwks_uri).await?;
    issuer.set_keys(&keys).map_err(|_| FetchError::Unfit("a key set"))
}

async fn fetch(issuer: &Issuer, url: &str) -> Result<Bytes, FetchError> {
    tokio::time::timeout(FETCH_MAX, get(issuer, url)).await.map_err(|_| FetchError::Late)?
}

async fn get(issuer: &Issuer, url: &str) -> Result<Bytes, FetchError> {
    let wrong = || FetchError::Url(url.to_string());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(wrong)?;
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await.map_err(exchange)?;
    let config = pki::trusting(issuer.config.ca_pem.as_deref()).map_err(exchange)?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_string()).map_err(exchange)?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(exchange)?;
    ask(stream, &uri).await
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, uri: &Uri) -> Result<Bytes, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(exchange)?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, authority).body(Empty::<Bytes>::new()).map_err(exchange)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(exchange)?;
        if !response.status().is_success() {
            return Err(FetchError::Answer(response.status()));
        }
        Ok(Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(FetchError::Exchange)?.to_bytes())
    };
    // The connection is driven while the answer is awaited, and ends with it.
    tokio::select! {
        answer = answer => answer,
        ended = connection => Err(ended.map_or_else(exchange, |()| exchange("the connection ended"))),
    }
}
