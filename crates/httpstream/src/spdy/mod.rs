//! SPDY/3.1 as kubectl and the API server speak it: streams that either side opens. Flow control is not used.

mod frame;
mod headers;

use std::io;

use bytes::Bytes;
use rt::{CancellationToken, TaskSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};

use crate::Writer;
use crate::input::{Inputs, PIECES_MAX};
use frame::{Frame, FrameReader, FrameWriter, REFUSED_STREAM};
pub use headers::Headers;

/// The most data in one frame, so that no stream holds the line for long.
const DATA_MAX: usize = 64 << 10;

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("SPDY: {what}"))
}

fn gone<T>(_: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// One side of a connection. It ends, after what was sent is written, when this and all its streams' writers are dropped.
pub struct Connection {
    frames: mpsc::Sender<Frame>,
    inputs: Inputs<u32>,
    /// Ids must rise on the wire: held until the frame is queued.
    next_id: Mutex<u32>,
    opened: mpsc::Receiver<Stream>,
    lost: CancellationToken,
}

impl Connection {
    /// The side that opens streams. Those that the server would open are refused.
    pub fn client(io: impl AsyncRead + AsyncWrite + Send + 'static, tasks: &TaskSet) -> Self {
        Self::start(io, 1, tasks)
    }

    /// The side that takes what the client opens.
    pub fn server(io: impl AsyncRead + AsyncWrite + Send + 'static, tasks: &TaskSet) -> Self {
        Self::start(io, 2, tasks)
    }

    fn start(io: impl AsyncRead + AsyncWrite + Send + 'static, first_id: u32, tasks: &TaskSet) -> Self {
        let (read, write) = tokio::io::split(io);
        let (frames, queue) = mpsc::channel(PIECES_MAX);
        let (accept, opened) = mpsc::channel(PIECES_MAX);
        let (inputs, lost) = (Inputs::new(), CancellationToken::new());
        let accept = (first_id == 2).then_some(accept);
        let receiver = Receiver { frames: frames.downgrade(), inputs: inputs.clone(), accept };
        tasks.spawn_until_cancelled("SPDY writer", write_frames(write, queue));
        // A reader that is cancelled leaves nobody waiting.
        let ended = Ended { inputs: inputs.clone(), lost: lost.clone() };
        tasks.spawn_until_cancelled("SPDY reader", async move {
            let _ended = ended;
            if let Err(error) = receiver.receive(read).await {
                tracing::debug!(%error, "SPDY connection ended");
            }
        });
        Self { frames, inputs, next_id: Mutex::new(first_id), opened, lost }
    }

    /// The next stream that the client opened; None when the connection has ended.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    pub async fn open(&self, headers: &[(&str, &str)]) -> io::Result<Stream> {
        let headers: Headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let mut next_id = self.next_id.lock().await;
        let id = *next_id;
        *next_id += 2;
        let data = self.inputs.open(id);
        let frame = Frame::SynStream { id, fin: false, headers: headers.clone() };
        self.frames.send(frame).await.map_err(gone)?;
        // A reader that has ended before it saw this stream will not end it.
        if self.lost.is_cancelled() {
            self.inputs.close(&id);
            return Err(gone(()));
        }
        Ok(Stream { headers, data, writer: StreamWriter { id, frames: self.frames.clone() } })
    }

    /// Cancelled when the connection has ended.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

/// Both halves of a stream.
pub struct Stream {
    /// What it was opened with.
    pub headers: Headers,
    /// Ends when the peer closes its half, or with the connection.
    pub data: mpsc::Receiver<Bytes>,
    writer: StreamWriter,
}

impl Stream {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn writer(&self) -> Writer {
        Writer::Spdy(self.writer.clone())
    }
}

/// The writing half of a stream.
#[derive(Clone)]
pub struct StreamWriter {
    id: u32,
    frames: mpsc::Sender<Frame>,
}

impl StreamWriter {
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        for part in data.chunks(DATA_MAX) {
            self.frame(false, Bytes::copy_from_slice(part)).await?;
        }
        Ok(())
    }

    /// Closes our half.
    pub async fn finish(&self) -> io::Result<()> {
        self.frame(true, Bytes::new()).await
    }

    async fn frame(&self, fin: bool, data: Bytes) -> io::Result<()> {
        self.frames.send(Frame::Data { id: self.id, fin, data }).await.map_err(gone)
    }
}

