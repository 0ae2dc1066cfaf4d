//! Requests of the server to others who are named by a URL: issuers of tokens, receivers of audit events.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::pki::{self, Credentials};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Uri, header, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::BoxError;

const TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("{0:?} is no URL that can be asked")]
    Url(String),
    #[error("read {what}")]
    Read {
        what: String,
        #[source]
        source: BoxError,
    },
    #[error("exchange with {host}")]
    Exchange {
        host: String,
        #[source]
        source: BoxError,
    },
    #[error("{host} answered {code}")]
    Answer { host: String, code: http::StatusCode },
    #[error("{0} did not answer in time")]
    Late(String),
}

/// Somebody who is asked over HTTP/1.1, a connection for each question.
pub struct Endpoint {
    uri: Uri,
    host: String,
    /// Absent for plain HTTP.
    tls: Option<Arc<ClientConfig>>,
    bearer: Option<String>,
}

impl Endpoint {
    pub fn new(url: &str, ca_pem: Option<&str>, identity: Option<&Credentials>) -> Result<Endpoint, OutboundError> {
        let wrong = || OutboundError::Url(url.to_string());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_string();
        let tls = match uri.scheme_str() {
            Some("https") => Some(pki::trusting(ca_pem, identity).map_err(read("the certificates"))?),
            Some("http") => None,
            _ => return Err(wrong()),
        };
        Ok(Endpoint { uri, host, tls, bearer: None })
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The cluster and user of a kubeconfig's current context.
    pub fn of_kubeconfig(path: &Path) -> Result<Endpoint, OutboundError> {
        let text = std::fs::read_to_string(path).map_err(read(&path.display().to_string()))?;
        let config: Kubeconfig = serde_saphyr::from_str(&text).map_err(read(&path.display().to_string()))?;
        let context = config.contexts.iter().find(|named| named.name == config.current_context);
        let context = context.or(config.contexts.first()).map(|named| &named.context);
        let cluster = context.map_or("", |context| &context.cluster);
        let cluster = config.clusters.iter().find(|named| named.name == cluster).or(config.clusters.first());
        let cluster = cluster.ok_or_else(|| OutboundError::Url(String::new()))?;
        let user = context.and_then(|context| config.users.iter().find(|named| named.name == context.user));
        let user = user.map(|named| &named.user);
        let directory = path.parent().unwrap_or(Path::new(""));
        let ca = material(directory, &cluster.cluster.ca_data, &cluster.cluster.ca_file)?;
        let identity = user.map(|user| user.credentials(directory)).transpose()?.flatten();
        let mut endpoint = Endpoint::new(&cluster.cluster.server, ca.as_deref(), identity.as_ref())?;
        endpoint.bearer = user.map(|user| user.token.clone()).filter(|token| !token.is_empty());
        Ok(endpoint)
    }

    /// Path and query of the URL.
    pub fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// The body of a successful answer.
    pub async fn send(&self, request: request::Builder, body: Bytes) -> Result<Bytes, OutboundError> {
        let answer = tokio::time::timeout(TIME_MAX, self.exchange(request, body));
        answer.await.map_err(|_| OutboundError::Late(self.host.clone()))?
    }

    fn failed<E: Into<BoxError>>(&self) -> impl Fn(E) -> OutboundError + use<'_, E> {
        |error| OutboundError::Exchange { host: self.host.clone(), source: error.into() }
    }

    async fn exchange(&self, request: request::Builder, body: Bytes) -> Result<Bytes, OutboundError> {
        let port = self.uri.port_u16().unwrap_or(if self.is_encrypted() { 443 } else { 80 });
        let stream = TcpStream::connect((self.host.as_str(), port)).await.map_err(self.failed())?;
        let Some(tls) = &self.tls else { return self.ask(stream, request, body).await };
        let name = ServerName::try_from(self.host.clone()).map_err(self.failed())?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(self.failed())?;
        self.ask(stream, request, body).await
    }

    async fn ask<S>(&self, stream: S, request: request::Builder, body: Bytes) -> Result<Bytes, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(self.failed())?;
        let authority = self.uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = request.header(header::HOST, authority);
        if let Some(token) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(self.failed())?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(self.failed())?;
            if !response.status().is_success() {
                return Err(OutboundError::Answer { host: self.host.clone(), code: response.status() });
            }
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            Ok(body.collect().await.map_err(self.failed())?.to_bytes())
        };
        // The connection is driven while the answer is awaited, and ends with it.
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(self.failed()(error)),
            },
        }
    }
}

fn read<E: Into<BoxError>>(what: &str) -> impl FnOnce(E) -> OutboundError + use<E> {
    let what = what.to_string();
    |error| OutboundError::Read { what, source: error.into() }
}

/// What stands in the file, or in the file that it names.
fn material(directory: &Path, data: &str, file: &str) -> Result<Option<String>, OutboundError> {
    if !data.is_empty() {
        let bytes = BASE64_STANDARD.decode(data).map_err(read("data of the kubeconfig"))?;
        return String::from_utf8(bytes).map(Some).map_err(read("data of the kubeconfig"));
    }
    if file.is_empty() {
        return Ok(None);
    }
    std::fs::read_to_string(directory.join(file)).map(Some).map_err(read(file))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    clusters: Vec<NamedCluster>,
    contexts: Vec<NamedContext>,
    users: Vec<NamedUser>,
    current_context: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cluster {
    server: String,
    #[serde(rename = "certificate-authority")]
    ca_file: String,
    #[serde(rename = "certificate-authority-data")]
    ca_data: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
}

impl User {
    fn credentials(&self, directory: &Path) -> Result<Option<Credentials>, OutboundError> {
        let certificate = material(directory, &self.client_certificate_data, &self.client_certificate)?;
        let key = material(directory, &self.client_key_data, &self.client_key)?;
        Ok(certificate.zip(key).map(|(cert_pem, key_pem)| Credentials { cert_pem, key_pem }))
    }
}
