//! How reviews reach a webhook: HTTPS with pooled connections.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rt::TaskSet;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::Destination;

/// What a webhook may answer at most.
const ANSWER_BYTES_MAX: usize = 3 << 20;
/// Connections to one webhook that are kept for later.
const IDLE_MAX: usize = 25;
/// TLS configurations that are kept; one for each bundle of authorities.
const BUNDLES_MAX: usize = 256;

/// One question on its way.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// With the query.
    pub url: String,
    /// What is dialled; no addresses means what the URL says.
    pub destination: Destination,
    /// Trusted authorities as PEM; those of the system where it is empty.
    pub ca_bundle: Arc<[u8]>,
    pub body: Bytes,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub code: u16,
    pub body: Vec<u8>,
}

/// Why nothing came back. Worded as upstream's client does.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("the URL is invalid")]
    Url,
    #[error("unable to load root certificates: {0}")]
    Bundle(String),
    #[error(transparent)]
    Name(#[from] InvalidDnsNameError),
    #[error("dial tcp {address}: {why}")]
    Dial { address: String, why: String },
    #[error("tls: failed to verify certificate: {0}")]
    Tls(String),
    #[error("{0}")]
    Http(String),
}

/// Carries questions to webhooks.
#[async_trait]
pub trait WebhookCaller: Send + Sync {
    async fn call(&self, exchange: Exchange) -> Result<Reply, ExchangeError>;
}

type Sender = http1::SendRequest<Full<Bytes>>;
/// Host, what is dialled, and whom it must be certified by.
type PoolKey = (String, String, Arc<[u8]>);

/// The real one.
pub struct HttpsCaller {
    tasks: TaskSet,
    bundles: Mutex<HashMap<Arc<[u8]>, Arc<ClientConfig>>>,
    idle: Mutex<HashMap<PoolKey, Vec<Sender>>>,
}

impl HttpsCaller {
    /// Connections live in `tasks`.
    pub fn new(tasks: TaskSet) -> HttpsCaller {
        HttpsCaller { tasks, bundles: Mutex::default(), idle: Mutex::default() }
    }

    fn tls(&self, bundle: &Arc<[u8]>) -> Result<Arc<ClientConfig>, ExchangeError> {
        if let Some(config) = self.bundles.lock().get(bundle) {
            return Ok(config.clone());
        }
        let config = Arc::new(client_config(bundle)?);
        let mut bundles = self.bundles.lock();
        if bundles.len() >= BUNDLES_MAX {
            bundles.clear();
        }
        bundles.insert(bundle.clone(), config.clone());
        Ok(config)
    }

    fn take_idle(&self, key: &PoolKey) -> Option<Sender> {
        let mut idle = self.idle.lock();
        idle.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        idle.get_mut(key)?.pop()
    }

    fn give_back(&self, key: PoolKey, sender: Sender) {
        let mut idle = self.idle.lock();
        let senders = idle.entry(key).or_default();
        if senders.len() < IDLE_MAX {
            senders.push(sender);
        }
    }

    async fn connect(
        &self,
        host: &str,
        destination: &Destination,
        bundle: &Arc<[u8]>,
    ) -> Result<Sender, ExchangeError> {
        let name = ServerName::try_from(host.to_owned())?;
        let config = self.tls(bundle)?;
        let stream = dial(destination).await?;
        let connecting = TlsConnector::from(config).connect(name, stream).await;
        let stream: TlsStream<TcpStream> = connecting.map_err(|error| ExchangeError::Tls(error.to_string()))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| ExchangeError::Http(error.to_string()))?;
        self.tasks.spawn_until_cancelled("webhook-connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection to a webhook ended");
            }
        });
        Ok(sender)
    }
}

#[async_trait]
impl WebhookCaller for HttpsCaller {
    async fn call(&self, exchange: Exchange) -> Result<Reply, ExchangeError> {
        let Exchange { url, destination, ca_bundle, body } = exchange;
        let uri: Uri = url.parse().map_err(|_| ExchangeError::Url)?;
        let host = uri.host().ok_or(ExchangeError::Url)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let destination = match destination {
            Destination::Addresses(none) if none.is_empty() => {
                Destination::Name(host.clone(), uri.port_u16().unwrap_or(443))
            }
            given => given,
        };
        let key = (host.clone(), format!("{destination:?}"), ca_bundle.clone());
        let request = question(&uri, body)?;
        if let Some(mut sender) = self.take_idle(&key) {
            // The webhook may have closed it meanwhile: then nothing was sent, and a new connection is made.
            if sender.ready().await.is_ok() {
                match exchange_over(&mut sender, request.clone()).await {
                    Ok(reply) => {
                        self.give_back(key, sender);
                        return Ok(reply);
                    }
                    Err(error) if !error.is_canceled() => return Err(ExchangeError::Http(error.to_string())),
                    Err(_) => {}
                }
            }
        }
        let mut sender = self.connect(&host, &destination, &ca_bundle).await?;
        let sent = exchange_over(&mut sender, request).await;
        let reply = sent.map_err(|error| ExchangeError::Http(error.to_string()))?;
        self.give_back(key, sender);
        Ok(reply)
    }
}

fn question(uri: &Uri, body: Bytes) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().ok_or(ExchangeError::Url)?.as_str();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(|_| ExchangeError::Url)?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(|_| ExchangeError::Url)?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"));
    Ok(request)
}

/// Redirects are not followed: their answer is none.
async fn exchange_over(sender: &mut Sender, request: Request<Full<Bytes>>) -> Result<Reply, SendError> {
    let response = sender.send_request(request).await?;
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(SendError::Body)?;
    Ok(Reply { code, body: body.to_bytes().into() })
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Send(#[from] hyper::Error),
    #[error("{0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl SendError {
    fn is_canceled(&self) -> bool {
        matches!(self, SendError::Send(error) if error.is_canceled())
    }
}

async fn dial(destination: &Destination) -> Result<TcpStream, ExchangeError> {
    let failed = |address: String, error: std::io::Error| ExchangeError::Dial { address, why: dial_error(&error) };
    match destination {
        Destination::Name(host, port) => {
            names::connect(host, *port).await.map_err(|error| failed(format!("{host}:{port}"), error))
        }
        Destination::Addresses(addresses) => {
            let mut first = None;
            for address in addresses {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => first = first.or(Some(failed(address.to_string(), error))),
                }
            }
            Err(first.unwrap_or(ExchangeError::Url))
        }
    }
}

/// As Go's network library words it.
pub fn dial_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        std::io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

fn client_config(bundle: &[u8]) -> Result<ClientConfig, ExchangeError> {
    let bad = |why: String| ExchangeError::Bundle(why);
    let mut roots = RootCertStore::empty();
    if bundle.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| bad(error.to_string()))?.with_root_certificates(roots).with_no_client_auth())
}
