//! The client's side of SPDY/3.1, as port forwarding speaks it: streams are opened with compressed headers, data goes
//! both ways, and the replies' headers say nothing that is needed. Flow control is not used by either side.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use client::Client;
use flate2::{Compress, Compression, FlushCompress};
use parking_lot::Mutex;
use rt::TaskSet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{tunnel::Tunnel, websocket};
use crate::failure::{Failure, fail};

const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// Frames that may wait in one direction: enough to keep a link busy, little enough to push back.
const FRAMES_MAX: usize = 32;
const FRAME_SIZE_MAX: usize = 16 << 20;
/// Data in one frame, so that no stream holds the line for long.
const DATA_MAX: usize = 32 << 10;

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FLAG_FIN: u8 = 1;

/// The words that both sides' compressors know beforehand: each with its length before it, then a run of text.
fn dictionary() -> Vec<u8> {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
        accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
        content-length content-location content-md5 content-range content-type date etag expect expires from host \
        if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
        pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding \
        upgrade user-agent vary via warning www-authenticate method get status";
    const MORE: [&str; 8] = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
    const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
        Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 \
        Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May \
        Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,\
        image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,\
        deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut bytes = Vec::new();
    for word in WORDS.split_whitespace().chain(MORE) {
        bytes.put_u32(u32::try_from(word.len()).expect("a word is short"));
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("SPDY: {what}"))
}

/// Compresses headers; one for the whole connection, and its blocks must go out in order.
struct HeaderWriter(Compress);

