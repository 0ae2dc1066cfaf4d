//! SPDY/3.1 as older kubectls speak it: frames, compressed headers, streams. Flow control is not used by either side.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use parking_lot::Mutex;
use rt::TaskSet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Frames that may wait in one direction: enough to keep a link busy, little enough to push back.
const FRAMES_MAX: usize = 32;
const FRAME_SIZE_MAX: usize = 16 << 20;
const HEADERS_SIZE_MAX: usize = 1 << 20;

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FLAG_FIN: u8 = 1;

pub type Headers = HashMap<String, String>;

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

/// The reading end of header compression; one for the whole connection.
struct HeaderReader(Decompress);

impl HeaderReader {
    fn new() -> Self {
        HeaderReader(Decompress::new(true))
    }

    fn read(&mut self, block: &[u8]) -> io::Result<Headers> {
        let mut plain = Vec::new();
        let mut rest = block;
        while !rest.is_empty() {
            let mut chunk = [0; 4096];
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress(rest, &mut chunk, FlushDecompress::Sync);
            let used = usize::try_from(self.0.total_in() - before_in).map_err(|_| broken("headers"))?;
            let made = usize::try_from(self.0.total_out() - before_out).map_err(|_| broken("headers"))?;
            rest = &rest[used..];
            plain.extend_from_slice(&chunk[..made]);
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| broken("header dictionary"))?;
                }
                Err(_) => return Err(broken("compressed headers")),
                Ok(_) if used == 0 && made == 0 => return Err(broken("unfinished headers")),
                Ok(_) => {}
            }
            if plain.len() > HEADERS_SIZE_MAX {
                return Err(broken("headers too large"));
            }
        }
        self.drain(&mut plain)?;
        parse_headers(&plain)
    }

    /// What the decompressor still holds after its last input.
    fn drain(&mut self, plain: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut chunk = [0; 4096];
            let before = self.0.total_out();
            let _ = self.0.decompress(&[], &mut chunk, FlushDecompress::Sync);
            let made = usize::try_from(self.0.total_out() - before).map_err(|_| broken("headers"))?;
            plain.extend_from_slice(&chunk[..made]);
            if made < chunk.len() {
                return Ok(());
            }
            if plain.len() > HEADERS_SIZE_MAX {
                return Err(broken("headers too large"));
            }
        }
    }
}

fn parse_headers(mut plain: &[u8]) -> io::Result<Headers> {
    let count = take_u32(&mut plain)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut plain)?;
        let value = take_text(&mut plain)?;
        headers.insert(name.to_ascii_lowercase(), value);
    }
    Ok(headers)
}

fn take_u32(data: &mut &[u8]) -> io::Result<u32> {
    if data.len() < 4 { Err(broken("a cut header")) } else { Ok(data.get_u32()) }
}

