//! The transport of a command: TLS or plain HTTP, with the manners that flags ask for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Body, BoxError, Endpoint, HttpsTransport, Transport, TransportError, Upgraded};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::Effective;
use super::impersonation::Impersonation;
use super::plugin_transport::PluginTransport;
use crate::Streams;
use crate::failure::Failure;
use crate::flags::Parsed;

/// What is added to each request, and what is said about each answer.
#[derive(Default)]
pub struct Manners {
    impersonation: Impersonation,
    headers: HeaderMap,
    timeout: Option<Duration>,
}

impl Manners {
    pub fn of(parsed: &Parsed) -> Result<Self, Failure> {
        let timeout = timeout(parsed.text("request-timeout"))?;
        Ok(Self { impersonation: Impersonation::of_flags(parsed), headers: HeaderMap::new(), timeout })
    }

    /// With what the kubeconfig says of its user.
    pub fn over(mut self, effective: &Effective) -> Result<Self, Failure> {
        let impersonation = std::mem::take(&mut self.impersonation).over(&effective.user);
        let mut headers = impersonation.headers(&effective.user_name)?;
        if let Some(basic) = effective.basic().filter(|_| effective.is_secure()) {
            let basic = format!("Basic {}", STANDARD.encode(basic));
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&basic).map_err(|_| "not a header's value")?);
        }
        Ok(Self { headers, ..self })
    }
}

/// Seconds as a bare number, or a Go duration; zero is forever.
fn timeout(text: &str) -> Result<Option<Duration>, Failure> {
    let invalid = || {
        Failure::from(
            "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a \
             corresponding time unit (e.g. 1s | 2m | 3h)",
        )
    };
    let nanos = match text.parse::<i64>() {
        Ok(seconds) => seconds.saturating_mul(1_000_000_000),
        Err(_) => crate::duration::parse(text).map_err(|_| invalid())?,
    };
    Ok(u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos))
}

/// The way to a server, with the user's plugin if there is one.
pub fn transport(effective: &Effective, manners: Manners, streams: Streams) -> Result<Arc<dyn Transport>, Failure> {
    let (plugin, address) = (effective.plugin()?, effective.address()?);
    let inner: Arc<dyn Transport> = match plugin.filter(|_| effective.is_secure()) {
        Some(plugin) => Arc::new(PluginTransport::new(plugin, address)),
        None => plain(&address).map_err(client::Error::from)?,
    };
    Ok(Arc::new(Mannered { inner, manners: manners.over(effective)?, streams, said: Mutex::default() }))
}

/// Where a server is, and by which name it is known there.
#[derive(Clone)]
pub struct Address {
    pub endpoint: Endpoint,
    pub server_name: Option<String>,
}

/// TLS or plain HTTP, as the address says.
pub(super) fn plain(address: &Address) -> Result<Arc<dyn Transport>, TransportError> {
    let endpoint = &address.endpoint;
    let Some(rest) = endpoint.server.strip_prefix("http://") else {
        let transport = HttpsTransport::new(endpoint.clone())?;
        return Ok(match &address.server_name {
            Some(name) => Arc::new(transport.with_server_name(name)?),
            None => Arc::new(transport),
        });
    };
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = if prefix.is_empty() { String::new() } else { format!("/{}", prefix.trim_end_matches('/')) };
    let server = endpoint.server.clone();
    let bad = |error: http::uri::InvalidUri| TransportError::Connect { server: server.clone(), source: error.into() };
    let authority = authority.parse().map_err(bad)?;
    Ok(Arc::new(PlainTransport { server, authority, prefix }))
}

/// The way to a server that is no cluster's: nobody's credentials, the machine's certificate authorities.
pub fn web(server: &str) -> Result<Arc<dyn Transport>, Failure> {
    let ca_pem = if server.starts_with("https://") { super::system_roots::pem()? } else { Vec::new() };
    let endpoint = Endpoint { server: server.to_owned(), ca_pem, identity: client::Identity::None };
    Ok(plain(&Address { endpoint, server_name: None }).map_err(client::Error::from)?)
}

