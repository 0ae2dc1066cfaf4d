//! `v5.channel.k8s.io`: a container's streams as numbered channels of one WebSocket; version 4 where the server has no other.

use apimachinery::Status;
use client::Client;
use futures::{Sink, SinkExt, Stream, StreamExt};
use rt::TaskSet;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::{RawTerminal, terminal, websocket};
use crate::Streams;
use crate::failure::{Failure, fail};

const PROTOCOLS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5: the channel named in the message is closed.
const CLOSE: u8 = 255;

/// Messages that may wait to be sent: enough to keep the link busy while the next is read.
const MESSAGES_MAX: usize = 16;
const STDIN_CHUNK: usize = 32 << 10;

/// A remote program, and which of its streams are wanted.
pub struct Remote {
    /// With its query.
    pub path: String,
    pub stdin: bool,
    pub tty: bool,
}

/// Runs the remote program to its end, on the process's own streams.
pub async fn run_remote(client: &Client, remote: &Remote, streams: &Streams) -> Result<(), Failure> {
    let (socket, protocol) = websocket::open(client, &remote.path, PROTOCOLS).await?;
    let raw = if remote.tty { RawTerminal::enter() } else { None };
    let tasks = TaskSet::new();
    let (sink, stream) = socket.split();
    let (messages, queue) = mpsc::channel(MESSAGES_MAX);
    tasks.spawn("websocket writer", write_messages(sink, queue));
    if remote.tty {
        tasks.spawn_until_cancelled("terminal size", send_sizes(messages.clone()));
    }
    if remote.stdin {
        let closes = protocol == "v5.channel.k8s.io";
        tasks.spawn_until_cancelled("stdin", send_input(tokio::io::stdin(), messages.clone(), closes));
    }
    drop(messages);
    let ended = Exchange::new(streams.clone()).receive(stream).await;
    drop(raw);
    tasks.token().cancel();
    drop(tasks);
    ended
}

