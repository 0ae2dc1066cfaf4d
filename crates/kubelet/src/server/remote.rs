//! Exec and attach, whatever the wire: streams in and out of a session, then how it ended.

use std::io;

use bytes::Bytes;
use container::{Reader, Session, TerminalSize};
use rt::CancellationToken;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::spdy::StreamWriter;
use super::websocket::ChannelWriter;

const CHUNK: usize = 32 * 1024;

/// Where output goes.
pub enum Output {
    Spdy(StreamWriter),
    WebSocket(ChannelWriter),
}

impl Output {
    async fn send(&self, data: &[u8]) -> io::Result<()> {
        match self {
            Output::Spdy(stream) => stream.send(data).await,
            Output::WebSocket(channel) => channel.send(data).await,
        }
    }

    async fn finish(&self) -> io::Result<()> {
        match self {
            Output::Spdy(stream) => stream.finish().await,
            Output::WebSocket(_) => Ok(()),
        }
    }
}

/// The client's side.
pub struct Remote {
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    pub stdout: Option<Output>,
    pub stderr: Option<Output>,
    pub error: Output,
    pub sizes: Option<mpsc::Receiver<TerminalSize>>,
    /// Cancelled when the connection is lost.
    pub lost: CancellationToken,
}

#[derive(Deserialize)]
struct WireSize {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// Terminal sizes come as JSON documents, one after the other.
#[derive(Default)]
pub struct SizeReader(Vec<u8>);

impl SizeReader {
    pub fn take(&mut self, data: &[u8]) -> Vec<TerminalSize> {
        self.0.extend_from_slice(data);
        let mut documents = serde_json::Deserializer::from_slice(&self.0).into_iter::<WireSize>();
        let sizes: Vec<TerminalSize> = documents
            .by_ref()
            .map_while(Result::ok)
            .map(|size| TerminalSize { width: size.width, height: size.height })
            .collect();
        let used = documents.byte_offset();
        self.0.drain(..used);
        // Nobody sends half a size of this length.
        if self.0.len() > 1024 {
            self.0.clear();
        }
        sizes
    }
}

/// Moves data until the session has ended, all output is sent, and the status is told.
pub async fn run(session: Result<Session, String>, remote: Remote) {
    let lost = remote.lost.clone();
    if lost.run_until_cancelled(converse(session, remote)).await.is_none() {
        tracing::debug!("client left before the session ended");
    }
    // Whoever keeps the connection open for us may let go.
    lost.cancel();
}

async fn converse(session: Result<Session, String>, remote: Remote) {
    let status = match session {
        Err(message) => failure(&message),
        Ok(session) => {
            let Session { stdin, stdout, stderr, resize, exit } = session;
            let input = async {
                if let (Some(mut from), Some(mut to)) = (remote.stdin, stdin) {
                    while let Some(data) = from.recv().await {
                        if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown().await;
                }
                std::future::pending::<()>().await
            };
            let sizes = async {
                if let Some(mut sizes) = remote.sizes {
                    while let Some(size) = sizes.recv().await {
                        if resize.send(size).await.is_err() {
                            break;
                        }
                    }
                }
                std::future::pending::<()>().await
            };
            let outputs =
                async { tokio::join!(pump(stdout, remote.stdout.as_ref()), pump(stderr, remote.stderr.as_ref())) };
            // The end of the output comes before the status.
            let end = async {
                let ((), ()) = outputs.await;
                exit.await
            };
            tokio::select! {
                code = end => status_of(code.ok()),
                () = input => unreachable!("input never ends the session"),
                () = sizes => unreachable!("sizes never end the session"),
            }
        }
    };
    for output in [&remote.stdout, &remote.stderr].into_iter().flatten() {
        let _ = output.finish().await;
    }
    let _ = remote.error.send(status.to_string().as_bytes()).await;
    let _ = remote.error.finish().await;
}

async fn pump(from: Option<Reader>, to: Option<&Output>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(to) = to
            && to.send(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}

fn status_of(code: Option<i32>) -> Value {
    match code {
        Some(0) => json!({ "metadata": {}, "status": "Success" }),
        Some(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        None => failure("the end of the process was not seen"),
    }
}

fn failure(message: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: error executing command in container: {message}"),
        "reason": "InternalError",
        "details": { "causes": [{ "message": format!("error executing command in container: {message}") }] },
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_in_pieces() {
        let mut reader = SizeReader::default();
        assert!(reader.take(b"{\"Width\":80,").is_empty());
        let sizes = reader.take(b"\"Height\":24}\n{\"Width\":1,\"Height\":2}");
        assert_eq!(sizes, [TerminalSize { width: 80, height: 24 }, TerminalSize { width: 1, height: 2 }]);
    }

    #[test]
    fn the_exit_code_is_a_cause() {
        let status = status_of(Some(3));
        assert_eq!(status["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "3" }));
        assert_eq!(status_of(Some(0))["status"], "Success");
    }
}