struct Mannered {
    inner: Arc<dyn Transport>,
    manners: Manners,
    streams: Streams,
    said: Mutex<Vec<String>>,
}

impl Mannered {
    fn prepare(&self, request: &mut Request<Body>) {
        for (name, value) in &self.manners.headers {
            request.headers_mut().append(name, value.clone());
        }
    }

    /// Repeats the server's warnings, each once.
    fn warn(&self, headers: &HeaderMap) {
        for value in headers.get_all(header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning_text) else { continue };
            let mut said = self.said.lock();
            if !said.contains(&text) {
                self.streams.note(format!("Warning: {text}"));
                said.push(text);
            }
        }
    }

    async fn timed<T>(&self, sending: impl Future<Output = Result<T, TransportError>>) -> Result<T, TransportError> {
        let Some(limit) = self.manners.timeout else { return sending.await };
        tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| {
            Err(TransportError::Exchange { server: String::new(), source: "context deadline exceeded".into() })
        })
    }
}

/// The text of `299 - "text"`.
fn warning_text(value: &str) -> Option<String> {
    let quoted = value.strip_prefix("299 ")?.split_once(" \"")?.1.strip_suffix('"')?;
    Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[async_trait]
impl Transport for Mannered {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, TransportError> {
        self.prepare(&mut request);
        let response = self.timed(self.inner.send(request)).await?;
        self.warn(response.headers());
        Ok(response)
    }

    async fn upgrade(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), TransportError> {
        self.prepare(&mut request);
        self.timed(self.inner.upgrade(request)).await
    }
}

/// HTTP without TLS: what `kubectl proxy` offers on loopback. A connection per request.
struct PlainTransport {
    server: String,
    authority: Authority,
    prefix: String,
}

impl PlainTransport {
    async fn exchange(&self, mut request: Request<Body>) -> Result<Response<hyper::body::Incoming>, TransportError> {
        let connect = |source: BoxError| TransportError::Connect { server: self.server.clone(), source };
        let exchange = |source: BoxError| TransportError::Exchange { server: self.server.clone(), source };
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let stream = names::connect(host, self.authority.port_u16().unwrap_or(80)).await;
        let stream = stream.map_err(|error| connect(error.into()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, driver) = handshake.map_err(|error| exchange(error.into()))?;
        drive(async move { driver.with_upgrades().await.map_err(BoxError::from) });
        let host = HeaderValue::from_str(self.authority.as_str()).map_err(|error| exchange(error.into()))?;
        request.headers_mut().insert(header::HOST, host);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() =
            format!("{}{path}", self.prefix).parse().map_err(|error: http::uri::InvalidUri| exchange(error.into()))?;
        sender.send_request(request).await.map_err(|error| exchange(error.into()))
    }
}

/// Drives a connection until it ends; its end is seen by those who use it.
#[expect(clippy::disallowed_methods, reason = "ends with its connection, which its user holds")]
fn drive(connection: impl Future<Output = Result<(), BoxError>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &*error, "connection to the API server ended");
        }
    });
}

#[async_trait]
impl Transport for PlainTransport {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        Ok(self.exchange(request).await?.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    async fn upgrade(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), TransportError> {
        let mut response = self.exchange(request).await?;
        let mut upgraded: Option<Box<dyn Upgraded>> = None;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let lost =
                |error: hyper::Error| TransportError::Exchange { server: self.server.clone(), source: error.into() };
            upgraded = Some(Box::new(TokioIo::new(hyper::upgrade::on(&mut response).await.map_err(lost)?)));
        }
        Ok((response.map(|body| body.map_err(BoxError::from).boxed_unsync()), upgraded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(warning_text("299 - \"a \\\"b\\\" c\""), Some("a \"b\" c".into()));
        assert_eq!(warning_text("199 - \"x\""), None);
    }

    #[test]
    fn timeouts_are_seconds_or_durations() {
        assert_eq!(timeout("0").expect("zero"), None);
        assert_eq!(timeout("2").expect("seconds"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("2m").expect("minutes"), Some(Duration::from_secs(120)));
        assert!(timeout("soon").is_err());
    }
}
