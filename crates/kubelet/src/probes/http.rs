//! One HTTP request of a probe or a hook: no proxy, no redirect to another host, any certificate.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use api::corev1::HTTPGetAction;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::io_text;

#[derive(Debug, Clone)]
pub struct Target {
    ip: IpAddr,
    port: u16,
    path: String,
    tls: bool,
    headers: Vec<(String, String)>,
}

pub struct Answer {
    pub status: u16,
}

const BODY_MAX: usize = 10 * 1024;

impl Target {
    pub fn new(get: &HTTPGetAction, ip: IpAddr, port: u16) -> Target {
        let own = get.host.as_deref().and_then(|host| host.parse().ok());
        let path = get.path.clone().unwrap_or_default();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Target {
            ip: own.unwrap_or(ip),
            port,
            path,
            tls: get.scheme.as_deref() == Some("HTTPS"),
            headers: get
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        }
    }

    fn authority(&self) -> String {
        std::net::SocketAddr::new(self.ip, self.port).to_string()
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

pub async fn get(target: &Target) -> Result<Answer, String> {
    let failed = |why: String| format!("Get \"{}\": {why}", target.url());
    let stream = TcpStream::connect((target.ip, target.port)).await;
    let stream =
        stream.map_err(|error| failed(format!("dial tcp {}: connect: {}", target.authority(), io_text(&error))))?;
    if !target.tls {
        return exchange(target, stream).await.map_err(failed);
    }
    let connector = tokio_rustls::TlsConnector::from(any_certificate());
    let stream = connector.connect(ServerName::from(target.ip), stream).await;
    exchange(target, stream.map_err(|error| failed(error.to_string()))?).await.map_err(failed)
}

async fn exchange(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Answer, String> {
    let text = |error: hyper::Error| if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = request(target).map_err(|error| error.to_string())?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status().as_u16();
        // Read so that the server is not cut off in the middle of a sentence.
        let _ = Limited::new(answer.into_body(), BODY_MAX).collect().await;
        Ok(Answer { status })
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended.map_err(text)?;
            answer.await
        }
    }
}

fn request(target: &Target) -> Result<hyper::Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = hyper::Request::get(&target.path).body(Empty::new())?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.36"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(HOST, HeaderValue::try_from(target.authority())?);
    for (name, value) in &target.headers {
        let name = HeaderName::try_from(name.as_str())?;
        let value = HeaderValue::try_from(value.as_str())?;
        headers.insert(name, value);
    }
    Ok(request)
}

fn any_certificate() -> Arc<rustls::ClientConfig> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        Arc::new(config)
    };
    CONFIG.get_or_init(make).clone()
}

/// Probes ask whether somebody answers, not who: upstream does not verify either.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
