//! Frames on the wire.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::broken;
use super::headers::{HeaderReader, HeaderWriter, Headers};

const FRAME_SIZE_MAX: usize = (1 << 24) - 1;

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const FLAG_FIN: u8 = 1;

/// `RST_STREAM`: the stream is not wanted.
pub const REFUSED_STREAM: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        id: u32,
        fin: bool,
        headers: Headers,
    },
    /// The answer to a new stream, or what is said of a stream later.
    Reply {
        id: u32,
        fin: bool,
        headers: Headers,
    },
    Data {
        id: u32,
        fin: bool,
        data: Bytes,
    },
    Reset {
        id: u32,
        status: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Settings, windows and the like: neither side needs them.
    Other,
}

pub struct FrameReader<R> {
    io: R,
    headers: HeaderReader,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(io: R) -> Self {
        Self { io, headers: HeaderReader::new() }
    }

    /// None when the connection ends between frames.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 8];
        match self.io.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let [a, b, c, d, flags, length @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize];
        self.io.read_exact(&mut body).await?;
        let fin = flags & FLAG_FIN != 0;
        if a & 0x80 == 0 {
            return Ok(Some(Frame::Data { id: u32::from_be_bytes([a, b, c, d]), fin, data: body.into() }));
        }
        self.control(u16::from_be_bytes([c, d]), fin, &body).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: &[u8]) -> io::Result<Frame> {
        let mut number = || body.try_get_u32().map_err(|_| broken("a cut frame"));
        Ok(match kind {
            SYN_STREAM => {
                let id = number()? & 0x7fff_ffff;
                // The stream that it belongs to, and its priority.
                let block = body.get(6..).ok_or_else(|| broken("a cut SYN_STREAM"))?;
                Frame::SynStream { id, fin, headers: self.headers.read(block)? }
            }
            SYN_REPLY | HEADERS => {
                let id = number()? & 0x7fff_ffff;
                Frame::Reply { id, fin, headers: self.headers.read(body)? }
            }
            RST_STREAM => Frame::Reset { id: number()?, status: number()? },
            PING => Frame::Ping { id: number()? },
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        })
    }
}

pub struct FrameWriter<W> {
    io: W,
    headers: HeaderWriter,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub fn new(io: W) -> Self {
        Self { io, headers: HeaderWriter::new() }
    }

    pub async fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = self.encode(frame)?;
        self.io.write_all(&bytes).await
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.io.flush().await
    }

    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    fn encode(&mut self, frame: &Frame) -> io::Result<Bytes> {
        let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        match frame {
            Frame::SynStream { id, fin, headers } => {
                let body = [&numbers(&[*id, 0])[..], &[0, 0], &self.headers.write(headers)?].concat();
                control(SYN_STREAM, *fin, &body)
            }
            Frame::Reply { id, fin, headers } => {
                control(SYN_REPLY, *fin, &[numbers(&[*id]), self.headers.write(headers)?].concat())
            }
            Frame::Data { id, fin, data } => encoded(*id, *fin, data),
            Frame::Reset { id, status } => control(RST_STREAM, false, &numbers(&[*id, *status])),
            Frame::Ping { id } => control(PING, false, &numbers(&[*id])),
            Frame::GoAway => control(GOAWAY, false, &numbers(&[0, 0])),
            Frame::Other => Ok(Bytes::new()),
        }
    }
}

fn control(kind: u16, fin: bool, body: &[u8]) -> io::Result<Bytes> {
    encoded(u32::from(VERSION) << 16 | u32::from(kind), fin, body)
}

fn encoded(head: u32, fin: bool, body: &[u8]) -> io::Result<Bytes> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_SIZE_MAX);
    let length = length.ok_or_else(|| broken("a frame too large"))?;
    let mut bytes = BytesMut::with_capacity(8 + body.len());
    bytes.put_u32(head);
    bytes.put_u32(u32::from(u8::from(fin) * FLAG_FIN) << 24 | length);
    bytes.extend_from_slice(body);
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a frame becomes on its way.
    async fn check(frames: &[Frame]) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        for frame in frames {
            writer.write(frame).await.expect("written");
            assert_eq!(reader.next().await.expect("read").as_ref(), Some(frame));
        }
        drop(writer);
        assert_eq!(reader.next().await.expect("the end"), None);
    }

    #[tokio::test]
    async fn frames_survive_the_way_there() {
        let headers = Headers::from([("port".to_owned(), "80".to_owned())]);
        check(&[
            Frame::SynStream { id: 1, fin: false, headers: headers.clone() },
            Frame::Reply { id: 1, fin: true, headers: Headers::new() },
            Frame::SynStream { id: 3, fin: true, headers },
            Frame::Data { id: 3, fin: false, data: Bytes::from_static(b"text") },
            Frame::Data { id: 3, fin: true, data: Bytes::new() },
            Frame::Reset { id: 3, status: REFUSED_STREAM },
            Frame::Ping { id: 7 },
            Frame::GoAway,
        ])
        .await;
    }

    #[test]
    fn frames_are_laid_out_as_published() {
        let mut writer = FrameWriter::new(tokio::io::sink());
        let data = Frame::Data { id: 3, fin: true, data: Bytes::from_static(b"hi") };
        assert_eq!(writer.encode(&data).expect("bytes")[..], [0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
        assert_eq!(writer.encode(&Frame::Ping { id: 5 }).expect("bytes")[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5]);
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error() {
        let mut reader = FrameReader::new(&[0u8, 0, 0, 3, 0, 0, 0, 2, b'h'][..]);
        assert!(reader.next().await.is_err());
        let mut reader = FrameReader::new(&[0x80u8, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1][..]);
        assert!(reader.next().await.is_err());
    }
}
