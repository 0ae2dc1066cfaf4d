//! The listener: TCP, TLS, HTTP/1.1 and HTTP/2, and the renewal of its certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use auth::pki;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rt::TaskSet;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::body::{Body, BoxError};
use crate::pipeline;
use crate::serve::Identity;
use crate::serve::gathering::{Gathered, Gathering};
use crate::server::{Inner, PeerAddress, PeerCertificates, StartError};

/// How long a client may take for the handshake, and for the head of a request.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HEAD_MAX: Duration = Duration::from_secs(32);
/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 10_000;
const STREAMS_MAX: u32 = 1000;
const WINDOW_BYTES: u32 = 4 << 20;
const CERTIFICATE_CHECK_PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Where a server with these sockets is.
pub fn address(listeners: &[Arc<std::net::TcpListener>]) -> Result<Option<SocketAddr>, StartError> {
    listeners.first().map(|first| first.local_addr()).transpose().map_err(StartError::Listen)
}

pub fn start(server: &Arc<Inner>, tasks: &TaskSet) -> Result<(), StartError> {
    let Some(address) = server.address else { return Ok(()) };
    let identity = server.identity()?;
    let acceptor = TlsAcceptor::from(pki::server_config(identity.certificate.clone(), &identity.trust)?);
    spawn_renewal(server, identity, tasks);
    for listener in &server.config.listeners {
        let socket = listener.try_clone().and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        let socket = socket.and_then(TcpListener::from_std).map_err(StartError::Listen)?;
        spawn_accepting(server, socket, &acceptor, tasks);
    }
    tracing::info!(%address, "the API server listens");
    Ok(())
}

fn spawn_accepting(server: &Arc<Inner>, listener: TcpListener, acceptor: &TlsAcceptor, tasks: &TaskSet) {
    let (server, acceptor, connections) = (server.clone(), acceptor.clone(), tasks.clone());
    tasks.spawn_until_cancelled("apiserver-listen", async move {
        accept(&server, &listener, &acceptor, &connections).await;
    });
}

/// Serves with a new certificate when the old one nears its end.
fn spawn_renewal(server: &Arc<Inner>, identity: Identity, tasks: &TaskSet) {
    let server = server.clone();
    tasks.spawn_until_cancelled("apiserver-certificate", async move {
        let mut interval = tokio::time::interval(CERTIFICATE_CHECK_PERIOD);
        loop {
            interval.tick().await;
            let renewed = server.pki.server(&server.server_names());
            if let Err(error) = renewed.and_then(|credentials| identity.certificate.replace(&credentials)) {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot renew the serving certificate");
            }
        }
    });
}

async fn accept(server: &Arc<Inner>, listener: &TcpListener, acceptor: &TlsAcceptor, tasks: &TaskSet) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                // Out of file descriptors: wait until some connection has ended.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (server, acceptor) = (server.clone(), acceptor.clone());
        let stop = tasks.token();
        tasks.spawn("connection", async move {
            let _place = place;
            connection(server, acceptor, stream, PeerAddress(address), stop).await;
        });
    }
}

async fn connection(
    server: Arc<Inner>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: PeerAddress,
    stop: rt::CancellationToken,
) {
    let tuned = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream));
    let tls = match stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(tls))) => tls,
        Some(Ok(Err(error))) => {
            server.metrics.handshakes_failed.fetch_add(1, Relaxed);
            tracing::debug!(error = &error as &dyn std::error::Error, ?tuned, "a TLS handshake failed");
            return;
        }
        Some(Err(_)) => {
            server.metrics.handshakes_failed.fetch_add(1, Relaxed);
            return;
        }
        None => return,
    };
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = PeerCertificates(Arc::new(chain.iter().map(|cert| cert.clone().into_owned()).collect()));
    let end = peer.0.first().and_then(pki::end_of);
    let service = service_fn(move |request: Request<Incoming>| {
        if let Some(end) = end {
            server.metrics.certificate_used(end);
        }
        let answer = serve(server.clone(), peer.clone(), address, request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let builder = builder();
    let gathers = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut connection = Gathering::new(Gathered::new(tls, gathers), |tls| {
        Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(tls), service))
    });
    tokio::select! {
        ended = &mut connection => report(ended),
        () = stop.cancelled() => {
            connection.connection().as_mut().graceful_shutdown();
            // Watches end by the same signal; what still runs gets a moment.
            let _ = tokio::time::timeout(Duration::from_secs(5), connection).await;
        }
    }
}

fn report(ended: Result<(), crate::body::BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(error = &*error as &dyn std::error::Error, "a connection ended");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(1 << 20);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(1 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

fn serve(
    server: Arc<Inner>,
    peer: PeerCertificates,
    address: PeerAddress,
    request: Request<Incoming>,
) -> BoxFuture<'static, Response<Body>> {
    let mut request = request.map(|body| body.map_err(|error| -> BoxError { Box::new(error) }).boxed());
    // Only the certificate speaks for who is behind a connection.
    request.extensions_mut().remove::<auth::UserInfo>();
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(address);
    Box::pin(async move { pipeline::handle(&server, request).await })
}
