//! Leaving HTTP on a path of the API server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Body, Client, Upgraded};
use http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt;
use httpstream::{PROTOCOL_HEADER, derive_accept_key};

use crate::failure::{Failure, fail};

/// A connection, and the protocol that the server chose of those offered.
pub struct Switched {
    pub io: Box<dyn Upgraded>,
    pub protocol: String,
}

/// What became of the wish to leave HTTP.
pub enum Answer {
    Switched(Switched),
    /// The server does not want to: another way may be open.
    Refused(Failure),
}

impl Answer {
    pub fn switched(self) -> Result<Switched, Failure> {
        match self {
            Self::Switched(switched) => Ok(switched),
            Self::Refused(failure) => Err(failure),
        }
    }
}

pub async fn websocket(client: &Client, path: &str, protocols: &[&str]) -> Result<Answer, Failure> {
    let key = STANDARD.encode(nonce());
    let request = Request::get(path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocols.join(", "));
    match switch(client, request).await? {
        Err(refused) => Ok(Answer::Refused(refused)),
        Ok((_, headers)) if text(&headers, "sec-websocket-accept") != derive_accept_key(key.as_bytes()) => {
            fail!("unable to upgrade connection: the server's handshake does not answer ours")
        }
        Ok((io, headers)) => Ok(chosen(io, text(&headers, "sec-websocket-protocol"), protocols)),
    }
}

pub async fn spdy(client: &Client, path: &str, protocols: &[&str]) -> Result<Answer, Failure> {
    let mut request = Request::post(path).header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "SPDY/3.1");
    for protocol in protocols {
        request = request.header(PROTOCOL_HEADER, *protocol);
    }
    match switch(client, request).await? {
        Err(refused) => Ok(Answer::Refused(refused)),
        Ok((io, headers)) => Ok(chosen(io, text(&headers, PROTOCOL_HEADER), protocols)),
    }
}

fn chosen(io: Box<dyn Upgraded>, protocol: String, offered: &[&str]) -> Answer {
    if offered.contains(&protocol.as_str()) {
        return Answer::Switched(Switched { io, protocol });
    }
    Answer::Refused(Failure::Plain(format!(
        "unable to negotiate protocol: client supports {offered:?}, server returned {protocol:?}"
    )))
}

/// The connection and the answer's headers, or why there is none.
async fn switch(
    client: &Client,
    request: http::request::Builder,
) -> Result<Result<(Box<dyn Upgraded>, HeaderMap), Failure>, Failure> {
    let request = request.body(client::empty_body()).map_err(client::Error::from)?;
    let (response, stream) = client.upgrade(request).await?;
    match stream {
        Some(stream) => Ok(Ok((stream, response.headers().clone()))),
        None => Ok(Err(refusal(response).await?)),
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Sixteen bytes that nobody has used before; they keep caches apart, no more.
fn nonce() -> [u8; 16] {
    use std::hash::{BuildHasher, Hasher};
    let number = || std::collections::hash_map::RandomState::new().build_hasher().finish().to_be_bytes();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number());
    nonce[8..].copy_from_slice(&number());
    nonce
}

/// What the server says, or its bare code.
async fn refusal(response: Response<Body>) -> Result<Failure, Failure> {
    let code = response.status();
    let bytes = response.into_body().collect().await.map_err(client::Error::Body)?.to_bytes();
    if let Ok(status) = serde_json::from_slice::<apimachinery::Status>(&bytes)
        && status.code != 0
    {
        return Ok(Failure::Server(Box::new(status)));
    }
    let why = String::from_utf8_lossy(&bytes).trim().to_owned();
    let why = if why.is_empty() { code.to_string() } else { why };
    Ok(Failure::Plain(format!("unable to upgrade connection: {why}")))
}
