//! A small HTTPS server within a test: a webhook, a converter, another API server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long it takes over a path that begins with `/slow`.
const SLOW: Duration = Duration::from_secs(3);

/// What it was asked.
#[derive(Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

type Handler = dyn Fn(&Asked) -> (u16, Value) + Send + Sync;

/// It listens on the loopback and ends with this value.
pub struct Https {
    pub address: SocketAddr,
    pub ca_bundle: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Https {
    /// Under the loopback's address and under the name of a service.
    pub async fn start(service: &str, handler: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), format!("{service}.default.svc")];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::new(handler), asked.clone()));
        Self { address, ca_bundle: STANDARD.encode(certificate.pem()), asked, _tasks: tasks }
    }

    /// A webhook's: the handler gets path and review, and gives the response without its uid.
    pub async fn reviewing(judge: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> Self {
        Self::start("hook", move |asked| {
            let mut response = judge(&asked.path, &asked.body["request"]);
            response["uid"] = asked.body["request"]["uid"].clone();
            let (version, kind) = (&asked.body["apiVersion"], &asked.body["kind"]);
            (200, json!({"apiVersion": version, "kind": kind, "response": response}))
        })
        .await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How a configuration names a path of it.
    pub fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca_bundle})
    }

    /// The same by way of the service [`Https::service`].
    pub fn by_service(&self, name: &str, path: &str) -> Value {
        let service = json!({"namespace": "default", "name": name, "port": self.address.port(), "path": path});
        json!({"service": service, "caBundle": self.ca_bundle})
    }

    /// A service that leads to the loopback, where endpoints may not.
    pub fn service(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"type": "ExternalName", "externalName": "localhost"}})
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, handler: Arc<Handler>, log: Arc<Mutex<Vec<Asked>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, acceptor.clone(), handler.clone(), log.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, handler: Arc<Handler>, log: Arc<Mutex<Vec<Asked>>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, &handler, &log));
    // A client may go at any moment.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    handler: &Arc<Handler>,
    log: &Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
    let asked = Asked { path: parts.uri.to_string(), headers: parts.headers, body };
    let (code, body) = handler(&asked);
    let slow = asked.path.starts_with("/slow");
    log.lock().unwrap().push(asked);
    if slow {
        tokio::time::sleep(SLOW).await;
    }
    let response = Response::builder().status(code).header("content-type", "application/json");
    Ok(response.body(Full::from(body.to_string())).unwrap())
}
