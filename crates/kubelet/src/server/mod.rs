//! The kubelet's HTTP server: logs, exec, attach, port-forward, and what the node says of itself.
//!
//! Start at [`Server::serve`]; `routes` says which path does what.

mod access;
mod attributes;
mod log_changes;
pub mod logs;
mod port_forward;
mod remote;
mod reports;
mod routes;
mod streaming;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rt::TaskSet;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::context::Context;
use crate::pods::manager::Manager;
use access::{Access, Refusal};
pub use access::{Caller, Identify};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

#[derive(Clone)]
pub struct Server {
    context: Arc<Context>,
    manager: Arc<Manager>,
}

impl Server {
    pub(crate) fn new(context: Arc<Context>, manager: Arc<Manager>) -> Server {
        Server { context, manager }
    }

    /// Serves until the kubelet's task set is cancelled. `identify` judges certificates; the TLS configuration lets pass whom it
    /// may.
    pub async fn serve(self, listener: TcpListener, tls: Arc<rustls::ServerConfig>, identify: Box<Identify>) {
        let access = Access::new(self.context.client.clone(), &self.context.config.node_name, identify);
        let access = Arc::new(access);
        let acceptor = TlsAcceptor::from(tls);
        let tasks = self.context.tasks.child();
        let token = tasks.token();
        while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
            let Ok((stream, _)) = accepted else { continue };
            let (server, acceptor, access) = (self.clone(), acceptor.clone(), Arc::clone(&access));
            let connection_tasks = tasks.clone();
            tasks.spawn_until_cancelled("kubelet connection", async move {
                let stream = match acceptor.accept(stream).await {
                    Ok(stream) => stream,
                    Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
                };
                let certificates: Vec<CertificateDer<'static>> = stream
                    .get_ref()
                    .1
                    .peer_certificates()
                    .unwrap_or_default()
                    .iter()
                    .map(|c| c.clone().into_owned())
                    .collect();
                let certificates = Arc::new(certificates);
                let service = service_fn(move |request| {
                    let (server, access) = (server.clone(), Arc::clone(&access));
                    let (certificates, tasks) = (Arc::clone(&certificates), connection_tasks.clone());
                    async move {
                        Ok::<_, std::convert::Infallible>(server.answer(request, &certificates, &access, &tasks).await)
                    }
                });
                let served = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
    }

    async fn answer(
        &self,
        request: Request<hyper::body::Incoming>,
        certificates: &[CertificateDer<'static>],
        access: &Access,
        tasks: &TaskSet,
    ) -> Response<Body> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        if let Err(Refusal(code, why)) = access.check(certificates, request.headers(), method, path).await {
            return text(code, why);
        }
        routes::route(self, request, tasks).await
    }
}

fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn text(code: StatusCode, message: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(body(message.into()));
    *response.status_mut() = code;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, plain);
    response
}
