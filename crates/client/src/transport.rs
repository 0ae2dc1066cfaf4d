//! What carries requests.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is all there.
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn empty_body() -> Body {
    body(Bytes::new())
}

/// A connection that has left HTTP: exec, attach, port-forward.
pub trait Upgraded: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Upgraded for T {}

/// The request did not reach the server, or its answer did not come back.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("connect to {server}")]
    Connect {
        server: String,
        #[source]
        source: BoxError,
    },
    #[error("exchange with {server}")]
    Exchange {
        server: String,
        #[source]
        source: BoxError,
    },
    #[error("read the credentials")]
    Credentials(#[source] BoxError),
    #[error("this transport cannot upgrade connections")]
    NoUpgrade,
}

/// Carries requests. The URI of a request is a path with its query; the transport knows the server.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError>;

    /// Sends a request that asks to leave HTTP, on a connection of its own. The answer comes without the stream when the
    /// server refuses.
    async fn upgrade(
        &self,
        _request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), TransportError> {
        Err(TransportError::NoUpgrade)
    }
}
