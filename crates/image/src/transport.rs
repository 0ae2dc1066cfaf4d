//! One request on a connection of its own: the name looked up, the socket, TLS as the registry's configuration has it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use names::{LookupError, Names};
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::registries::Tls;

/// Of each address of a registry.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer. `Display` is what Go's client says, which users search for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("the URL has no host")]
    NoHost,
    #[error("dial tcp: {0}")]
    Lookup(#[from] LookupError),
    #[error("dial tcp {address}: connect: {why}")]
    Connect { address: SocketAddr, why: String },
    #[error("dial tcp {address}: i/o timeout")]
    ConnectTimeout { address: SocketAddr },
    #[error("{0}")]
    TlsFiles(String),
    #[error("tls: failed to verify certificate: x509: {0}")]
    Certificate(String),
    #[error(
        "http: server gave HTTP response to HTTPS client (a mirror endpoint http://… in registries.yaml makes it be \
         asked without TLS)"
    )]
    NotTls,
    #[error("tls: {0}")]
    Tls(std::io::Error),
    #[error("{}", http_error(.0))]
    Http(#[from] hyper::Error),
}

/// How to reach one registry.
pub(crate) struct Transport<'a> {
    tls: &'a Tls,
    names: Names,
    connector: OnceCell<TlsConnector>,
}

impl<'a> Transport<'a> {
    pub fn new(tls: &'a Tls) -> Self {
        Self { tls, names: Names::default(), connector: OnceCell::new() }
    }

    pub async fn exchange(
        &self,
        uri: &Uri,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let host = uri.host().ok_or(ExchangeError::NoHost)?.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        let stream = self.connect(host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 })).await?;
        match secure {
            true => converse(self.secured(host, stream).await?, request).await,
            false => converse(stream, request).await,
        }
    }

    /// Tries every address of the host, and says what was wrong with the first.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ExchangeError> {
        let mut first = None;
        for address in self.names.addresses(host).await? {
            match connect(address, port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| LookupError::Unknown { name: host.to_owned() }.into()))
    }

    async fn secured(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, ExchangeError> {
        let connector = self.connector.get_or_try_init(async || tls_connector(self.tls)).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ExchangeError::NoHost)?;
        connector.connect(name, stream).await.map_err(|error| tls_error(error, host))
    }
}

async fn connect(address: IpAddr, port: u16) -> Result<TcpStream, ExchangeError> {
    let address = SocketAddr::new(address, port);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let connected = connected.map_err(|_| ExchangeError::ConnectTimeout { address })?;
    connected.map_err(|error| ExchangeError::Connect { address, why: go_text(&error) })
}

/// `connection refused`, without the number that Rust adds.
fn go_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// With the cause, which the error itself does not say.
fn http_error(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        _ if error.is_incomplete_message() => "EOF".to_owned(),
        _ if error.is_parse() => {
            format!("net/http: HTTP/1.x transport connection broken: malformed response ({error})")
        }
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn tls_error(error: std::io::Error, host: &str) -> ExchangeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => ExchangeError::Certificate(certificate_error(why, host)),
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => ExchangeError::NotTls,
        _ => ExchangeError::Tls(error),
    }
}

fn certificate_error(error: &CertificateError, host: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not valid for {host}")
        }
        other => other.to_string(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the connection ends with the answer that the caller holds")]
async fn converse<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, ExchangeError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection to a registry ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

fn tls_connector(tls: &Tls) -> Result<TlsConnector, ExchangeError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions");
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    let config = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("key_file", key, &error))?;
            let own = builder.with_client_auth_cert(certificates("cert_file", cert)?, key);
            own.map_err(|error| unreadable("cert_file", cert, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ExchangeError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|error| unreadable(field, path, &error))
}

fn unreadable(field: &str, path: &Path, why: &dyn std::fmt::Display) -> ExchangeError {
    ExchangeError::TlsFiles(format!("{field} {} of registries.yaml: {why}", path.display()))
}

fn roots(tls: &Tls) -> Result<rustls::RootCertStore, ExchangeError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &tls.ca_file {
        for certificate in certificates("ca_file", path)? {
            roots.add(certificate).map_err(|error| unreadable("ca_file", path, &error))?;
        }
    }
    Ok(roots)
}

/// For registries whose configuration says `insecure_skip_verify`.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
