//! One write for many streams.
//!
//! An event wakes the watches of a connection one after another, and HTTP/2 writes and flushes each one's frame by itself: a
//! record of TLS and a call of the kernel for some hundred bytes. A connection of [`Gathered`] bytes that is driven by
//! [`Gathering`] lets all who are ready speak first, and then writes what they said at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::BoxError;

/// So much is kept back at most.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// So much room an idle connection keeps.
const IDLE_BYTES_MAX: usize = 4 * 1024;

/// A stream whose bytes go out when its [`Gathering`] says so, and not when they are flushed.
pub struct Gathered<S> {
    shared: Arc<Mutex<Stream<S>>>,
}

struct Stream<S> {
    stream: S,
    /// Otherwise everything passes through: nobody drives it after an upgrade of HTTP/1.1.
    gathers: bool,
    kept: Vec<u8>,
}

impl<S> Gathered<S> {
    pub fn new(stream: S, gathers: bool) -> Gathered<S> {
        Gathered { shared: Arc::new(Mutex::new(Stream { stream, gathers, kept: Vec::new() })) }
    }
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    fn write_kept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let outcome = loop {
            if written == self.kept.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.stream).poll_write(context, &self.kept[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => written += bytes,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.kept.drain(..written);
        if self.kept.is_empty() && self.kept.capacity() > IDLE_BYTES_MAX {
            self.kept = Vec::new();
        }
        outcome
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_kept(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared.lock().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut *self.shared.lock();
        if !stream.gathers {
            return Pin::new(&mut stream.stream).poll_write_vectored(context, slices);
        }
        if stream.kept.len() >= KEPT_BYTES_MAX {
            ready!(stream.write_kept(context))?;
        }
        slices.iter().for_each(|slice| stream.kept.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut *self.shared.lock();
        if stream.gathers { Poll::Ready(Ok(())) } else { Pin::new(&mut stream.stream).poll_flush(context) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut *self.shared.lock();
        ready!(stream.write_kept(context))?;
        Pin::new(&mut stream.stream).poll_shutdown(context)
    }
}

/// Drives a connection of [`Gathered`] bytes.
pub struct Gathering<F, S> {
    connection: F,
    io: Arc<Mutex<Stream<S>>>,
    gathers: bool,
    has_waited: bool,
}

impl<F, S> Gathering<F, S> {
    /// `drive` makes the connection from its bytes.
    pub fn new(stream: Gathered<S>, drive: impl FnOnce(Gathered<S>) -> F) -> Gathering<F, S> {
        let (io, gathers) = (stream.shared.clone(), stream.shared.lock().gathers);
        Gathering { connection: drive(stream), io, gathers, has_waited: false }
    }

    pub fn connection(&mut self) -> &mut F {
        &mut self.connection
    }
}

impl<F, S> Future for Gathering<F, S>
where
    F: Future<Output = Result<(), BoxError>> + Unpin,
    S: AsyncWrite + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let gathering = &mut *self;
        if !gathering.gathers {
            return Pin::new(&mut gathering.connection).poll(context);
        }
        gathering.has_waited = !gathering.has_waited;
        if gathering.has_waited {
            // Whoever else is ready goes first.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let ended = Pin::new(&mut gathering.connection).poll(context);
        match gathering.io.lock().flush(context) {
            Poll::Ready(Err(error)) if ended.is_pending() => Poll::Ready(Err(error.into())),
            _ => ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_was_flushed_goes_out_at_the_end_of_a_turn() {
        let (stream, mut peer) = tokio::io::duplex(1 << 20);
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let connection = Gathering::new(Gathered::new(stream, true), |mut stream| {
            Box::pin(async move {
                for byte in b"frames" {
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                }
                assert_eq!(stream.shared.lock().kept, b"frames");
                released.await?;
                stream.write_all(b".").await?;
                stream.shutdown().await?;
                Ok::<(), BoxError>(())
            })
        });
        let client = async {
            let mut frames = [0; 6];
            peer.read_exact(&mut frames).await.unwrap();
            release.send(()).unwrap();
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).await.unwrap();
            (frames, rest)
        };
        let (ended, (frames, rest)) = tokio::join!(connection, client);
        ended.unwrap();
        assert_eq!((&frames, &rest[..]), (b"frames", &b"."[..]));
    }

    #[tokio::test]
    async fn a_slow_peer_holds_the_writer_back_and_loses_nothing() {
        let (stream, mut peer) = tokio::io::duplex(1000);
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let text = sent.clone();
        let connection = Gathering::new(Gathered::new(stream, true), |mut stream| {
            Box::pin(async move {
                for piece in text.chunks(5000) {
                    stream.write_all(piece).await?;
                    assert!(stream.shared.lock().kept.len() <= KEPT_BYTES_MAX + 5000);
                }
                stream.shutdown().await?;
                Ok::<(), BoxError>(())
            })
        });
        let mut received = Vec::new();
        let (ended, read) = tokio::join!(connection, peer.read_to_end(&mut received));
        ended.unwrap();
        read.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_ends_the_connection() {
        let (stream, peer) = tokio::io::duplex(10);
        drop(peer);
        let connection = Gathering::new(Gathered::new(stream, true), |mut stream| {
            Box::pin(async move {
                stream.write_all(b"text").await?;
                std::future::pending::<Result<(), BoxError>>().await
            })
        });
        assert!(connection.await.is_err());
    }
}
