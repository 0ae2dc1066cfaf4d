use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record};
use parking_lot::RwLock;
use rt::TaskSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::{Answer, Zone, answer};
use crate::forward::Forwarder;
use crate::index::Index;
use crate::metrics::{Metrics, Wire};

const UDP_PAYLOAD_MIN: u16 = 512;
const UDP_PAYLOAD_MAX: u16 = 1232;
const UDP_READERS: usize = 4;
/// Each holds a socket for a moment; CoreDNS allows as many by default in its forwarder's advice.
const FORWARDS_MAX: usize = 1000;
const TCP_CONNECTIONS_MAX: usize = 256;
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// An alias may lead to an alias; more than this is a circle.
const ALIASES_MAX: usize = 8;

/// Answers questions over UDP and TCP.
pub struct Server {
    pub zone: Zone,
    pub index: Arc<RwLock<Index>>,
    pub forwarder: Forwarder,
    pub metrics: Arc<Metrics>,
}

impl Server {
    /// Serves until the tasks are cancelled.
    pub fn start(self, udp: UdpSocket, tcp: TcpListener, tasks: &TaskSet) {
        let (server, udp) = (Arc::new(self), Arc::new(udp));
        let forwards = Arc::new(Semaphore::new(FORWARDS_MAX));
        for _ in 0..UDP_READERS {
            let reader = UdpReader {
                server: server.clone(),
                socket: udp.clone(),
                forwards: forwards.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn_until_cancelled("dns udp", reader.run());
        }
        tasks.spawn_until_cancelled("dns tcp", serve_tcp(server, tcp, tasks.clone()));
    }

    /// The answer, when nobody else needs to be asked.
    fn answer_now(&self, request: &Message) -> Option<Message> {
        let query = match valid_query(request) {
            Ok(query) => query,
            Err(code) => return Some(response(request, code)),
        };
        if let Some(found) = self.lookup(query) {
            return found.follow.is_none().then(|| fill(request, found));
        }
        let cached = self.forwarder.cached(query, wants_dnssec(request))?;
        self.metrics.forwarded(true);
        Some(relay(request, cached))
    }

    async fn answer(&self, request: &Message) -> Message {
        if let Some(answer) = self.answer_now(request) {
            return answer;
        }
        match valid_query(request) {
            Err(code) => response(request, code),
            Ok(query) => match self.lookup(query) {
                Some(found) => self.follow(request, query, found).await,
                None => relay(request, self.forward(query, wants_dnssec(request)).await),
            },
        }
    }

    fn lookup(&self, query: &Query) -> Option<Answer> {
        answer(&self.index.read(), &self.zone, query.name(), query.query_type(), serial())
    }

    async fn forward(&self, query: &Query, dnssec: bool) -> Message {
        let forwarded = self.forwarder.resolve(query, dnssec).await;
        self.metrics.forwarded(forwarded.cached);
        forwarded.message
    }

    /// Adds the records behind an alias, wherever they are.
    async fn follow(&self, request: &Message, query: &Query, found: Answer) -> Message {
        let (mut next, mut message) = (found.follow.clone(), fill(request, found));
        for _ in 0..ALIASES_MAX {
            let Some(target) = next.take() else { break };
            let query = Query::query(target, query.query_type());
            match self.lookup(&query) {
                Some(more) => {
                    next = more.follow;
                    message.answers.extend(more.records);
                }
                None => message.answers.extend(self.forward(&query, wants_dnssec(request)).await.answers),
            }
        }
        message
    }
}

/// Numbers the state of the zone by the time: secondaries do not exist here.
fn serial() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

fn valid_query(request: &Message) -> Result<&Query, ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    match request.queries.as_slice() {
        [query] if query.query_class() == DNSClass::IN => Ok(query),
        [_] => Err(ResponseCode::Refused),
        _ => Err(ResponseCode::FormErr),
    }
}

fn wants_dnssec(request: &Message) -> bool {
    request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok)
}

/// An empty answer to the request: its id, its question in the letters that it came in, its EDNS.
fn response(request: &Message, code: ResponseCode) -> Message {
    let mut message = Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    message.metadata.recursion_desired = request.metadata.recursion_desired;
    message.metadata.checking_disabled = request.metadata.checking_disabled;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.queries = request.queries.clone();
    if let Some(asked) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_MAX).set_dnssec_ok(asked.flags().dnssec_ok);
        edns.set_rcode_high(code.high());
        message.set_edns(edns);
    }
    message
}

fn fill(request: &Message, found: Answer) -> Message {
    let mut message = response(request, found.code.unwrap_or(ResponseCode::NoError));
    message.metadata.authoritative = true;
    message.answers = found.records;
    message.authorities = found.authority.into_iter().collect();
    message.additionals = found.additionals;
    message
}