async fn write_frames(io: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Frame>) {
    let mut writer = FrameWriter::new(io);
    while let Some(frame) = queue.recv().await {
        if writer.write(&frame).await.is_err() || (queue.is_empty() && writer.flush().await.is_err()) {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Tells all who wait that nothing comes any more.
struct Ended {
    inputs: Inputs<u32>,
    lost: CancellationToken,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.lost.cancel();
        self.inputs.close_all();
    }
}

/// Takes what the peer sends.
struct Receiver {
    /// Weak: answering must not keep a finished connection open.
    frames: mpsc::WeakSender<Frame>,
    inputs: Inputs<u32>,
    accept: Option<mpsc::Sender<Stream>>,
}

impl Receiver {
    async fn receive(self, io: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut reader = FrameReader::new(io);
        while let Some(frame) = reader.next().await? {
            let Some(frames) = self.frames.upgrade() else { return Ok(()) };
            match frame {
                Frame::SynStream { id, fin, headers } => self.stream(id, fin, headers, frames).await?,
                Frame::Data { id, fin, data } => {
                    self.inputs.give(&id, data).await;
                    self.close_if(fin, id);
                }
                Frame::Reply { id, fin, .. } => self.close_if(fin, id),
                Frame::Reset { id, .. } => self.inputs.close(&id),
                Frame::Ping { id } => frames.send(Frame::Ping { id }).await.map_err(gone)?,
                Frame::GoAway => return Ok(()),
                Frame::Other => {}
            }
        }
        Ok(())
    }

    async fn stream(&self, id: u32, fin: bool, headers: Headers, frames: mpsc::Sender<Frame>) -> io::Result<()> {
        let Some(accept) = &self.accept else {
            return frames.send(Frame::Reset { id, status: REFUSED_STREAM }).await.map_err(gone);
        };
        let data = self.inputs.open(id);
        self.close_if(fin, id);
        frames.send(Frame::Reply { id, fin: false, headers: Headers::new() }).await.map_err(gone)?;
        let stream = Stream { headers, data, writer: StreamWriter { id, frames } };
        // Nobody takes streams any more, but those that are open go on.
        let _ = accept.send(stream).await;
        Ok(())
    }

    fn close_if(&self, fin: bool, id: u32) {
        if fin {
            self.inputs.close(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(tasks: &TaskSet) -> (Connection, Connection) {
        let (near, far) = tokio::io::duplex(4096);
        (Connection::client(near, tasks), Connection::server(far, tasks))
    }

    async fn all(mut data: mpsc::Receiver<Bytes>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(part) = data.recv().await {
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    #[tokio::test]
    async fn a_stream_is_opened_answered_and_closed() {
        let tasks = TaskSet::new();
        let (client, mut server) = pair(&tasks);
        let near = client.open(&[("streamType", "data"), ("port", "80")]).await.expect("opened");
        let far = server.accept().await.expect("a stream");
        assert_eq!((far.header("streamtype"), far.header("port")), ("data", "80"));
        let question = vec![7; 3 * DATA_MAX + 1];
        let sending = async {
            near.writer().send(&question).await.expect("sent");
            near.writer().finish().await.expect("finished");
        };
        let writer = far.writer();
        let ((), received) = tokio::join!(sending, all(far.data));
        assert_eq!(received, question);
        writer.send(b"yes").await.expect("sent");
        writer.finish().await.expect("finished");
        assert_eq!(all(near.data).await, b"yes");
        assert!(!client.lost().is_cancelled());
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn the_connection_ends_when_a_side_is_done_with_it() {
        let tasks = TaskSet::new();
        let (client, mut server) = pair(&tasks);
        let near = client.open(&[]).await.expect("opened");
        let far = server.accept().await.expect("a stream");
        let writer = far.writer();
        drop((server, far));
        writer.send(b"last words").await.expect("sent");
        drop(writer);
        assert_eq!(all(near.data).await, b"last words");
        client.lost().cancelled().await;
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn streams_do_not_mix() {
        let tasks = TaskSet::new();
        let (client, mut server) = pair(&tasks);
        let mut near = Vec::new();
        for number in 0..20 {
            let stream = client.open(&[("number", &number.to_string())]).await.expect("opened");
            stream.writer().send(number.to_string().as_bytes()).await.expect("sent");
            stream.writer().finish().await.expect("finished");
            near.push(stream);
        }
        for _ in 0..20 {
            let far = server.accept().await.expect("a stream");
            let number = far.header("number").to_owned();
            assert_eq!(all(far.data).await, number.as_bytes());
        }
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_client_refuses_streams() {
        let tasks = TaskSet::new();
        let (_client, server) = pair(&tasks);
        let stream = server.open(&[]).await.expect("opened");
        assert_eq!(all(stream.data).await, b"");
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn nothing_is_opened_on_a_lost_connection() {
        let tasks = TaskSet::new();
        let (near, far) = tokio::io::duplex(4096);
        let client = Connection::client(near, &tasks);
        drop(far);
        client.lost().cancelled().await;
        assert!(client.open(&[]).await.is_err());
        tasks.shutdown().await;
    }
}