fn take_text(data: &mut &[u8]) -> io::Result<String> {
    let length = take_u32(data)? as usize;
    if data.len() < length {
        return Err(broken("a cut header"));
    }
    let (text, rest) = data.split_at(length);
    *data = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// The writing end of header compression.
struct HeaderWriter(Compress);

impl HeaderWriter {
    fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&dictionary()).expect("a new compressor takes a dictionary");
        HeaderWriter(compress)
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

enum Frame {
    SynStream { id: u32, fin: bool, headers: Headers },
    Data { id: u32, fin: bool, data: Bytes },
    Reset { id: u32 },
    Ping { id: u32 },
    GoAway,
    Other,
}

async fn read_frame(io: &mut (impl AsyncRead + Unpin), headers: &mut HeaderReader) -> io::Result<Option<Frame>> {
    let mut head = [0; 8];
    match io.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
    if length > FRAME_SIZE_MAX {
        return Err(broken("a frame too large"));
    }
    let mut body = vec![0; length];
    io.read_exact(&mut body).await?;
    let fin = head[4] & FLAG_FIN != 0;
    if head[0] & 0x80 == 0 {
        let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        return Ok(Some(Frame::Data { id, fin, data: Bytes::from(body) }));
    }
    control_frame(u16::from_be_bytes([head[2], head[3]]), fin, &body, headers).map(Some)
}

fn control_frame(kind: u16, fin: bool, mut body: &[u8], headers: &mut HeaderReader) -> io::Result<Frame> {
    Ok(match kind {
        SYN_STREAM => {
            if body.len() < 10 {
                return Err(broken("a cut SYN_STREAM"));
            }
            let id = body.get_u32() & 0x7fff_ffff;
            Frame::SynStream { id, fin, headers: headers.read(&body[6..])? }
        }
        RST_STREAM => Frame::Reset { id: take_u32(&mut body)? },
        PING => Frame::Ping { id: take_u32(&mut body)? },
        GOAWAY => Frame::GoAway,
        // Headers of a reply or later ones would have to go through the decompressor; clients send neither.
        _ => Frame::Other,
    })
}

fn control(kind: u16, flags: u8, body: &[u8]) -> io::Result<Bytes> {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(VERSION);
    frame.put_u16(kind);
    put_length(&mut frame, flags, body.len())?;
    frame.extend_from_slice(body);
    Ok(frame.freeze())
}

fn put_length(frame: &mut BytesMut, flags: u8, length: usize) -> io::Result<()> {
    let length =
        u32::try_from(length).ok().filter(|length| *length < 1 << 24).ok_or_else(|| broken("a frame too large"))?;
    frame.put_u32(u32::from(flags) << 24 | length);
    Ok(())
}

/// A stream that the client opened.
pub struct Stream {
    id: u32,
    pub headers: Headers,
    /// Ends when the client closes its half.
    pub data: mpsc::Receiver<Bytes>,
    frames: mpsc::Sender<Bytes>,
}

/// The writing half of a stream.
#[derive(Clone)]
pub struct StreamWriter {
    id: u32,
    frames: mpsc::Sender<Bytes>,
}

impl Stream {
    pub fn writer(&self) -> StreamWriter {
        StreamWriter { id: self.id, frames: self.frames.clone() }
    }
}

impl StreamWriter {
    pub async fn send(&self, data: &[u8]) -> io::Result<()> {
        self.frame(0, data).await
    }

    /// Closes our half.
    pub async fn finish(&self) -> io::Result<()> {
        self.frame(FLAG_FIN, &[]).await
    }

    async fn frame(&self, flags: u8, data: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(8 + data.len());
        frame.put_u32(self.id);
        put_length(&mut frame, flags, data.len())?;
        frame.extend_from_slice(data);
        self.frames.send(frame.freeze()).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Serves a connection. New streams come through the receiver, which ends with the connection; dropping the receiver and
/// all writers ends the connection after what was sent is written.
pub fn serve(io: impl AsyncRead + AsyncWrite + Send + 'static, tasks: &TaskSet) -> mpsc::Receiver<Stream> {
    let (read, write) = tokio::io::split(io);
    let (frames, queue) = mpsc::channel(FRAMES_MAX);
    let (opened, streams) = mpsc::channel(FRAMES_MAX);
    tasks.spawn_until_cancelled("spdy writer", write_frames(write, queue));
    tasks.spawn_until_cancelled("spdy reader", async move {
        if let Err(error) = read_frames(read, frames, opened).await {
            tracing::debug!(%error, "SPDY connection ended");
        }
    });
    streams
}

async fn write_frames(mut io: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(frame) = queue.recv().await {
        if io.write_all(&frame).await.is_err() || (queue.is_empty() && io.flush().await.is_err()) {
            return;
        }
    }
    let _ = io.shutdown().await;
}

async fn read_frames(
    mut io: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Bytes>,
    opened: mpsc::Sender<Stream>,
) -> io::Result<()> {
    let mut headers = HeaderReader::new();
    let replies = Arc::new(Mutex::new(HeaderWriter::new()));
    let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    // Our own hold on the writer lasts while somebody listens: it must not keep a finished connection open.
    let weak = frames.downgrade();
    let mut keeper = Some(frames);
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut io, &mut headers) => frame?,
            () = opened.closed(), if keeper.is_some() => {
                keeper = None;
                continue;
            }
        };
        let Some(frames) = weak.upgrade() else { return Ok(()) };
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        match frame {
            None | Some(Frame::GoAway) => return Ok(()),
            Some(Frame::SynStream { id, fin, headers }) => {
                let (input, data) = mpsc::channel(FRAMES_MAX);
                if !fin {
                    inputs.insert(id, input);
                }
                let mut body = id.to_be_bytes().to_vec();
                body.extend(replies.lock().write(&[])?);
                frames.send(control(SYN_REPLY, 0, &body)?).await.map_err(gone)?;
                let _ = opened.send(Stream { id, headers, data, frames }).await;
            }
            Some(Frame::Data { id, fin, data }) => {
                if let Some(input) = inputs.get(&id)
                    && !data.is_empty()
                {
                    // One that nobody reads any more is no fault of the others.
                    let _ = input.send(data).await;
                }
                if fin {
                    inputs.remove(&id);
                }
            }
            Some(Frame::Reset { id }) => drop(inputs.remove(&id)),
            Some(Frame::Ping { id }) => frames.send(control(PING, 0, &id.to_be_bytes())?).await.map_err(gone)?,
            Some(Frame::Other) => {}
        }
    }
}

