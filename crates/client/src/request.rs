//! Requests that know no kind.

use std::sync::Arc;

use apimachinery::Status;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Body, Error, Transport, Upgraded, body, empty_body};

/// A handle to an API server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: Arc<str>,
}

impl Client {
    /// `user_agent` names the component: the server takes the field manager from it.
    pub fn new(transport: Arc<dyn Transport>, user_agent: &str) -> Self {
        Self { transport, user_agent: user_agent.into() }
    }

    /// The same server, under another name.
    pub fn as_agent(&self, user_agent: &str) -> Self {
        Self { transport: self.transport.clone(), user_agent: user_agent.into() }
    }

    /// Sends any request. `path` is a path with its query. The answer is not judged.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, Error> {
        if let Ok(agent) = self.user_agent.parse() {
            request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
        }
        Ok(self.transport.send(request).await?)
    }

    /// Sends a request that asks to leave HTTP.
    pub async fn upgrade(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Box<dyn Upgraded>>), Error> {
        if let Ok(agent) = self.user_agent.parse() {
            request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
        }
        Ok(self.transport.upgrade(request).await?)
    }

    /// A request with a JSON body (or none), and its answer as a stream. Refusals become [`Error::Api`].
    pub async fn stream(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let bytes = collect(response.into_body()).await?;
        Err(Error::Api(Box::new(refusal(code, &bytes))))
    }

    pub async fn bytes(&self, request: Request<Body>) -> Result<Bytes, Error> {
        collect(self.stream(request).await?.into_body()).await
    }

    /// The answer decoded.
    pub async fn json<R: DeserializeOwned>(&self, request: Request<Body>) -> Result<R, Error> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(Error::Decode)
    }

    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, Error> {
        self.json(build(Method::GET, path, None)?).await
    }

    pub async fn put<B: Serialize + Sync, R: DeserializeOwned>(&self, path: &str, content: &B) -> Result<R, Error> {
        self.json(build_json(Method::PUT, path, content)?).await
    }

    pub async fn post<B: Serialize + Sync, R: DeserializeOwned>(&self, path: &str, content: &B) -> Result<R, Error> {
        self.json(build_json(Method::POST, path, content)?).await
    }
}

pub(crate) fn build(method: Method, path: &str, content: Option<(&str, Bytes)>) -> Result<Request<Body>, Error> {
    let request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    Ok(match content {
        Some((kind, bytes)) => request.header(header::CONTENT_TYPE, kind).body(body(bytes))?,
        None => request.body(empty_body())?,
    })
}

pub(crate) fn build_json<B: Serialize>(method: Method, path: &str, content: &B) -> Result<Request<Body>, Error> {
    let bytes = serde_json::to_vec(content).map_err(Error::Encode)?;
    build(method, path, Some(("application/json", bytes.into())))
}

pub(crate) async fn collect(body: Body) -> Result<Bytes, Error> {
    Ok(body.collect().await.map_err(Error::Body)?.to_bytes())
}

/// The server's `Status`, or one made of what it said instead.
fn refusal(code: http::StatusCode, bytes: &[u8]) -> Status {
    match serde_json::from_slice::<Status>(bytes) {
        Ok(status) if status.code != 0 => status,
        _ => {
            let text = String::from_utf8_lossy(bytes);
            let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
            Status::failure(code.as_u16(), &reason, text.trim())
        }
    }
}