impl HeaderWriter {
    fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&dictionary()).expect("a new compressor takes a dictionary");
        Self(compress)
    }

    fn write(&mut self, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let length = |length: usize| u32::try_from(length).map_err(|_| broken("a long header"));
        plain.put_u32(length(headers.len())?);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(length(text.len())?);
            plain.extend_from_slice(text.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        self.0.compress_vec(&plain, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        Ok(out)
    }
}

fn frame(head: u32, flags: u8, body: &[u8]) -> io::Result<Bytes> {
    let length =
        u32::try_from(body.len()).ok().filter(|length| *length < 1 << 24).ok_or_else(|| broken("a frame too large"))?;
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u32(head);
    frame.put_u32(u32::from(flags) << 24 | length);
    frame.extend_from_slice(body);
    Ok(frame.freeze())
}

fn control(kind: u16, body: &[u8]) -> io::Result<Bytes> {
    frame(u32::from(VERSION) << 16 | u32::from(kind), 0, body)
}

type Inputs = Arc<Mutex<HashMap<u32, mpsc::Sender<Bytes>>>>;

/// One half of a forwarded connection, as the client sees it.
pub struct PortStream {
    id: u32,
    pub data: mpsc::Receiver<Bytes>,
    frames: mpsc::Sender<Bytes>,
}

impl PortStream {
    async fn send(&self, flags: u8, data: &[u8]) -> io::Result<()> {
        self.frames.send(frame(self.id, flags, data)?).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The two streams of one forwarded connection.
pub struct PortStreams {
    pub data: PortStream,
    pub error: PortStream,
}

impl PortStreams {
    /// Copies both ways until both have ended. The answer is what the server says went wrong.
    pub async fn copy(self, local: impl AsyncRead + AsyncWrite) -> io::Result<String> {
        let Self { mut data, mut error } = self;
        let (mut read, mut write) = tokio::io::split(local);
        let (id, frames) = (data.id, data.frames.clone());
        let sender = PortStream { id, frames, data: mpsc::channel(1).1 };
        let upward = async {
            let mut buffer = vec![0; DATA_MAX];
            loop {
                let length = read.read(&mut buffer).await?;
                if length == 0 {
                    return sender.send(FLAG_FIN, &[]).await;
                }
                sender.send(0, &buffer[..length]).await?;
            }
        };
        let downward = async {
            while let Some(bytes) = data.data.recv().await {
                write.write_all(&bytes).await?;
            }
            write.shutdown().await
        };
        let complaint = async {
            let mut text = Vec::new();
            while let Some(bytes) = error.data.recv().await {
                text.extend_from_slice(&bytes);
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        // The server ends both streams when the pod's side is done; then the client's half is of no more use.
        let received = async { (downward.await, complaint.await) };
        tokio::pin!(upward, received);
        let mut sending = true;
        loop {
            tokio::select! {
                (written, complaint) = &mut received => {
                    written?;
                    return Ok(complaint);
                }
                sent = &mut upward, if sending => {
                    sent?;
                    sending = false;
                }
            }
        }
    }
}

/// A connection to a pod's port-forwarding server.
pub struct Forwarder {
    frames: mpsc::Sender<Bytes>,
    headers: tokio::sync::Mutex<HeaderWriter>,
    inputs: Inputs,
    next: AtomicU32,
    requests: AtomicU32,
    tasks: TaskSet,
    lost: rt::CancellationToken,
}

impl Forwarder {
    pub async fn connect(client: &Client, path: &str) -> Result<Self, Failure> {
        let (socket, protocol) = websocket::open(client, path, PROTOCOL).await?;
        if protocol != PROTOCOL {
            return fail!("unable to negotiate protocol: client supports [{PROTOCOL}], server returned {protocol:?}");
        }
        Ok(Self::over(Tunnel::new(socket)))
    }

    fn over(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(io);
        let (frames, queue) = mpsc::channel(FRAMES_MAX);
        let (tasks, lost) = (TaskSet::new(), rt::CancellationToken::new());
        let inputs = Inputs::default();
        tasks.spawn_until_cancelled("spdy writer", write_frames(write, queue));
        let (seen, answers, ended) = (inputs.clone(), frames.clone(), lost.clone());
        tasks.spawn_until_cancelled("spdy reader", async move {
            if let Err(error) = read_frames(read, &seen, &answers).await {
                tracing::debug!(%error, "SPDY connection ended");
            }
            seen.lock().clear();
            ended.cancel();
        });
        let headers = tokio::sync::Mutex::new(HeaderWriter::new());
        Self { frames, headers, inputs, next: AtomicU32::new(1), requests: AtomicU32::new(0), tasks, lost }
    }

    /// Resolves when the connection has ended.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    pub fn tasks(&self) -> &TaskSet {
        &self.tasks
    }

    /// Opens the streams for one connection to a port. The error stream goes first, and is closed from here.
    pub async fn open(&self, port: u16) -> io::Result<PortStreams> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let port = port.to_string();
        let error = self.stream(&[("port", &port), ("requestid", &request), ("streamtype", "error")]).await?;
        error.send(FLAG_FIN, &[]).await?;
        let data = self.stream(&[("port", &port), ("requestid", &request), ("streamtype", "data")]).await?;
        Ok(PortStreams { data, error })
    }

    async fn stream(&self, headers: &[(&str, &str)]) -> io::Result<PortStream> {
        let (input, data) = mpsc::channel(FRAMES_MAX);
        // Ids must rise and blocks must follow each other on the wire as the compressor made them.
        let mut writer = self.headers.lock().await;
        let id = self.next.fetch_add(2, Ordering::Relaxed);
        self.inputs.lock().insert(id, input);
        let mut body = id.to_be_bytes().to_vec();
        body.extend([0; 6]);
        body.extend(writer.write(headers)?);
        self.frames.send(control(SYN_STREAM, &body)?).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(PortStream { id, data, frames: self.frames.clone() })
    }
}

async fn write_frames(mut io: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(frame) = queue.recv().await {
        if io.write_all(&frame).await.is_err() || (queue.is_empty() && io.flush().await.is_err()) {
            return;
        }
    }
}

async fn read_frames(mut io: impl AsyncRead + Unpin, inputs: &Inputs, answers: &mpsc::Sender<Bytes>) -> io::Result<()> {
    loop {
        let mut head = [0; 8];
        match io.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        };
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if length > FRAME_SIZE_MAX {
            return Err(broken("a frame too large"));
        }
        let mut body = vec![0; length];
        io.read_exact(&mut body).await?;
        let ends = head[4] & FLAG_FIN != 0;
        if head[0] & 0x80 == 0 {
            let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            take_data(inputs, id, Bytes::from(body), ends).await;
            continue;
        }
        match u16::from_be_bytes([head[2], head[3]]) {
            RST_STREAM if body.len() >= 4 => drop(inputs.lock().remove(&(&body[..]).get_u32())),
            PING => drop(answers.send(control(PING, &body)?).await),
            GOAWAY => return Ok(()),
            // A reply may end its stream at once.
            _ if ends && body.len() >= 4 => drop(inputs.lock().remove(&(&body[..]).get_u32())),
            _ => {}
        }
    }
}

async fn take_data(inputs: &Inputs, id: u32, data: Bytes, ends: bool) {
    let input = inputs.lock().get(&id).cloned();
    if let (Some(input), false) = (input, data.is_empty()) {
        // One that nobody reads any more is no fault of the others.
        let _ = input.send(data).await;
    }
    if ends {
        inputs.lock().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_published_one() {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in dictionary() {
            a = (a + u32::from(byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!((dictionary().len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    async fn read_head(server: &mut (impl AsyncRead + Unpin)) -> (u32, u8, Vec<u8>) {
        let head = server.read_u32().await.expect("a head");
        let rest = server.read_u32().await.expect("a length");
        let mut body = vec![0; (rest & 0xff_ffff) as usize];
        server.read_exact(&mut body).await.expect("a body");
        (head, u8::try_from(rest >> 24).expect("a byte"), body)
    }

    #[tokio::test]
    async fn a_connection_is_forwarded() {
        let (client, mut server) = tokio::io::duplex(1 << 16);
        let forwarder = Forwarder::over(client);
        let streams = forwarder.open(80).await.expect("opened");
        let (error_syn, _, body) = read_head(&mut server).await;
        assert_eq!((error_syn, &body[..4]), (0x8003_0001, &[0, 0, 0, 1][..]));
        assert_eq!(read_head(&mut server).await.1, FLAG_FIN, "the error stream is closed from the client");
        assert_eq!(read_head(&mut server).await.2[..4], [0, 0, 0, 3]);
        let (local, mut user) = tokio::io::duplex(1024);
        user.write_all(b"ping").await.expect("written");
        let copying = streams.copy(local);
        let talking = async {
            assert_eq!(read_head(&mut server).await, (3, 0, b"ping".to_vec()));
            for bytes in [frame(3, FLAG_FIN, b"pong"), frame(1, FLAG_FIN, b"")] {
                server.write_all(&bytes.expect("a frame")).await.expect("sent");
            }
            let mut answer = Vec::new();
            user.read_to_end(&mut answer).await.expect("the end");
            answer
        };
        let (copied, answer) = tokio::join!(copying, talking);
        assert_eq!((copied.expect("copied").as_str(), answer.as_slice()), ("", &b"pong"[..]));
    }
}
