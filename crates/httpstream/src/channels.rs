//! `v5.channel.k8s.io` and version 4: a process's streams as numbered channels of one WebSocket.

use std::io;

use bytes::{Buf, Bytes};
use futures::{Sink, SinkExt, Stream, StreamExt};
use rt::{CancellationToken, TaskSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, frame::coding::CloseCode};

use crate::input::{Inputs, PIECES_MAX};
use crate::{CHANNELS_V5, Writer};

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const ERROR: u8 = 3;
pub const RESIZE: u8 = 4;
/// Version 5: the channel named in the message is closed.
const CLOSE: u8 = 255;

/// One side of a connection. It is closed, after what was sent is written, when this and all writers are dropped.
pub struct Channels {
    messages: mpsc::Sender<Message>,
    inputs: Inputs<u8>,
    /// Whether a channel is closed alone.
    closes: bool,
    lost: CancellationToken,
}

impl Channels {
    /// The side that has the terminal. `inputs` names the channels to be read: they are open before anything can come.
    pub async fn client<I, const N: usize>(
        io: I,
        protocol: &str,
        inputs: [u8; N],
        tasks: &TaskSet,
    ) -> (Self, [mpsc::Receiver<Bytes>; N])
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        Self::start(socket, protocol == CHANNELS_V5, inputs, tasks)
    }

    /// The side that has the process. It closes no channel alone: clients complain about what they do not expect.
    pub async fn server<I, const N: usize>(
        io: I,
        inputs: [u8; N],
        tasks: &TaskSet,
    ) -> (Self, [mpsc::Receiver<Bytes>; N])
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        Self::start(socket, false, inputs, tasks)
    }

    fn start<I, const N: usize>(
        socket: WebSocketStream<I>,
        closes: bool,
        inputs: [u8; N],
        tasks: &TaskSet,
    ) -> (Self, [mpsc::Receiver<Bytes>; N])
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, stream) = socket.split();
        let (messages, queue) = mpsc::channel(PIECES_MAX);
        let channels = Self { messages, inputs: Inputs::new(), closes, lost: CancellationToken::new() };
        let data = inputs.map(|channel| channels.inputs.open(channel));
        let ended = Ended { inputs: channels.inputs.clone(), lost: channels.lost.clone() };
        tasks.spawn_until_cancelled("WebSocket writer", write_messages(sink, queue));
        tasks.spawn_until_cancelled("WebSocket reader", read_messages(stream, ended));
        (channels, data)
    }

    pub fn writer(&self, channel: u8) -> Writer {
        Writer::Channel(ChannelWriter { channel, closes: self.closes, messages: self.messages.clone() })
    }

    /// Cancelled when the connection has ended.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

/// The writing half of a channel.
#[derive(Clone)]
pub struct ChannelWriter {
    channel: u8,
    closes: bool,
    messages: mpsc::Sender<Message>,
}

impl ChannelWriter {
    /// Also nothing at all, which tells the peer that the channel is open.
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        self.message(&[&[self.channel], data].concat()).await
    }

    pub async fn finish(&self) -> io::Result<()> {
        if self.closes { self.message(&[CLOSE, self.channel]).await } else { Ok(()) }
    }

    async fn message(&self, bytes: &[u8]) -> io::Result<()> {
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        self.messages.send(message).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

async fn write_messages<S>(mut sink: S, mut queue: mpsc::Receiver<Message>)
where
    S: Sink<Message> + Unpin,
{
    while let Some(message) = queue.recv().await {
        // The reader learns that the connection is lost.
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = sink.send(Message::Close(Some(close))).await;
    let _ = sink.close().await;
}

/// Tells all who wait that nothing comes any more.
struct Ended {
    inputs: Inputs<u8>,
    lost: CancellationToken,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.lost.cancel();
        self.inputs.close_all();
    }
}

async fn read_messages<S, E>(mut stream: S, ended: Ended)
where
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    while let Some(Ok(message)) = stream.next().await {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            _ => continue,
        };
        match data.try_get_u8() {
            Ok(CLOSE) => data.first().into_iter().for_each(|channel| ended.inputs.close(channel)),
            Ok(channel) => ended.inputs.give(&channel, data).await,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CHANNELS_V4;

    #[tokio::test]
    async fn a_client_closes_a_channel_alone_in_version_5() {
        let tasks = TaskSet::new();
        let (near, far) = tokio::io::duplex(4096);
        let (client, [mut stdout]) = Channels::client(near, CHANNELS_V5, [STDOUT], &tasks).await;
        let (server, [mut stdin]) = Channels::server(far, [STDIN], &tasks).await;
        client.writer(STDIN).send(b"in").await.expect("sent");
        client.writer(STDIN).finish().await.expect("finished");
        assert_eq!((stdin.recv().await, stdin.recv().await), (Some(Bytes::from_static(b"in")), None));
        server.writer(STDOUT).send(b"out").await.expect("sent");
        assert_eq!(stdout.recv().await.expect("data"), "out");
        drop(server);
        client.lost().cancelled().await;
        assert_eq!(stdout.recv().await, None);
        tasks.shutdown().await;
    }

    /// All messages of `side` once it is dropped.
    async fn messages(far: tokio::io::DuplexStream, role: Role) -> Vec<Vec<u8>> {
        let mut socket = WebSocketStream::from_raw_socket(far, role, None).await;
        let mut all = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
            all.push(bytes.to_vec());
        }
        all
    }

    #[tokio::test]
    async fn version_4_and_servers_have_no_word_for_the_end_of_a_channel() {
        let tasks = TaskSet::new();
        let (near, far) = tokio::io::duplex(4096);
        let (client, []) = Channels::client(near, CHANNELS_V4, [], &tasks).await;
        let (stdin, _) = (client.writer(STDIN), drop(client));
        stdin.send(b"x").await.expect("sent");
        stdin.finish().await.expect("nothing to do");
        drop(stdin);
        assert_eq!(messages(far, Role::Server).await, [[STDIN, b'x']]);
        let (near, far) = tokio::io::duplex(4096);
        let (server, []) = Channels::server(near, [], &tasks).await;
        let (stdout, _) = (server.writer(STDOUT), drop(server));
        stdout.send(b"").await.expect("sent");
        stdout.finish().await.expect("nothing to do");
        drop(stdout);
        assert_eq!(messages(far, Role::Client).await, [[STDOUT]]);
        tasks.shutdown().await;
    }
}
