//! Opening a WebSocket on a path of the API server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Client, Upgraded};
use http::{Request, header};
use http_body_util::BodyExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::failure::{Failure, fail};

pub type Socket = WebSocketStream<Box<dyn Upgraded>>;

/// The socket, and the subprotocol that the server chose of those offered.
pub async fn open(client: &Client, path: &str, protocols: &str) -> Result<(Socket, String), Failure> {
    let key = STANDARD.encode(nonce());
    let request = Request::get(path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocols)
        .body(client::empty_body())
        .map_err(client::Error::from)?;
    let (response, stream) = client.upgrade(request).await?;
    let Some(stream) = stream else {
        return Err(refused(response).await?);
    };
    let headers = response.headers().clone();
    drop(response);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if text(header::SEC_WEBSOCKET_ACCEPT) != derive_accept_key(key.as_bytes()) {
        return fail!("unable to upgrade connection: the server's handshake does not answer ours");
    }
    let protocol = text(header::SEC_WEBSOCKET_PROTOCOL);
    Ok((WebSocketStream::from_raw_socket(stream, Role::Client, None).await, protocol))
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
async fn refused(response: http::Response<client::Body>) -> Result<Failure, Failure> {
    let code = response.status();
    let bytes = response.into_body().collect().await.map_err(client::Error::Body)?.to_bytes();
    let why = match serde_json::from_slice::<apimachinery::Status>(&bytes) {
        Ok(status) if status.code != 0 => status.message,
        _ => String::from_utf8_lossy(&bytes).trim().to_owned(),
    };
    let why = if why.is_empty() { code.to_string() } else { why };
    Ok(Failure::Plain(format!("unable to upgrade connection: {why}")))
}
