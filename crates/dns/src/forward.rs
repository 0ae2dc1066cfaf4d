use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::cache::{Cache, CacheKey};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Larger answers come in fragments, which get lost; a resolver asks again by TCP instead.
const PAYLOAD_MAX: u16 = 1232;

/// Asks the node's resolvers, one after the other, and keeps what they say.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    cache: Mutex<Cache>,
}

/// What came of asking, and whether somebody had to be asked.
pub(crate) struct Forwarded {
    pub message: Message,
    pub cached: bool,
}

impl Forwarder {
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self { upstreams, cache: Mutex::default() }
    }

    pub fn upstreams(&self) -> &[SocketAddr] {
        &self.upstreams
    }

    /// The answer that is in memory.
    pub(crate) fn cached(&self, query: &Query, dnssec: bool) -> Option<Message> {
        self.cache.lock().get(&CacheKey::new(query, dnssec), Instant::now())
    }

    /// An answer in any case: SERVFAIL when nobody answers, at once when there is nobody to ask.
    pub(crate) async fn resolve(&self, query: &Query, dnssec: bool) -> Forwarded {
        let key = CacheKey::new(query, dnssec);
        if let Some(message) = self.cache.lock().get(&key, Instant::now()) {
            return Forwarded { message, cached: true };
        }
        let message = self.ask_all(query, dnssec).await;
        self.cache.lock().put(key, &message, Instant::now());
        Forwarded { message, cached: false }
    }

    async fn ask_all(&self, query: &Query, dnssec: bool) -> Message {
        for upstream in &self.upstreams {
            match ask(*upstream, query, dnssec).await {
                Ok(message) if message.metadata.response_code != ResponseCode::ServFail => return message,
                Ok(_) => tracing::debug!(%upstream, name = %query.name(), "resolver failed"),
                Err(error) => tracing::warn!(%upstream, name = %query.name(), %error, "resolver does not answer"),
            }
        }
        let mut failure = Message::query();
        failure.metadata.response_code = ResponseCode::ServFail;
        failure
    }
}

async fn ask(upstream: SocketAddr, query: &Query, dnssec: bool) -> io::Result<Message> {
    let request = request(query, dnssec);
    let bytes = request.to_vec().map_err(io::Error::other)?;
    let answer = timeout(ATTEMPT_TIMEOUT, ask_udp(upstream, &request, &bytes)).await??;
    match answer.metadata.truncation {
        true => timeout(ATTEMPT_TIMEOUT, ask_tcp(upstream, &request, &bytes)).await?,
        false => Ok(answer),
    }
}

fn request(query: &Query, dnssec: bool) -> Message {
    let mut message = Message::query();
    message.metadata.id = rand::random();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_MAX).set_dnssec_ok(dnssec);
    message.set_edns(edns);
    message
}

/// A socket of its own for each question: its random port is what a forger would have to guess.
async fn ask_udp(upstream: SocketAddr, request: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = matching(request, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(upstream: SocketAddr, request: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(upstream).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    matching(request, &answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The answer to this very question; anything else may be forged.
fn matching(request: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let same = answer.metadata.id == request.metadata.id && answer.queries == request.queries;
    same.then_some(answer)
}