async fn write_messages(
    mut sink: impl Sink<Message, Error = SocketError> + Unpin + Send,
    mut queue: mpsc::Receiver<Message>,
) {
    while let Some(message) = queue.recv().await {
        // The reader learns that the connection is lost.
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

fn on_channel(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::binary(bytes)
}

async fn send_input(mut input: impl tokio::io::AsyncRead + Unpin, messages: mpsc::Sender<Message>, closes: bool) {
    let mut buffer = vec![0; STDIN_CHUNK];
    loop {
        let read = input.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        if messages.send(on_channel(STDIN, &buffer[..read])).await.is_err() {
            return;
        }
    }
    if closes {
        let _ = messages.send(on_channel(CLOSE, &[STDIN])).await;
    }
}

/// Now, and whenever the window changes.
async fn send_sizes(messages: mpsc::Sender<Message>) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((columns, rows)) = terminal::size() {
            let size = json!({"Width": columns, "Height": rows}).to_string();
            if messages.send(on_channel(RESIZE, size.as_bytes())).await.is_err() {
                return;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// What comes from the remote program.
pub struct Exchange {
    streams: Streams,
    status: Vec<u8>,
}

impl Exchange {
    pub fn new(streams: Streams) -> Self {
        Self { streams, status: Vec::new() }
    }

    /// Passes output on until the server closes; then judges the status.
    pub async fn receive(
        mut self,
        mut stream: impl Stream<Item = Result<Message, SocketError>> + Unpin,
    ) -> Result<(), Failure> {
        while let Some(message) = stream.next().await {
            match message {
                Ok(Message::Binary(bytes)) => self.take(&bytes)?,
                Ok(Message::Close(_)) => break,
                Ok(_) => {}
                Err(error) if self.status.is_empty() => return fail!("lost the connection to the container: {error}"),
                Err(_) => break,
            }
        }
        self.judge()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match bytes.split_first() {
            Some((&STDOUT, data)) if !data.is_empty() => self.streams.print(data)?,
            Some((&STDERR, data)) if !data.is_empty() => self.streams.print_error(data),
            Some((&ERROR, data)) => self.status.extend_from_slice(data),
            _ => {}
        }
        Ok(())
    }

    fn judge(self) -> Result<(), Failure> {
        if self.status.is_empty() {
            return Ok(());
        }
        let Ok(status) = serde_json::from_slice::<Status>(&self.status) else {
            return fail!("error stream protocol error: unknown error: {}", String::from_utf8_lossy(&self.status));
        };
        match status.status.as_str() {
            "Success" => Ok(()),
            _ if status.reason == "NonZeroExitCode" => Err(exit_code(&status)),
            _ => fail!("{}", status.message),
        }
    }
}

fn exit_code(status: &Status) -> Failure {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut codes = causes.filter(|cause| cause.reason == "ExitCode").map(|cause| cause.message.as_str());
    match codes.next().map(str::parse::<u32>) {
        Some(Ok(code)) => {
            let message = format!("command terminated with exit code {code}");
            Failure::Code(message, u8::try_from(code & 0xff).unwrap_or(1))
        }
        _ => Failure::Plain("error stream protocol error: no ExitCode cause given".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn received(messages: Vec<Message>) -> Result<(), Failure> {
        let streams = Streams::new(std::io::sink(), std::io::sink());
        Exchange::new(streams).receive(stream::iter(messages.into_iter().map(Ok))).await
    }

    #[tokio::test]
    async fn the_exit_code_is_the_commands() {
        let status = br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        let failure = received(vec![on_channel(STDOUT, b"x"), on_channel(ERROR, status)]).await.expect_err("failed");
        assert_eq!(failure.report(), ("command terminated with exit code 3".into(), 3));
        let success = on_channel(ERROR, br#"{"status":"Success"}"#);
        assert!(received(vec![success]).await.is_ok());
        let gone = on_channel(ERROR, br#"{"status":"Failure","message":"no such container"}"#);
        let failure = received(vec![gone]).await.expect_err("failed");
        assert_eq!(failure.report(), ("error: no such container".into(), 1));
    }

    /// A server that takes the upgrade and speaks version 5: says hello, then leaves with exit code 3.
    struct Container;

    #[async_trait::async_trait]
    impl client::Transport for Container {
        async fn send(
            &self,
            _: http::Request<client::Body>,
        ) -> Result<http::Response<client::Body>, client::TransportError> {
            Err(client::TransportError::NoUpgrade)
        }

        async fn upgrade(
            &self,
            request: http::Request<client::Body>,
        ) -> Result<(http::Response<client::Body>, Option<Box<dyn client::Upgraded>>), client::TransportError> {
            assert_eq!(request.headers()["sec-websocket-protocol"], PROTOCOLS);
            let key = request.headers()["sec-websocket-key"].as_bytes();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
            let (near, far) = tokio::io::duplex(4096);
            let talking = async move {
                let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
                let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(far, role, None).await;
                let status = br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
                for message in [on_channel(STDOUT, b"hello"), on_channel(STDERR, b"oops"), on_channel(ERROR, status)] {
                    socket.send(message).await.expect("the client listens");
                }
                socket.close(None).await.expect("the client listens");
            };
            std::thread::spawn(|| {
                tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(talking);
            });
            let response = http::Response::builder()
                .status(http::StatusCode::SWITCHING_PROTOCOLS)
                .header("sec-websocket-accept", accept)
                .header("sec-websocket-protocol", "v5.channel.k8s.io")
                .body(client::empty_body());
            Ok((response.expect("an answer"), Some(Box::new(near))))
        }
    }

    #[derive(Clone, Default)]
    struct Sink(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_command_is_run_over_a_websocket() {
        let client = Client::new(std::sync::Arc::new(Container), "test");
        let (out, err) = (Sink::default(), Sink::default());
        let remote = Remote { path: "/api/v1/namespaces/a/pods/b/exec?command=c".into(), stdin: false, tty: false };
        let failure =
            run_remote(&client, &remote, &Streams::new(out.clone(), err.clone())).await.expect_err("exit code");
        assert_eq!(failure.report(), ("command terminated with exit code 3".into(), 3));
        assert_eq!((&out.0.lock()[..], &err.0.lock()[..]), (&b"hello"[..], &b"oops"[..]));
    }

    #[tokio::test]
    async fn input_is_sent_and_closed() {
        let (messages, mut queue) = mpsc::channel(4);
        send_input(&b"hello"[..], messages, true).await;
        assert_eq!(queue.recv().await, Some(on_channel(STDIN, b"hello")));
        assert_eq!(queue.recv().await, Some(Message::binary(vec![CLOSE, STDIN])));
        assert_eq!(queue.recv().await, None);
    }
}
