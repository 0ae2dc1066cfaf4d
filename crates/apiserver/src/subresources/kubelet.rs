//! Requests that are answered by somebody else: a kubelet, a pod, a service's endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::Status;
use auth::pki::{self, Pki, PkiError, ServerTrust};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use store::Key;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::{Body, BoxError};
use crate::call::{Call, Upgrade};
use crate::server::Inner;

const CONNECT_MAX: Duration = Duration::from_secs(30);
const KUBELET_PORT: u16 = 10250;

/// How the server speaks to kubelets: with its own client certificate, trusting the cluster's authority.
pub struct KubeletClient {
    tls: Arc<ClientConfig>,
    /// For pods and services: whoever asks for them knows whom he believes.
    trusting: Arc<ClientConfig>,
}

impl KubeletClient {
    pub fn new(pki: &Pki) -> Result<KubeletClient, PkiError> {
        let tls = pki::client_config(&pki.ca, &pki.kubelet_client()?)?;
        Ok(KubeletClient { tls, trusting: pki::proxy_config(ServerTrust::Anyone, None)? })
    }

    pub fn trusting(&self) -> Arc<ClientConfig> {
        self.trusting.clone()
    }
}

/// Where a request goes.
pub struct Backend {
    pub address: SocketAddr,
    /// With what the connection is encrypted, if it is.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Backend {
    /// The kubelet of a node.
    pub fn kubelet(server: &Inner, node: &str) -> Result<Backend, Status> {
        let nodes = apimachinery::GroupResource::new("", "nodes");
        let stored =
            server.store.get(&Key::new("", "nodes", "", node)).ok_or_else(|| Status::not_found(&nodes, node))?;
        let value = stored.value();
        let ip = internal_ip(&value).ok_or_else(|| {
            Status::internal(format!("no preferred addresses found; known addresses: [] of node {node:?}"))
        })?;
        let port = value.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(KUBELET_PORT);
        Ok(Backend { address: SocketAddr::new(ip, port), tls: Some(server.kubelets.tls.clone()) })
    }

    /// Sends a request and gives back the answer as it comes. Upgrades are tunnelled as they are.
    pub async fn send(&self, server: &Inner, call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
        let connect = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(self.address));
        let stream = match connect.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(self.unreachable(&"i/o timeout")),
        };
        let upgrade = call.upgrade.lock().take();
        match &self.tls {
            None => exchange(server, upgrade, stream, request).await,
            Some(config) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                let connector = TlsConnector::from(config.clone());
                let stream = connector.connect(name, stream).await.map_err(|error| self.unreachable(&error))?;
                exchange(server, upgrade, stream, request).await
            }
        }
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Status {
        let why = format!("error trying to reach service: dial tcp {}: {error}", self.address);
        Status::service_unavailable(why)
    }
}

fn internal_ip(node: &Value) -> Option<std::net::IpAddr> {
    let addresses = node.pointer("/status/addresses")?.as_array()?;
    let of = |kind: &str| addresses.iter().find(|address| address["type"] == kind);
    of("InternalIP").or_else(|| of("ExternalIP"))?["address"].as_str()?.parse().ok()
}

/// One request over a fresh connection. An upgrade joins the client's connection to it.
pub async fn exchange<S>(
    server: &Inner,
    upgrade: Option<Upgrade>,
    stream: S,
    request: Request<Body>,
) -> Result<Response<Body>, Status>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| Status::service_unavailable(format!("error trying to reach service: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    server.tasks.spawn_until_cancelled("backend-connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a backend connection ended");
        }
    });
    let mut response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response.map(|body| body.map_err(|error| -> BoxError { Box::new(error) }).boxed()));
    }
    let backend = hyper::upgrade::on(&mut response);
    let Some(client) = upgrade else {
        return Err(Status::bad_request("this connection cannot be upgraded"));
    };
    server.tasks.spawn_until_cancelled("tunnel", async move { tunnel(client, backend).await });
    let (parts, _) = response.into_parts();
    Ok(Response::from_parts(parts, crate::body::empty()))
}

/// Copies both ways until both sides have ended.
async fn tunnel(client: Upgrade, backend: OnUpgrade) {
    let _open = client.open;
    let (client, backend) = match tokio::try_join!(client.connection, backend) {
        Ok(sides) => sides,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "an upgrade failed");
            return;
        }
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a tunnel ended");
    }
}

/// Whether the client asks for another protocol.
pub fn is_upgrade(call: &Call) -> bool {
    call.header("connection").to_ascii_lowercase().split(',').any(|token| token.trim() == "upgrade")
}

/// The client's request for a backend: its headers without credentials and without what belongs to one connection.
pub fn request(call: &Call, method: Method, host: &str, path_and_query: &str) -> Result<Request<Body>, Status> {
    let mut headers = forwarded_headers(&call.headers, is_upgrade(call));
    if let Ok(host) = host.parse() {
        headers.insert(header::HOST, host);
    }
    let mut request = Request::new(call.take_body());
    *request.method_mut() = method;
    *request.uri_mut() = path_and_query.parse().map_err(|_| Status::bad_request("the path cannot be forwarded"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

const PER_CONNECTION: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

fn forwarded_headers(headers: &HeaderMap, upgrade: bool) -> HeaderMap {
    let keeps = |name: &HeaderName| {
        let name = name.as_str();
        let own_business = name == "authorization" || name.starts_with("impersonate-") || name.starts_with("x-remote-");
        let protocol = matches!(name, "connection" | "upgrade") && upgrade;
        !own_business && (protocol || !PER_CONNECTION.contains(&name))
    };
    let kept = headers.iter().filter(|(name, _)| keeps(name));
    let mut out = HeaderMap::new();
    kept.for_each(|(name, value)| {
        out.append(name.clone(), value.clone());
    });
    out
}