/// The client's frames, for tests.
#[cfg(test)]
pub mod test_client {
    use super::*;

    pub struct Client(HeaderWriter);

    impl Client {
        pub fn new() -> Self {
            Client(HeaderWriter::new())
        }

        pub fn open(&mut self, id: u32, headers: &[(&str, &str)]) -> Bytes {
            let mut body = id.to_be_bytes().to_vec();
            body.extend([0; 6]);
            body.extend(self.0.write(headers).expect("a block"));
            control(SYN_STREAM, 0, &body).expect("a frame")
        }
    }

    pub fn data(id: u32, fin: bool, data: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_u32(id);
        put_length(&mut frame, u8::from(fin), data.len()).expect("a short frame");
        frame.extend_from_slice(data);
        frame.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adler32(data: &[u8]) -> u32 {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in data {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_the_published_one() {
        assert_eq!(dictionary().len(), 1423);
        assert_eq!(adler32(&dictionary()), 0xe3c6_a7c2);
    }

    #[test]
    fn headers_survive_the_way_there() {
        let (mut writer, mut reader) = (HeaderWriter::new(), HeaderReader::new());
        for port in ["80", "8080"] {
            let block = writer.write(&[("streamtype", "data"), ("port", port)]).expect("a block");
            let headers = reader.read(&block).expect("headers");
            assert_eq!((headers["streamtype"].as_str(), headers["port"].as_str()), ("data", port));
        }
    }

    #[tokio::test]
    async fn a_stream_is_opened_answered_and_closed() {
        let (mut client, server) = tokio::io::duplex(4096);
        let tasks = TaskSet::new();
        let mut streams = serve(server, &tasks);
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        body.extend(HeaderWriter::new().write(&[("streamType", "data")]).expect("a block"));
        client.write_all(&control(SYN_STREAM, 0, &body).expect("a frame")).await.expect("write");
        client.write_all(&[0, 0, 0, 1, FLAG_FIN, 0, 0, 2, b'h', b'i']).await.expect("write");
        let mut stream = streams.recv().await.expect("a stream");
        assert_eq!(stream.headers["streamtype"], "data");
        assert_eq!(stream.data.recv().await.expect("data"), "hi");
        assert_eq!(stream.data.recv().await, None);
        let writer = stream.writer();
        writer.send(b"yes").await.expect("send");
        writer.finish().await.expect("finish");
        drop((stream, writer, streams));
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("the end");
        assert!(answer.ends_with(&[0, 0, 0, 1, 0, 0, 0, 3, b'y', b'e', b's', 0, 0, 0, 1, FLAG_FIN, 0, 0, 0]));
        tasks.shutdown().await;
    }
}