/// Somebody else's answer as ours, under the name as the client spelled it.
fn relay(request: &Message, from: Message) -> Message {
    let mut message = response(request, from.metadata.response_code);
    let asked = request.queries.first().map(|query| query.name().clone());
    let spelled = |mut record: Record| {
        if let Some(name) = asked.as_ref().filter(|name| **name == record.name) {
            record.name = name.clone();
        }
        record
    };
    message.answers = from.answers.into_iter().map(spelled).collect();
    message.authorities = from.authorities;
    message.additionals = from.additionals;
    message
}

/// The bytes for UDP: what does not fit is left out, and the client told to come by TCP.
fn datagram(request: &Message, message: &Message) -> Option<Vec<u8>> {
    let asked = request.edns.as_ref().map_or(UDP_PAYLOAD_MIN, Edns::max_payload);
    let room = usize::from(asked.clamp(UDP_PAYLOAD_MIN, UDP_PAYLOAD_MAX));
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= room {
        return Some(bytes);
    }
    let mut short = message.clone();
    short.additionals.clear();
    match short.to_vec().ok()? {
        fitting if fitting.len() <= room => Some(fitting),
        _ => message.truncate().to_vec().ok(),
    }
}

/// What can be said to bytes that are no question: that they are none, if they carry an id.
fn unreadable(bytes: &[u8]) -> Option<Message> {
    let id = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let is_answer = bytes.get(2)? & 0x80 != 0;
    (!is_answer).then(|| Message::error_msg(id, OpCode::Query, ResponseCode::FormErr))
}

/// Reads questions from a shared UDP socket; those that take time are answered by a task of their own.
struct UdpReader {
    server: Arc<Server>,
    socket: Arc<UdpSocket>,
    forwards: Arc<Semaphore>,
    tasks: TaskSet,
}

impl UdpReader {
    async fn run(self) {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, client)) => self.handle(&buffer[..length], client).await,
                Err(error) => tracing::debug!(%error, "question not received"),
            }
        }
    }

    async fn handle(&self, bytes: &[u8], client: SocketAddr) {
        self.server.metrics.request(Wire::Udp);
        let Ok(request) = Message::from_vec(bytes) else {
            if let Some(message) = unreadable(bytes) {
                self.send(&message, message.to_vec().ok(), client).await;
            }
            return;
        };
        if request.metadata.message_type == MessageType::Response {
            return;
        }
        match self.server.answer_now(&request) {
            Some(message) => self.send(&message, datagram(&request, &message), client).await,
            None => self.answer_later(request, client).await,
        }
    }

    async fn answer_later(&self, request: Message, client: SocketAddr) {
        let Ok(slot) = self.forwards.clone().try_acquire_owned() else {
            let message = response(&request, ResponseCode::ServFail);
            return self.send(&message, datagram(&request, &message), client).await;
        };
        let (server, socket) = (self.server.clone(), self.socket.clone());
        self.tasks.spawn_until_cancelled("dns forward", async move {
            let _slot = slot;
            let message = server.answer(&request).await;
            server.metrics.answered(message.metadata.response_code);
            if let Some(bytes) = datagram(&request, &message) {
                report(socket.send_to(&bytes, client).await);
            }
        });
    }

    async fn send(&self, message: &Message, bytes: Option<Vec<u8>>, client: SocketAddr) {
        self.server.metrics.answered(message.metadata.response_code);
        if let Some(bytes) = bytes {
            report(self.socket.send_to(&bytes, client).await);
        }
    }
}

fn report(sent: io::Result<usize>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "answer not sent");
    }
}

async fn serve_tcp(server: Arc<Server>, listener: TcpListener, tasks: TaskSet) {
    let slots = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tasks.spawn_until_cancelled("dns tcp connection", async move {
                    let _slot = slot;
                    if let Err(error) = serve_stream(&server, stream).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(error) => tracing::debug!(%error, "connection not accepted"),
        }
    }
}

/// One question after the other, until the client is silent for too long.
async fn serve_stream(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = timeout(TCP_IDLE_TIMEOUT, stream.read_u16()).await??;
        let mut bytes = vec![0; usize::from(length)];
        timeout(TCP_IDLE_TIMEOUT, stream.read_exact(&mut bytes)).await??;
        server.metrics.request(Wire::Tcp);
        let message = match Message::from_vec(&bytes) {
            Ok(request) => server.answer(&request).await,
            Err(_) => unreadable(&bytes).ok_or(io::ErrorKind::InvalidData)?,
        };
        server.metrics.answered(message.metadata.response_code);
        let answer = message.to_vec().map_err(io::Error::other)?;
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}
