//! A watch as JSON values.

use bytes::BytesMut;
use client::{Body, Client};
use http_body_util::BodyExt;
use serde_json::Value;

use super::Call;
use crate::failure::Failure;

pub struct WatchEvent {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, `ERROR`.
    pub kind: String,
    pub object: Value,
}

pub struct Watcher {
    body: Body,
    buffer: BytesMut,
}

impl Watcher {
    pub async fn start(client: &Client, call: Call) -> Result<Self, Failure> {
        let response = call.query("watch", "true").stream(client).await?;
        Ok(Self { body: response.into_body(), buffer: BytesMut::new() })
    }

    /// The next event; `None` when the server ends the watch.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                if line.len() > 1 {
                    return decode(&line).map(Some);
                }
                continue;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(client::Error::Body(error).into()),
                None => return Ok(None),
            }
        }
    }
}

fn decode(line: &[u8]) -> Result<WatchEvent, Failure> {
    let mut event: Value = serde_json::from_slice(line).map_err(client::Error::Decode)?;
    let object = event["object"].take();
    let kind = event["type"].as_str().unwrap_or_default().to_owned();
    if kind == "ERROR"
        && let Ok(status) = serde_json::from_value::<apimachinery::Status>(object.clone())
    {
        return Err(Failure::Server(Box::new(status)));
    }
    Ok(WatchEvent { kind, object })
}
