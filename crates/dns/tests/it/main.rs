//! The server on loopback: real questions over UDP and TCP, with a resolver behind it that the test plays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dns::{Forwarder, Index, Metrics, Server, Zone, entry};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::RwLock;
use rt::TaskSet;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

struct Bench {
    address: SocketAddr,
    tasks: TaskSet,
    metrics: Arc<Metrics>,
}

impl Bench {
    async fn start(upstreams: Vec<SocketAddr>) -> Self {
        let (tasks, metrics) = (TaskSet::new(), Arc::new(Metrics::default()));
        // Both protocols on one number: whoever has the UDP port free most likely has the TCP port too.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let server = Server {
            zone: Zone::new("cluster.local", 30).unwrap(),
            index: Arc::new(RwLock::new(index())),
            forwarder: Forwarder::new(upstreams),
            metrics: metrics.clone(),
        };
        server.start(udp, tcp, &tasks);
        Self { address, tasks, metrics }
    }

    async fn udp(&self, request: &Message) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&request.to_vec().unwrap(), self.address).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let length = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await.unwrap().unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    async fn tcp(&self, request: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let bytes = request.to_vec().unwrap();
        stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

fn index() -> Index {
    let mut index = Index::default();
    index.add_namespace("default");
    let mut add = |name: &str, spec, endpoints: Vec<serde_json::Value>| {
        let service = json!({ "metadata": { "namespace": "default", "name": name }, "spec": spec });
        let slice = json!({ "metadata": {}, "addressType": "IPv4", "ports": [{ "name": "", "port": 80 }], "endpoints": endpoints });
        let slices = [Arc::new(serde_json::from_value(slice).unwrap())];
        let entry = entry(&serde_json::from_value(service).unwrap(), &slices);
        index.set(&apimachinery::ObjectKey::new("default", name), entry);
    };
    add("web", json!({ "clusterIP": "10.96.0.7" }), Vec::new());
    add(
        "many",
        json!({ "clusterIP": "None" }),
        (0..200).map(|n| json!({ "addresses": [format!("10.244.1.{n}")] })).collect(),
    );
    add("docs", json!({ "type": "ExternalName", "externalName": "docs.example.com" }), Vec::new());
    index
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// A resolver that knows every name as 192.0.2.1 and counts its questions.
async fn resolver(tasks: &TaskSet) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let counter = count.clone();
    tasks.spawn_until_cancelled("resolver", async move {
        let mut buffer = vec![0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
            answer.queries = asked.queries.clone();
            answer.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 60, RData::A(A::new(192, 0, 2, 1))));
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, count)
}

fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn names_of_the_cluster_are_answered_in_the_letters_of_the_question() {
    let bench = Bench::start(Vec::new()).await;
    let answer = bench.udp(&question("wEb.Default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["10.96.0.7"]);
    assert_eq!((answer.metadata.id, answer.metadata.authoritative), (4711, true));
    assert_eq!(answer.queries[0].name().to_ascii(), "wEb.Default.svc.cluster.local.");
    assert_eq!(answer.answers[0].name.to_ascii(), "wEb.Default.svc.cluster.local.");
    let missing = bench.udp(&question("nope.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!((missing.metadata.response_code, missing.authorities.len()), (ResponseCode::NXDomain, 1));
    bench.tasks.shutdown().await;
}

#[tokio::test]
async fn an_answer_too_large_for_udp_comes_by_tcp() {
    let bench = Bench::start(Vec::new()).await;
    let mut request = question("many.default.svc.cluster.local.", RecordType::A);
    let short = bench.udp(&request).await;
    assert!(short.metadata.truncation);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    request.set_edns(edns);
    assert!(bench.udp(&request).await.metadata.truncation, "no fragments, whatever the client takes");
    let whole = bench.tcp(&request).await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 200));
    bench.tasks.shutdown().await;
}

#[tokio::test]
async fn other_names_are_asked_once_and_remembered() {
    let resolvers = TaskSet::new();
    let (upstream, asked) = resolver(&resolvers).await;
    let bench = Bench::start(vec![upstream]).await;
    for name in ["example.com.", "EXAMPLE.com."] {
        let answer = bench.udp(&question(name, RecordType::A)).await;
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        assert!(!answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    let alias = bench.udp(&question("docs.default.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(addresses(&alias), ["docs.example.com.", "192.0.2.1"]);
    assert!(bench.metrics.text().contains("coredns_cache_hits_total 1"), "{}", bench.metrics.text());
    bench.tasks.shutdown().await;
    resolvers.shutdown().await;
}

#[tokio::test]
async fn with_nobody_to_ask_the_failure_comes_at_once() {
    let bench = Bench::start(Vec::new()).await;
    let answer = bench.udp(&question("example.com.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    bench.tasks.shutdown().await;
}

#[tokio::test]
async fn a_second_resolver_is_asked_when_the_first_is_silent() {
    let resolvers = TaskSet::new();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (upstream, _) = resolver(&resolvers).await;
    let bench = Bench::start(vec![silent.local_addr().unwrap(), upstream]).await;
    let answer = bench.udp(&question("example.com.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["192.0.2.1"]);
    bench.tasks.shutdown().await;
    resolvers.shutdown().await;
}

#[tokio::test]
async fn bad_questions_get_the_code_for_them() {
    let bench = Bench::start(Vec::new()).await;
    let mut two = question("web.default.svc.cluster.local.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("x.").unwrap(), RecordType::A));
    assert_eq!(bench.udp(&two).await.metadata.response_code, ResponseCode::FormErr);
    let status = Message::new(1, MessageType::Query, OpCode::Status);
    assert_eq!(bench.udp(&status).await.metadata.response_code, ResponseCode::NotImp);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&[1, 2, 0, 0, 0, 9, 9], bench.address).await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (0x0102, ResponseCode::FormErr));
    bench.tasks.shutdown().await;
}
