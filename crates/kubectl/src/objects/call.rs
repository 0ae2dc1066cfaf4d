//! One request.

use bytes::Bytes;
use client::{Body, Client, body, empty_body};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::failure::Failure;

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: String,
    accept: &'static str,
    content: Option<(&'static str, Bytes)>,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: String::new(), accept: "application/json", content: None }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(name);
        self.query.push('=');
        self.query.push_str(&encode(value));
        self
    }

    /// With the parameter only if there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) if !value.is_empty() => self.query(name, value),
            _ => self,
        }
    }

    #[must_use]
    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    #[must_use]
    pub fn json(self, content: &Value) -> Self {
        self.content("application/json", content.to_string())
    }

    #[must_use]
    pub fn content(self, kind: &'static str, content: impl Into<Bytes>) -> Self {
        Self { content: Some((kind, content.into())), ..self }
    }

    pub fn path_and_query(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    pub fn request(&self) -> Result<Request<Body>, Failure> {
        let builder = Request::builder()
            .method(self.method.clone())
            .uri(self.path_and_query())
            .header(header::ACCEPT, self.accept);
        let request = match &self.content {
            Some((kind, content)) => builder.header(header::CONTENT_TYPE, *kind).body(body(content.clone())),
            None => builder.body(empty_body()),
        };
        request.map_err(|error| client::Error::from(error).into())
    }

    /// The answer as it comes. A refusal is a failure.
    pub async fn stream(&self, client: &Client) -> Result<Response<Body>, Failure> {
        Ok(client.stream(self.request()?).await?)
    }

    pub async fn bytes(&self, client: &Client) -> Result<Bytes, Failure> {
        let body = self.stream(client).await?.into_body();
        Ok(body.collect().await.map_err(client::Error::Body)?.to_bytes())
    }

    pub async fn value(&self, client: &Client) -> Result<Value, Failure> {
        serde_json::from_slice(&self.bytes(client).await?).map_err(|error| client::Error::Decode(error).into())
    }
}

/// Percent-encodes all but what is unreserved in a URI.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
