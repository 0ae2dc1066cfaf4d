//! Connections to a server that others' group versions come from: kept for the next request, and HTTP/2 where it speaks
//! it. Upgrades get an HTTP/1.1 connection of their own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::Authority;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::failure::{Failure, worded};
use crate::body::{Body, BoxError};

/// As upstream's client keeps them.
const IDLE: Duration = Duration::from_secs(90);
const IDLE_MAX: usize = 25;
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_MAX: Duration = Duration::from_secs(15);
const DIAL_MAX: Duration = Duration::from_secs(30);
const WINDOW_BYTES: u32 = 4 << 20;

/// To all endpoints of one service.
pub struct Connections {
    client: Client<Connector, Body>,
    upgrading: Connector,
}

impl Connections {
    /// The server must be who `name` says, unless `tls` believes anyone.
    pub fn new(tls: &ClientConfig, name: &ServerName<'static>) -> Connections {
        let speaking = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Connector { tls: Arc::new(tls), name: name.clone() }
        };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_MAX)
            .http2_initial_stream_window_size(WINDOW_BYTES)
            .http2_initial_connection_window_size(WINDOW_BYTES)
            .build(speaking(&[b"h2", b"http/1.1"]));
        Connections { client, upgrading: speaking(&[b"http/1.1"]) }
    }

    /// The answer as it comes; or why there is none.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        let response = self.client.request(request).await.map_err(|error| worded(&error))?;
        Ok(response.map(|body| body.map_err(|error| -> BoxError { Box::new(error) }).boxed()))
    }

    /// A fresh connection that speaks HTTP/1.1.
    pub async fn upgradable(&self, authority: &Authority) -> Result<Stream, Failure> {
        self.upgrading.connect(authority).await
    }
}

#[derive(Clone)]
struct Connector {
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    async fn connect(&self, authority: &Authority) -> Result<Stream, Failure> {
        let dial = |source: io::Error| Failure::Dial { address: authority.to_string(), source };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let connecting = names::connect(host, authority.port_u16().unwrap_or(443));
        let stream = tokio::time::timeout(DIAL_MAX, connecting).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(dial)?;
        stream.set_nodelay(true).map_err(dial)?;
        let connecting = TlsConnector::from(self.tls.clone()).connect(self.name.clone(), stream);
        connecting.await.map(Stream).map_err(Failure::Handshake)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let own = self.clone();
        async move {
            let authority = uri.authority().expect("whoever sends names the server");
            own.connect(authority).await.map(TokioIo::new)
        }
        .boxed()
    }
}

/// A connection whose handshake said which protocol it speaks.
pub struct Stream(TlsStream<TcpStream>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.0.get_ref().1.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
