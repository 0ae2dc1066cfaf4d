//! Requests over TLS to an API server on another machine, or in another process.
//!
//! One HTTP/2 connection carries all requests. It is made on first use and made anew after it broke; pings notice a
//! server that went away silently. Upgrades get an HTTP/1.1 connection of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::metrics;
use crate::{Body, BoxError, ClientCertificate, Transport, TransportError, Upgraded};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Defaults starve watches that share a connection with large lists.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Who the client is.
#[derive(Clone, Debug)]
pub enum Identity {
    Certificate {
        cert_pem: Vec<u8>,
        key_pem: Vec<u8>,
    },
    /// Replaced by whoever holds it too.
    Renewed(Arc<ClientCertificate>),
    Token(String),
    /// Read anew for each connection and request: bound tokens rotate.
    TokenFile(PathBuf),
    None,
}

/// An API server and how to speak to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://host:port`, with a path prefix where the server has one.
    pub server: String,
    /// The certificates that the server's must descend from. Empty: anybody is believed, which is for fetching the
    /// authority that a join token pins, and for nothing else.
    pub ca_pem: Vec<u8>,
    pub identity: Identity,
}

pub struct HttpsTransport {
    server: String,
    authority: Authority,
    prefix: String,
    host: ServerName<'static>,
    tls: Arc<ClientConfig>,
    identity: Identity,
    connection: Mutex<Option<Shared>>,
}

/// The connection of all requests, and what it showed.
struct Shared {
    sender: http2::SendRequest<Body>,
    certificate: Option<Arc<CertifiedKey>>,
}

impl Shared {
    fn shows(&self, certificate: Option<&Arc<CertifiedKey>>) -> bool {
        match (&self.certificate, certificate) {
            (Some(mine), Some(current)) => Arc::ptr_eq(mine, current),
            (mine, current) => mine.is_none() && current.is_none(),
        }
    }
}

impl HttpsTransport {
    pub fn new(endpoint: Endpoint) -> Result<Self, TransportError> {
        let bad = |source: BoxError| TransportError::Connect { server: endpoint.server.clone(), source };
        let uri: Uri = endpoint.server.parse().map_err(|error: http::uri::InvalidUri| bad(error.into()))?;
        let authority = uri.authority().cloned().ok_or_else(|| bad("the address has no host".into()))?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(bad("the address must begin with https://".into()));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let host = ServerName::try_from(host).map_err(|error| bad(error.into()))?;
        let tls = Arc::new(tls_config(&endpoint).map_err(TransportError::Credentials)?);
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let Endpoint { server, identity, .. } = endpoint;
        Ok(Self { server, authority, prefix, host, tls, identity, connection: Mutex::new(None) })
    }

    /// Expects the server's certificate to be for this name, whatever the address says.
    pub fn with_server_name(self, name: &str) -> Result<Self, TransportError> {
        match ServerName::try_from(name.to_owned()) {
            Ok(host) => Ok(Self { host, ..self }),
            Err(error) => Err(TransportError::Connect { server: self.server.clone(), source: error.into() }),
        }
    }

    async fn connect(&self, alpn: &[u8]) -> Result<TlsStream<TcpStream>, TransportError> {
        let failed = |source: BoxError| TransportError::Connect { server: self.server.clone(), source };
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![alpn.to_vec()];
        let connecting = async {
            let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
            let stream = names::connect(host, self.authority.port_u16().unwrap_or(443)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::new(tls)).connect(self.host.clone(), stream).await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| failed(error.into())),
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }

