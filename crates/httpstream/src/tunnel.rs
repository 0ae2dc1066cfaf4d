//! A byte stream carried in the binary messages of a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

pub struct Tunnel<I> {
    socket: WebSocketStream<I>,
    /// Received, not read yet.
    rest: Bytes,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Tunnel<I> {
    pub async fn client(io: I) -> Self {
        Self { socket: WebSocketStream::from_raw_socket(io, Role::Client, None).await, rest: Bytes::new() }
    }

    pub async fn server(io: I) -> Self {
        Self { socket: WebSocketStream::from_raw_socket(io, Role::Server, None).await, rest: Bytes::new() }
    }
}

fn lost(error: SocketError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(lost(error))),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(lost)?;
        let message = Message::Binary(Bytes::copy_from_slice(data));
        Pin::new(&mut self.socket).start_send(message).map_err(lost)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(lost)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spdy::Connection;
    use rt::TaskSet;

    #[tokio::test]
    async fn spdy_goes_through_a_websocket() {
        let (near, far) = tokio::io::duplex(4096);
        let tasks = TaskSet::new();
        let client = Connection::client(Tunnel::client(near).await, &tasks);
        let mut server = Connection::server(Tunnel::server(far).await, &tasks);
        let stream = client.open(&[("port", "80")]).await.expect("opened");
        stream.writer().send(b"hello").await.expect("sent");
        let mut far = server.accept().await.expect("a stream");
        assert_eq!(far.data.recv().await.expect("data"), "hello");
        drop((stream, client));
        assert_eq!(far.data.recv().await, None);
        tasks.shutdown().await;
    }
}
