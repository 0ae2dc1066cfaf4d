//! A pod's ports: each connection is a pair of SPDY streams.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use client::Client;
use httpstream::spdy::{Connection, Stream};
use httpstream::{PORT_FORWARD, PORT_FORWARD_TUNNEL, Tunnel, Writer};
use rt::TaskSet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::upgrade::{self, Answer};
use crate::failure::Failure;

const CHUNK: usize = 32 << 10;

/// A connection to a pod's port-forwarding server.
pub struct Forwarder {
    connection: Connection,
    requests: AtomicU32,
    tasks: TaskSet,
}

impl Forwarder {
    /// SPDY inside a WebSocket; bare where the server refuses that.
    pub async fn connect(client: &Client, path: &str) -> Result<Self, Failure> {
        let tasks = TaskSet::new();
        let connection = match upgrade::websocket(client, path, &[PORT_FORWARD_TUNNEL]).await? {
            Answer::Switched(switched) => Connection::client(Tunnel::client(switched.io).await, &tasks),
            Answer::Refused(refused) => {
                tracing::debug!(refused = refused.text(), "no WebSocket; asking for SPDY");
                let switched = upgrade::spdy(client, path, &[PORT_FORWARD]).await?.switched()?;
                Connection::client(switched.io, &tasks)
            }
        };
        Ok(Self { connection, requests: AtomicU32::new(0), tasks })
    }

    /// Resolves when the connection has ended.
    pub async fn lost(&self) {
        self.connection.lost().cancelled().await;
    }

    pub fn tasks(&self) -> &TaskSet {
        &self.tasks
    }

    /// Opens the streams for one connection to a port. The error stream goes first, and is closed from here.
    pub async fn open(&self, port: u16) -> io::Result<PortStreams> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let port = port.to_string();
        let headers = |kind| [("streamType", kind), ("port", port.as_str()), ("requestID", request.as_str())];
        let error = self.connection.open(&headers("error")).await?;
        error.writer().finish().await?;
        let data = self.connection.open(&headers("data")).await?;
        Ok(PortStreams { data, error })
    }
}

/// The two streams of one forwarded connection.
pub struct PortStreams {
    data: Stream,
    error: Stream,
}

impl PortStreams {
    /// Copies both ways until the pod's side has ended. The answer is what the server says went wrong.
    pub async fn copy(self, local: impl AsyncRead + AsyncWrite) -> io::Result<String> {
        let (read, write) = tokio::io::split(local);
        let upward = send_all(read, self.data.writer());
        // The server ends both streams when the pod's side is done; then the client's half is of no more use.
        let received = async { (receive_all(self.data, write).await, text_of(self.error).await) };
        tokio::pin!(upward, received);
        let (written, complaint) = tokio::select! {
            received = &mut received => received,
            sent = &mut upward => {
                sent?;
                received.await
            }
        };
        written.map(|()| complaint)
    }
}

async fn send_all(mut from: impl AsyncRead + Unpin, to: Writer) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.finish().await,
            length => to.send(&buffer[..length]).await?,
        }
    }
}

async fn receive_all(mut from: Stream, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(bytes) = from.data.recv().await {
        to.write_all(&bytes).await?;
    }
    to.shutdown().await
}

async fn text_of(mut stream: Stream) -> String {
    let mut text = Vec::new();
    while let Some(bytes) = stream.data.recv().await {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8_lossy(&text).into_owned()
}