    /// The shared connection, made where there is none that works.
    async fn sender(&self) -> Result<http2::SendRequest<Body>, TransportError> {
        let mut connection = self.connection.lock().await;
        let certificate = match &self.identity {
            Identity::Renewed(certificate) => Some(certificate.current()),
            _ => None,
        };
        let works = |shared: &&Shared| !shared.sender.is_closed() && shared.shows(certificate.as_ref());
        if let Some(shared) = connection.as_ref().filter(works) {
            return Ok(shared.sender.clone());
        }
        let stream = self.connect(b"h2").await?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(|error| self.exchange(error))?;
        drive(async move { driver.await.map_err(BoxError::from) });
        *connection = Some(Shared { sender: sender.clone(), certificate });
        Ok(sender)
    }

    async fn exchange_over(&self, mut request: Request<Body>) -> Result<Response<Body>, TransportError> {
        self.address(&mut request)?;
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(|error| self.exchange(error))?;
        Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    fn exchange(&self, error: impl Into<BoxError>) -> TransportError {
        TransportError::Exchange { server: self.server.clone(), source: error.into() }
    }

    /// Adds the server and the credentials to a request whose URI is a path.
    fn address(&self, request: &mut Request<Body>) -> Result<(), TransportError> {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
            .map_err(|error| self.exchange(error))?;
        *request.uri_mut() = uri;
        if let Some(token) = self.token()? {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|error| TransportError::Credentials(error.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(())
    }

    fn token(&self) -> Result<Option<String>, TransportError> {
        match &self.identity {
            Identity::Token(token) => Ok(Some(token.clone())),
            Identity::TokenFile(path) => match std::fs::read_to_string(path) {
                Ok(token) => Ok(Some(token.trim().to_owned())),
                Err(error) => Err(TransportError::Credentials(error.into())),
            },
            Identity::Certificate { .. } | Identity::Renewed(_) | Identity::None => Ok(None),
        }
    }
}

/// Drives a connection until it ends. Its end is seen by those who use it.
#[expect(clippy::disallowed_methods, reason = "ends with its connection, which its users hold")]
fn drive(connection: impl Future<Output = Result<(), BoxError>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &*error, "connection to the API server ended");
        }
    });
}

#[async_trait]
impl Transport for HttpsTransport {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (method, began) = (request.method().clone(), Instant::now());
        let answer = self.exchange_over(request).await;
        let code = answer.as_ref().ok().map(|response| response.status().as_u16());
        metrics::count(self.authority.as_str(), method.as_str(), code, began.elapsed());
        answer
    }

    async fn upgrade(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), TransportError> {
        self.address(&mut request)?;
        let host = HeaderValue::from_str(self.authority.as_str()).map_err(|error| self.exchange(error))?;
        request.headers_mut().insert(header::HOST, host);
        let stream = self.connect(b"http/1.1").await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, driver) = handshake.map_err(|error| self.exchange(error))?;
        drive(async move { driver.with_upgrades().await.map_err(BoxError::from) });
        let mut response = sender.send_request(request).await.map_err(|error| self.exchange(error))?;
        let upgraded: Option<Box<dyn Upgraded>> = if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| self.exchange(error))?;
            Some(Box::new(TokioIo::new(upgraded)))
        } else {
            None
        };
        Ok((response.map(|body| body.map_err(BoxError::from).boxed_unsync()), upgraded))
    }
}

fn tls_config(endpoint: &Endpoint) -> Result<ClientConfig, BoxError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&endpoint.ca_pem) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = if endpoint.ca_pem.is_empty() {
        config.dangerous().with_custom_certificate_verifier(Arc::new(unverified::AnyServer(provider)))
    } else {
        config.with_root_certificates(roots)
    };
    Ok(match &endpoint.identity {
        Identity::Certificate { cert_pem, key_pem } => {
            let chain = CertificateDer::pem_slice_iter(cert_pem).collect::<Result<Vec<_>, _>>()?;
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key_pem)?)?
        }
        Identity::Renewed(certificate) => config.with_client_cert_resolver(certificate.clone()),
        _ => config.with_no_client_auth(),
    })
}

/// Believes any server.
mod unverified {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    #[derive(Debug)]
    pub(super) struct AnyServer(pub Arc<CryptoProvider>);

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
