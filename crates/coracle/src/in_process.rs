//! Requests of components that run beside the API server: into the same pipeline, without TLS.

use apiserver::Server;
use async_trait::async_trait;
use auth::UserInfo;
use client::{Body, Transport, TransportError};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

/// Calls the API server in this process as a given user.
pub struct InProcess {
    server: Server,
    user: UserInfo,
}

impl InProcess {
    pub fn new(server: Server, user: UserInfo) -> Self {
        Self { server, user: user.authenticated() }
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        // An answer may be there without a wait: who asks on and on must not keep its thread for itself.
        tokio::task::consume_budget().await;
        let failed = |source| TransportError::Exchange { server: "the API server in this process".into(), source };
        let (mut head, body) = request.into_parts();
        let bytes = body.collect().await.map_err(failed)?.to_bytes();
        head.extensions.insert(self.user.clone());
        let body = Full::new(bytes).map_err(|never| match never {}).boxed();
        let response = self.server.handle(Request::from_parts(head, body)).await;
        Ok(response.map(BodyExt::boxed_unsync))
    }
}
