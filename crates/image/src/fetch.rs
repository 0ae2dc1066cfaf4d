//! Speaks to registries: the distribution API over HTTP(S), with mirrors, credentials, tokens and redirects.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::digest;
use crate::manifest::{ACCEPT, Descriptor, Document, Manifest, architecture, choose};
use crate::registries::{Source, Tls};
use crate::{ImageError, Reference, RegistryAuth};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A registry that sends nothing for so long is taken for dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
const DOCUMENT_MAX: usize = 16 << 20;
/// Connections of a transfer that breaks are made again from where it broke, so often.
const RESUMES_MAX: usize = 5;

/// One registry (or mirror) that holds one repository.
pub(crate) struct Fetch<'a> {
    source: &'a Source,
    reference: &'a Reference,
    token: Mutex<Option<String>>,
}

/// What a pull begins with.
pub(crate) struct Found {
    /// Digest of the manifest or index that the name means.
    pub digest: String,
    pub manifest: Manifest,
    pub config: Bytes,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Fetch<'a> {
    pub fn new(source: &'a Source, reference: &'a Reference) -> Self {
        Self { source, reference, token: Mutex::new(None) }
    }

    /// Resolves the name to the manifest for this machine, and fetches the configuration.
    pub async fn find(&self) -> Result<Found, ImageError> {
        let (digest, document) = self.document(self.reference.version()).await?;
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::Index { manifests } => {
                let chosen = choose(&manifests).ok_or_else(|| self.no_platform())?;
                match self.document(&chosen.digest).await?.1 {
                    Document::Manifest(manifest) => manifest,
                    Document::Index { .. } => {
                        return Err(self.unpack_error("an index names an index".into()));
                    }
                }
            }
        };
        let config = self.small_blob(&manifest.config).await?;
        Ok(Found { digest, manifest, config })
    }

    fn no_platform(&self) -> ImageError {
        let platform = format!("linux/{}", architecture());
        ImageError::Platform { reference: self.reference.to_string(), platform }
    }

    async fn document(&self, version: &str) -> Result<(String, Document), ImageError> {
        let path = format!("manifests/{version}");
        let bytes = self.collect(self.get(&path, None).await?).await?;
        let found = digest::of(&bytes);
        if version.starts_with("sha256:") && version != found {
            return Err(self.unpack_error(format!("the manifest has digest {found}, not {version}")));
        }
        let document = serde_json::from_slice(&bytes).map_err(|error| self.unpack_error(error.to_string()))?;
        Ok((found, document))
    }

    async fn small_blob(&self, blob: &Descriptor) -> Result<Bytes, ImageError> {
        let bytes = self.collect(self.get(&format!("blobs/{}", blob.digest), None).await?).await?;
        let found = digest::of(&bytes);
        if found == blob.digest { Ok(bytes) } else { Err(self.wrong_digest(&found, &blob.digest)) }
    }

    /// Fetches a blob into a file, going on where a broken connection stopped. `progress` gets the bytes so far.
    pub async fn blob(
        &self,
        blob: &Descriptor,
        path: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        if !digest::is_valid(&blob.digest) {
            return Err(self.unpack_error(format!("{:?} is no digest", blob.digest)));
        }
        let mut file = tokio::fs::File::create(path).await.map_err(ImageError::io("write a layer"))?;
        let (mut hash, mut received, mut tries) = (Sha256::new(), 0, 0);
        loop {
            let response = self.get(&format!("blobs/{}", blob.digest), (received > 0).then_some(received)).await?;
            if received > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
                return Err(self.unavailable("the registry cannot resume a transfer".into()));
            }
            match self.copy(response, &mut file, &mut hash, &mut received, progress).await {
                Ok(()) => break,
                Err(error) if tries >= RESUMES_MAX => return Err(error),
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "transfer broke; resuming"),
            }
            tries += 1;
        }
        file.flush().await.map_err(ImageError::io("write a layer"))?;
        let found = digest::text(hash);
        if found == blob.digest { Ok(()) } else { Err(self.wrong_digest(&found, &blob.digest)) }
    }

    async fn copy(
        &self,
        response: Response<Incoming>,
        file: &mut tokio::fs::File,
        hash: &mut Sha256,
        received: &mut u64,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(STALL_TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| self.unavailable("the registry stopped sending".into()))?;
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|error| self.unavailable(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            hash.update(&data);
            *received += data.len() as u64;
            file.write_all(&data).await.map_err(ImageError::io("write a layer"))?;
            progress(*received);
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ImageError> {
        let body = http_body_util::Limited::new(response.into_body(), DOCUMENT_MAX);
        let collected = tokio::time::timeout(ANSWER_TIMEOUT, body.collect()).await;
        let collected = collected.map_err(|_| self.unavailable("the registry stopped sending".into()))?;
        Ok(collected.map_err(|error| self.unavailable(error.to_string()))?.to_bytes())
    }

    /// A GET in the repository, with a token where the registry asks for one.
    async fn get(&self, path: &str, from: Option<u64>) -> Result<Response<Incoming>, ImageError> {
        let uri = format!("{}/v2/{}/{path}", self.source.endpoint, self.source.repository);
        let response = self.follow(&uri, from).await?;
        let response = match self.authenticate(&response).await? {
            true => self.follow(&uri, from).await?,
            false => response,
        };
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(ImageError::NotFound { reference: self.reference.to_string() }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ImageError::Unauthorized {
                reference: self.reference.to_string(),
                why: format!("the registry answered {}", response.status()),
            }),
            status => Err(self.unavailable(format!("unexpected status {status} for {uri}"))),
        }
    }

    /// After a 401, gets the token that it asks for. Returns whether to try again.
    async fn authenticate(&self, response: &Response<Incoming>) -> Result<bool, ImageError> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(false);
        }
        let challenge = response.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some((scheme, parameters)) = challenge.and_then(|text| text.split_once(' ')) else {
            return Ok(false);
        };
        let basic = self.source.auth.as_ref().map(basic);
        if scheme.eq_ignore_ascii_case("basic") {
            let first = self.token.lock().is_none();
            *self.token.lock() = basic.clone();
            return Ok(first && basic.is_some());
        }
        let parameters = challenge_parameters(parameters);
        let Some(realm) = parameters.get("realm") else {
            return Ok(false);
        };
        let scope = format!("repository:{}:pull", self.source.repository);
        let mut uri = format!("{realm}?scope={scope}");
        if let Some(service) = parameters.get("service") {
            uri.push_str(&format!("&service={}", service.replace(' ', "%20")));
        }
        let answer = self.request(&uri, basic.as_deref(), None).await?;
        if !answer.status().is_success() {
            return Ok(false);
        }
        let token: Token = serde_json::from_slice(&self.collect(answer).await?)
            .map_err(|error| self.unavailable(format!("the token service's answer: {error}")))?;
        let token = token.token.or(token.access_token);
        *self.token.lock() = token.map(|token| format!("Bearer {token}"));
        Ok(true)
    }

    /// Follows redirects; credentials stay with the host they are for.
    async fn follow(&self, uri: &str, from: Option<u64>) -> Result<Response<Incoming>, ImageError> {
        let token = self.token.lock().clone();
        let mut uri = uri.to_owned();
        for _ in 0..REDIRECTS_MAX {
            let own = authority(&uri) == self.source.host;
            let response = self.request(&uri, token.as_deref().filter(|_| own), from).await?;
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            match location.filter(|_| response.status().is_redirection()) {
                Some(location) => uri = absolute(&uri, location),
                None => return Ok(response),
            }
        }
        Err(self.unavailable("too many redirects".into()))
    }

    async fn request(
        &self,
        uri: &str,
        authorization: Option<&str>,
        from: Option<u64>,
    ) -> Result<Response<Incoming>, ImageError> {
        let uri: Uri = uri.parse().map_err(|_| self.unavailable(format!("{uri:?} is no URL")))?;
        let mut request = Request::get(&uri)
            .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(header::USER_AGENT, concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, ACCEPT);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(from) = from {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let mut request = request.body(Empty::<Bytes>::new()).map_err(|error| self.unavailable(error.to_string()))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| self.unavailable(format!("{path:?} is no path")))?;
        let exchange = tokio::time::timeout(ANSWER_TIMEOUT, exchange(&uri, &self.source.tls, request)).await;
        let answer = exchange.map_err(|_| self.unavailable(format!("{uri}: no answer in time")))?;
        answer.map_err(|error| self.unavailable(format!("Get \"{uri}\": {error}")))
    }

    fn unavailable(&self, why: String) -> ImageError {
        ImageError::RegistryUnavailable { registry: self.source.host.clone(), why }
    }

    fn unpack_error(&self, why: String) -> ImageError {
        ImageError::Unpack { reference: self.reference.to_string(), why }
    }

    fn wrong_digest(&self, found: &str, want: &str) -> ImageError {
        self.unpack_error(format!("the registry sent content with digest {found} for {want}"))
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One request on a connection of its own.
async fn exchange(uri: &Uri, tls: &Tls, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, BoxError> {
    let host = uri.host().ok_or("the URL has no host")?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), port))).await??;
    if !secure {
        return converse(stream, request).await;
    }
    let connector = TlsConnector::from(Arc::new(tls_config(tls)?));
    converse(connector.connect(ServerName::try_from(host)?, stream).await?, request).await
}

#[expect(clippy::disallowed_methods, reason = "the connection ends with the answer that the caller holds")]
async fn converse<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, BoxError>
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

fn tls_config(tls: &Tls) -> Result<rustls::ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    Ok(match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn roots(tls: &Tls) -> Result<rustls::RootCertStore, BoxError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &tls.ca_file {
        for certificate in CertificateDer::pem_file_iter(path)? {
            roots.add(certificate?)?;
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

fn basic(auth: &RegistryAuth) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", auth.username, auth.password)))
}

/// `realm="…",service="…"`.
fn challenge_parameters(text: &str) -> HashMap<String, String> {
    let mut parameters = HashMap::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else {
            break;
        };
        parameters.insert(name.trim_matches([' ', ',']).to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
    parameters
}

fn authority(uri: &str) -> &str {
    uri.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default()
}

fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let scheme = base.split_once("://").map_or("https", |(scheme, _)| scheme);
    format!("{scheme}://{}/{}", authority(base), location.trim_start_matches('/'))
}
