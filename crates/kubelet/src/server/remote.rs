//! Exec and attach, whatever the wire: streams in and out of a session, then how it ended.

use bytes::Bytes;
use container::{Reader, Session, TerminalSize, Writer as Pipe};
use httpstream::Writer;
use rt::CancellationToken;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const CHUNK: usize = 32 * 1024;

/// The client's side.
pub struct Remote {
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    pub stdout: Option<Writer>,
    pub stderr: Option<Writer>,
    pub error: Writer,
    pub sizes: Option<mpsc::Receiver<Bytes>>,
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
struct SizeReader(Vec<u8>);

impl SizeReader {
    fn take(&mut self, data: &[u8]) -> Vec<TerminalSize> {
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

/// Moves data until the session has ended, all output is sent, and the status is told. An exit code is told if it is that of
/// the client's own process; that of a container which it joined is the pod's affair.
pub async fn run(session: Result<Session, String>, remote: Remote, tells_code: bool) {
    let lost = remote.lost.clone();
    if lost.run_until_cancelled(converse(session, remote, tells_code)).await.is_none() {
        tracing::debug!("client left before the session ended");
    }
}

async fn converse(session: Result<Session, String>, remote: Remote, tells_code: bool) {
    let Remote { stdin, stdout, stderr, error, sizes, lost: _ } = remote;
    let status = match session {
        Err(message) => failure(&message),
        Ok(session) => {
            // The end of the output comes before the status.
            let end = async {
                tokio::join!(pump(session.stdout, stdout.as_ref()), pump(session.stderr, stderr.as_ref()));
                session.exit.await
            };
            let inward = async {
                tokio::join!(feed(stdin, session.stdin), resize(sizes, &session.resize));
                std::future::pending().await
            };
            let code = tokio::select! { code = end => code, never = inward => never };
            status_of(code.ok().map(|code| if tells_code { code } else { 0 }))
        }
    };
    for output in [stdout, stderr].iter().flatten() {
        let _ = output.finish().await;
    }
    let _ = error.send(status.to_string().as_bytes()).await;
    let _ = error.finish().await;
}

/// The end of the client's input is the end of the process's.
async fn feed(from: Option<mpsc::Receiver<Bytes>>, to: Option<Pipe>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    while let Some(data) = from.recv().await {
        if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn resize(from: Option<mpsc::Receiver<Bytes>>, to: &mpsc::Sender<TerminalSize>) {
    let Some(mut from) = from else { return };
    let mut reader = SizeReader::default();
    while let Some(data) = from.recv().await {
        for size in reader.take(&data) {
            if to.send(size).await.is_err() {
                return;
            }
        }
    }
}

async fn pump(from: Option<Reader>, to: Option<&Writer>) {
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
