//! WebSockets: the channel protocols of exec and attach, and a byte stream for tunnelled SPDY.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use container::TerminalSize;
use futures::{Sink, SinkExt, Stream, StreamExt};
use rt::{CancellationToken, TaskSet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, frame::coding::CloseCode};

use super::remote::{Output, Remote, SizeReader};

pub use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const MESSAGES_MAX: usize = 32;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5: the named channel is closed.
const CLOSE: u8 = 255;

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

pub struct ChannelWriter {
    channel: u8,
    messages: mpsc::Sender<Message>,
}

impl ChannelWriter {
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(self.channel);
        message.extend_from_slice(data);
        self.messages.send(Message::binary(message)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Opens the channels on an upgraded connection. The connection is closed when the remote is dropped.
pub async fn open<I>(io: I, wanted: Wanted, tasks: &TaskSet) -> Remote
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (sink, stream) = socket.split();
    let (messages, queue) = mpsc::channel(MESSAGES_MAX);
    let (stdin, stdin_receiver) = mpsc::channel(MESSAGES_MAX);
    let (sizes, size_receiver) = mpsc::channel(MESSAGES_MAX);
    let lost = CancellationToken::new();
    let writer = |channel| ChannelWriter { channel, messages: messages.clone() };
    let remote = Remote {
        stdin: wanted.stdin.then_some(stdin_receiver),
        stdout: wanted.stdout.then(|| Output::WebSocket(writer(STDOUT))),
        stderr: (wanted.stderr && !wanted.tty).then(|| Output::WebSocket(writer(STDERR))),
        error: Output::WebSocket(writer(ERROR)),
        sizes: wanted.tty.then_some(size_receiver),
        lost: lost.clone(),
    };
    // An empty message tells the client that the streams are open.
    let first = if wanted.stdout {
        STDOUT
    } else if wanted.stderr {
        STDERR
    } else {
        ERROR
    };
    let _ = writer(first).send(&[]).await;
    drop(messages);
    tasks.spawn_until_cancelled("websocket writer", write_messages(sink, queue));
    tasks.spawn_until_cancelled("websocket reader", read_messages(stream, stdin, sizes, lost));
    remote
}

async fn write_messages<S>(mut sink: S, mut queue: mpsc::Receiver<Message>)
where
    S: Sink<Message> + Unpin,
{
    while let Some(message) = queue.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = sink.send(Message::Close(Some(close))).await;
    let _ = sink.close().await;
}

async fn read_messages<S, E>(
    mut stream: S,
    stdin: mpsc::Sender<Bytes>,
    sizes: mpsc::Sender<TerminalSize>,
    lost: CancellationToken,
) where
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    let mut stdin = Some(stdin);
    let mut reader = SizeReader::default();
    while let Some(Ok(message)) = stream.next().await {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Message::Close(_) => break,
            _ => continue,
        };
        if data.is_empty() {
            continue;
        }
        match data.get_u8() {
            STDIN if !data.is_empty() => {
                if let Some(sender) = &stdin
                    && sender.send(data).await.is_err()
                {
                    stdin = None;
                }
            }
            RESIZE => {
                for size in reader.take(&data) {
                    let _ = sizes.send(size).await;
                }
            }
            CLOSE if data.first() == Some(&STDIN) => stdin = None,
            _ => {}
        }
    }
    lost.cancel();
}

/// A WebSocket whose binary messages are one stream of bytes.
pub struct Tunnel<I> {
    socket: WebSocketStream<I>,
    rest: Bytes,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Tunnel<I> {
    pub async fn open(io: I) -> Tunnel<I> {
        Tunnel { socket: WebSocketStream::from_raw_socket(io, Role::Server, None).await, rest: Bytes::new() }
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.socket.poll_next_unpin(context)) {
                Some(Ok(Message::Binary(data))) => self.rest = data,
                None | Some(Ok(Message::Close(_)) | Err(_)) => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        let part = self.rest.split_to(length);
        buffer.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_ready_unpin(context)).map_err(broken)?;
        self.socket.start_send_unpin(Message::binary(data.to_vec())).map_err(broken)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(context).map_err(broken)
    }
}
