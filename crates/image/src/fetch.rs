//! Speaks to registries: the distribution API, with credentials, tokens, redirects and resumed transfers.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::digest;
use crate::manifest::{ACCEPT, Descriptor, Document, Manifest, architecture, choose};
use crate::registries::Source;
use crate::transport::Transport;
use crate::{ImageError, Reference, RegistryAuth};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A registry that sends nothing for so long is taken for dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
const DOCUMENT_MAX: usize = 16 << 20;
/// A transfer that breaks goes on where it broke, after pauses that double; so often in vain.
const RESUMES_MAX: u32 = 5;
const RESUME_PAUSE_MIN: Duration = Duration::from_millis(100);
/// A transfer that came so much farther did not break in vain.
const RESUME_GAIN_MIN: u64 = 1 << 20;

/// One registry (or mirror) that holds one repository.
pub(crate) struct Fetch<'a> {
    source: &'a Source,
    reference: &'a Reference,
    transport: Transport<'a>,
    /// What `Authorization` says, once the registry asked for it.
    token: Mutex<Option<String>>,
}

/// A blob on its way into a file.
struct Transfer<'a> {
    blob: &'a Descriptor,
    file: tokio::fs::File,
    hash: Sha256,
    received: u64,
}

/// What a pull begins with.
pub(crate) struct Found {
    /// Digest of the manifest or index that the name means.
    pub digest: String,
    pub manifest: Manifest,
    pub config: Bytes,
}

/// What registries say in the body of a refusal.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Fetch<'a> {
    pub fn new(source: &'a Source, reference: &'a Reference) -> Self {
        Self { source, reference, transport: Transport::new(&source.tls), token: Mutex::new(None) }
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
            return Err(self.wrong_digest(&found, version));
        }
        let document = Document::parse(&bytes).map_err(|why| self.unpack_error(why))?;
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
        let mut transfer = Transfer::create(blob, path).await.map_err(ImageError::io("write a layer"))?;
        let (mut tries, mut gained) = (0, 0);
        while let Err(error) = self.go_on(&mut transfer, progress).await {
            if transfer.received >= gained + RESUME_GAIN_MIN {
                (tries, gained) = (0, transfer.received);
            }
            if tries >= RESUMES_MAX || !matches!(error, ImageError::RegistryUnavailable { .. }) {
                return Err(error);
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "transfer broke; resuming");
            tokio::time::sleep(RESUME_PAUSE_MIN * 2u32.pow(tries)).await;
            tries += 1;
        }
        transfer.file.flush().await.map_err(ImageError::io("write a layer"))?;
        let found = digest::text(transfer.hash);
        if found == blob.digest { Ok(()) } else { Err(self.wrong_digest(&found, &blob.digest)) }
    }

    /// Fetches what is missing of the blob, or all of it from a registry that cannot send a part.
    async fn go_on(
        &self,
        transfer: &mut Transfer<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        let (size, from) = (transfer.blob.size, transfer.received);
        if from > 0 && from == size {
            return Ok(());
        }
        let response = self.get(&format!("blobs/{}", transfer.blob.digest), (from > 0).then_some(from)).await?;
        if from > 0 && !continues(&response, from) {
            transfer.begin_again().await.map_err(ImageError::io("write a layer"))?;
        }
        self.copy(response, transfer, progress).await?;
        if transfer.received < size {
            return Err(self.unavailable(format!("unexpected EOF: {} bytes of {size} came", transfer.received)));
        }
        Ok(())
    }

    async fn copy(
        &self,
        response: Response<Incoming>,
        transfer: &mut Transfer<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(STALL_TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| self.unavailable("the registry stopped sending".into()))?;
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|error| self.unavailable(broken(&error)))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Descriptor { digest, size, .. } = transfer.blob;
            if *size > 0 && transfer.received + data.len() as u64 > *size {
                return Err(self.unpack_error(format!("the registry sends more for {digest} than its {size} bytes")));
            }
            transfer.append(&data).await.map_err(ImageError::io("write a layer"))?;
            progress(transfer.received);
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ImageError> {
        let body = http_body_util::Limited::new(response.into_body(), DOCUMENT_MAX);
        let collected = tokio::time::timeout(ANSWER_TIMEOUT, body.collect()).await;
        let collected = collected.map_err(|_| self.unavailable("the registry stopped sending".into()))?;
        Ok(collected.map_err(|error| self.unavailable(broken(&*error)))?.to_bytes())
    }

    /// A GET in the repository, with a token where the registry asks for one.
    async fn get(&self, path: &str, from: Option<u64>) -> Result<Response<Incoming>, ImageError> {
        let uri = format!("{}/v2/{}/{path}", self.source.endpoint, self.source.repository);
        let response = self.follow(&uri, from).await?;
        let response = match self.authenticate(&response).await? {
            true => self.follow(&uri, from).await?,
            false => response,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(path, &uri, response).await)
    }

    async fn refused(&self, path: &str, uri: &str, response: Response<Incoming>) -> ImageError {
        let status = response.status();
        let answer = self.refusal(response).await;
        match status {
            StatusCode::NOT_FOUND if path.starts_with("manifests/") => {
                ImageError::NotFound { reference: self.reference.to_string() }
            }
            StatusCode::NOT_FOUND => self.unpack_error(format!("the registry lacks a part of the image: {path}")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(answer),
            _ => self.unavailable(format!("unexpected status from GET request to {uri}: {answer}")),
        }
    }

    /// The status, and what the registry says to it.
    async fn refusal(&self, response: Response<Incoming>) -> String {
        let status = response.status();
        let errors = self.collect(response).await.ok().and_then(|body| serde_json::from_slice::<Errors>(&body).ok());
        match errors.as_ref().and_then(|errors| errors.errors.first()) {
            Some(error) => format!("{status}: {}: {}", error.code.to_lowercase(), error.message),
            None => status.to_string(),
        }
    }

    /// After a 401, gets what the registry asks for. Returns whether to try again.
    async fn authenticate(&self, response: &Response<Incoming>) -> Result<bool, ImageError> {
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(false);
        }
        let basic = self.source.auth.as_ref().map(basic);
        match challenge(response) {
            Some(Challenge::Basic) => {
                let first = self.token.lock().is_none();
                *self.token.lock() = basic.clone();
                Ok(first && basic.is_some())
            }
            Some(Challenge::Bearer { realm, service }) => {
                let token = self.fetch_token(&realm, service.as_deref(), basic.as_deref()).await?;
                *self.token.lock() = token.map(|token| format!("Bearer {token}"));
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        basic: Option<&str>,
    ) -> Result<Option<String>, ImageError> {
        let separator = if realm.contains('?') { '&' } else { '?' };
        let mut uri = format!("{realm}{separator}scope=repository:{}:pull", self.source.repository);
        if let Some(service) = service {
            uri.push_str(&format!("&service={}", service.replace(' ', "%20")));
        }
        let answer = self.request(&uri, basic, None).await?;
        match answer.status() {
            status if status.is_success() => {
                let token: Token = serde_json::from_slice(&self.collect(answer).await?)
                    .map_err(|error| self.unavailable(format!("the answer of {realm} is no token: {error}")))?;
                Ok(token.token.or(token.access_token))
            }
            status => {
                let why = format!("failed to fetch a token from {realm}: {}", self.refusal(answer).await);
                Err(if status.is_server_error() { self.unavailable(why) } else { self.unauthorized(why) })
            }
        }
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
        let exchange = tokio::time::timeout(ANSWER_TIMEOUT, self.transport.exchange(&uri, request)).await;
        let failed = |why: &dyn Display| self.unavailable(format!("failed to do request: Get \"{uri}\": {why}"));
        exchange.map_err(|_| failed(&"timeout awaiting response headers"))?.map_err(|error| failed(&error))
    }

    fn unavailable(&self, why: String) -> ImageError {
        ImageError::RegistryUnavailable { reference: self.reference.to_string(), why }
    }

    fn unauthorized(&self, why: String) -> ImageError {
        ImageError::Unauthorized { reference: self.reference.to_string(), why }
    }

    fn unpack_error(&self, why: String) -> ImageError {
        ImageError::Unpack { reference: self.reference.to_string(), why }
    }

    fn wrong_digest(&self, found: &str, want: &str) -> ImageError {
        self.unpack_error(format!("the registry sent content with digest {found} for {want}"))
    }
}

impl<'a> Transfer<'a> {
    async fn create(blob: &'a Descriptor, path: &Path) -> std::io::Result<Self> {
        Ok(Self { blob, file: tokio::fs::File::create(path).await?, hash: Sha256::new(), received: 0 })
    }

    async fn append(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.hash.update(data);
        self.received += data.len() as u64;
        self.file.write_all(data).await
    }

    async fn begin_again(&mut self) -> std::io::Result<()> {
        self.file.flush().await?;
        self.file.set_len(0).await?;
        self.file.rewind().await?;
        (self.hash, self.received) = (Sha256::new(), 0);
        Ok(())
    }
}

/// Whether the answer begins where it was asked to.
fn continues(response: &Response<Incoming>, from: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// Why an answer ended before its end.
fn broken(error: &(dyn std::error::Error + 'static)) -> String {
    let cut = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().is_some_and(|error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof)
    };
    match error.source() {
        Some(cause) if cut(cause) => "unexpected EOF: the registry cut its answer".to_owned(),
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn basic(auth: &RegistryAuth) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", auth.username, auth.password)))
}

/// How the registry wants to be told who asks.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The first challenge that can be met.
fn challenge(response: &Response<Incoming>) -> Option<Challenge> {
    let texts = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    texts.filter_map(|value| value.to_str().ok()).find_map(parse_challenge)
}

fn parse_challenge(text: &str) -> Option<Challenge> {
    let (scheme, parameters) = text.split_once(' ').unwrap_or((text, ""));
    let mut parameters = challenge_parameters(parameters);
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            Some(Challenge::Bearer { realm: parameters.remove("realm")?, service: parameters.remove("service") })
        }
        _ => None,
    }
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
