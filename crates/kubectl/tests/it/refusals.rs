//! Leaving HTTP at servers that know less than ours: a WebSocket first, then SPDY, as kubectl does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use httpstream::channels::{self, Channels};
use httpstream::spdy::Connection;
use httpstream::{
    CHANNELS_V4, CHANNELS_V5, PORT_FORWARD, PORT_FORWARD_TUNNEL, PROTOCOL_HEADER, Tunnel, Writer, derive_accept_key,
};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rt::TaskSet;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::compare::{Outcome, Sink};

const STATUS: &str =
    r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;

/// A server with one pod, which takes these upgrades alone.
#[derive(Clone)]
pub struct Server {
    websocket: &'static [&'static str],
    spdy: &'static [&'static str],
    /// Whether commands are run, on this machine, and not just played.
    runs_commands: bool,
    /// What clients wanted to leave HTTP for.
    asked: Arc<Mutex<Vec<String>>>,
    tasks: TaskSet,
}

/// A server that runs, and how it is reached.
pub struct Running {
    server: Server,
    pub kubeconfig: String,
    _directory: tempfile::TempDir,
}

impl Server {
    async fn start(websocket: &'static [&'static str], spdy: &'static [&'static str]) -> Running {
        Self { websocket, spdy, runs_commands: false, asked: Arc::default(), tasks: TaskSet::new() }.listen().await
    }

    /// A server whose one container is this machine.
    pub async fn running_commands() -> Running {
        let websocket = &[CHANNELS_V5, CHANNELS_V4];
        Self { websocket, spdy: &[], runs_commands: true, asked: Arc::default(), tasks: TaskSet::new() }.listen().await
    }

    async fn listen(self) -> Running {
        let server = self;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        server.tasks.spawn_until_cancelled("server", server.clone().serve(listener));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {}}],
        });
        std::fs::write(&path, config.to_string()).expect("written");
        Running { server, kubeconfig: path.display().to_string(), _directory: directory }
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let server = self.clone();
            self.tasks.spawn_until_cancelled("connection", async move {
                let service = hyper::service::service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(request)) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client may leave when it likes.
                let _ = connection.with_upgrades().await;
            });
        }
    }

    fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let verbs = ["get", "create"];
        let resource =
            json!({"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": true, "verbs": verbs});
        match request.uri().path() {
            "/api" => object(&json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => object(&json!({"kind": "APIGroupList", "groups": []})),
            "/api/v1" => object(&json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [resource]})),
            "/api/v1/namespaces/default/pods/p" => object(&json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                "spec": {"nodeName": "n", "containers": [{"name": "c"}]}, "status": {"phase": "Running"},
            })),
            _ => self.upgrade(request),
        }
    }

    fn upgrade(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name: &str| {
            let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(", ")
        };
        let kind = header("upgrade");
        self.asked.lock().expect("no one panics").push(kind.clone());
        let (offered, known) = match kind.as_str() {
            "websocket" => (header("sec-websocket-protocol"), self.websocket),
            _ => (header(PROTOCOL_HEADER), self.spdy),
        };
        let Some(protocol) = known.iter().copied().find(|known| offered.split(", ").any(|one| one == *known)) else {
            let mut refusal = Response::new(Full::new(format!("no {kind} here").into()));
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            return refusal;
        };
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let value = |text: &str| HeaderValue::from_str(text).expect("a header");
        for (name, text) in [
            ("connection", "Upgrade"),
            ("upgrade", &kind),
            ("sec-websocket-accept", &derive_accept_key(header("sec-websocket-key").as_bytes())),
            ("sec-websocket-protocol", protocol),
            (PROTOCOL_HEADER, protocol),
        ] {
            response.headers_mut().insert(name, value(text));
        }
        self.tasks.spawn_until_cancelled("upgraded", self.clone().talk(request, kind == "websocket", protocol));
        response
    }

    async fn talk(self, request: Request<Incoming>, is_websocket: bool, protocol: &'static str) {
        let words = words_of(request.uri().query().unwrap_or_default());
        let io = TokioIo::new(hyper::upgrade::on(request).await.expect("upgraded"));
        match (is_websocket, protocol) {
            (true, PORT_FORWARD_TUNNEL) => {
                echo_ports(Connection::server(Tunnel::server(io).await, &self.tasks), &self.tasks).await;
            }
            (false, PORT_FORWARD) => echo_ports(Connection::server(io, &self.tasks), &self.tasks).await,
            (true, _) if self.runs_commands => {
                let (channels, [stdin]) = Channels::server(io, [channels::STDIN], &self.tasks).await;
                let writers = [channels::STDOUT, channels::STDERR, channels::ERROR].map(|one| channels.writer(one));
                run_command(&words, stdin, writers).await;
            }
            (true, _) => {
                let (channels, []) = Channels::server(io, [], &self.tasks).await;
                let writers = [channels::STDOUT, channels::STDERR, channels::ERROR].map(|one| channels.writer(one));
                process(writers).await;
            }
            (false, _) => {
                let mut connection = Connection::server(io, &self.tasks);
                let mut writers = Vec::new();
                for kind in ["error", "stdout", "stderr"] {
                    let stream = connection.accept().await.expect("a stream");
                    assert_eq!(stream.header("streamtype"), kind);
                    writers.insert(0, stream.writer());
                }
                let [stderr, stdout, error] = writers.try_into().ok().expect("three streams");
                process([stdout, stderr, error]).await;
            }
        }
    }
}

fn object(value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(value.to_string().into()));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// Says hello and leaves with exit code 3.
async fn process([stdout, stderr, error]: [Writer; 3]) {
    for (writer, text) in [(stdout, "hello\n"), (stderr, "oops\n"), (error, STATUS)] {
        writer.send(text.as_bytes()).await.expect("the client listens");
        writer.finish().await.expect("the client listens");
    }
}

/// The command of a request. What is encoded in it is ASCII.
fn words_of(query: &str) -> Vec<String> {
    let decoded = |text: &str| {
        let mut parts = text.split('%');
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (code, rest) = part.split_at(2);
            whole.push(char::from(u8::from_str_radix(code, 16).expect("a code")));
            whole.push_str(rest);
        }
        whole
    };
    let words = query.split('&').filter_map(|pair| pair.strip_prefix("command="));
    words.map(|word| decoded(&word.replace('+', " "))).collect()
}

/// Runs a command on this machine with the client's input, and tells its exit code.
async fn run_command(words: &[String], mut stdin: tokio::sync::mpsc::Receiver<Bytes>, writers: [Writer; 3]) {
    let [stdout, stderr, error] = writers;
    let pipe = std::process::Stdio::piped;
    let mut child = tokio::process::Command::new(&words[0])
        .args(&words[1..])
        .stdin(pipe())
        .stdout(pipe())
        .stderr(pipe())
        .kill_on_drop(true)
        .spawn()
        .expect("the command is there");
    let mut input = child.stdin.take().expect("piped");
    let feeding = async {
        while let Some(data) = stdin.recv().await {
            if input.write_all(&data).await.is_err() {
                break;
            }
        }
        drop(input);
        std::future::pending::<()>().await;
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.expect("it ends"),
        () = feeding => unreachable!("it never ends"),
    };
    let status = match output.status.code() {
        Some(0) => json!({"status": "Success"}).to_string(),
        code => STATUS.replace("\"3\"", &format!("\"{}\"", code.unwrap_or(1))),
    };
    for (writer, text) in [(stdout, output.stdout), (stderr, output.stderr), (error, status.into_bytes())] {
        writer.send(&text).await.expect("the client listens");
        writer.finish().await.expect("the client listens");
    }
}

/// Sends back what comes to any port.
async fn echo_ports(mut connection: Connection, tasks: &TaskSet) {
    while let Some(stream) = connection.accept().await {
        assert_eq!(stream.header("port"), "80");
        let (writer, mut data) = (stream.writer(), stream.data);
        tasks.spawn_until_cancelled("echo", async move {
            while let Some(part) = data.recv().await {
                writer.send(&part).await.expect("the client listens");
            }
            writer.finish().await.expect("the client listens");
        });
    }
}

impl Running {
    fn line(&self, words: &str) -> Vec<String> {
        let line = format!("--kubeconfig {} {words}", self.kubeconfig);
        line.split(' ').map(str::to_owned).collect()
    }

    async fn outcome(&self, words: &str) -> Outcome {
        let (out, err) = (Sink::default(), Sink::default());
        let code = kubectl::run(self.line(words), kubectl::Streams::new(out.clone(), err.clone())).await;
        Outcome { out: out.text(), err: err.text(), code: code.into() }
    }

    pub async fn stop(self) {
        self.server.tasks.shutdown().await;
    }

    fn asked(&self) -> Vec<String> {
        self.server.asked.lock().expect("no one panics").clone()
    }
}

/// Runs a command whose process says hello, oops, and leaves with 3, and compares what was asked for.
async fn check(websocket: &'static [&'static str], spdy: &'static [&'static str], command: &str, asked: &[&str]) {
    let running = Server::start(websocket, spdy).await;
    let outcome = running.outcome(command).await;
    let err = "oops\ncommand terminated with exit code 3\n".to_owned();
    assert_eq!(outcome, Outcome { out: "hello\n".to_owned(), err, code: 3 });
    assert_eq!(running.asked(), asked);
    running.server.tasks.shutdown().await;
}

#[tokio::test]
async fn a_process_is_reached_over_whatever_the_server_knows() {
    let all = &[CHANNELS_V5, CHANNELS_V4];
    for command in ["exec p -- hello", "attach -q p"] {
        check(all, &[CHANNELS_V4], command, &["websocket"]).await;
        check(&[CHANNELS_V4], &[CHANNELS_V4], command, &["websocket"]).await;
        check(&[], &[CHANNELS_V4], command, &["websocket", "SPDY/3.1"]).await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_quoted() {
    let running = Server::start(&[], &[]).await;
    let outcome = running.outcome("exec p -- hello").await;
    assert_eq!((outcome.err.as_str(), outcome.code), ("error: unable to upgrade connection: no SPDY/3.1 here\n", 1));
    assert_eq!(running.asked(), ["websocket", "SPDY/3.1"]);
    let outcome = running.outcome("port-forward p :80").await;
    let wanted = "error: error upgrading connection: unable to upgrade connection: no SPDY/3.1 here\n";
    assert_eq!((outcome.err.as_str(), outcome.code), (wanted, 1));
    running.server.tasks.shutdown().await;
}

/// The other end of a command's output.
async fn forwarded_port(out: &Sink) -> u16 {
    loop {
        let text = out.text();
        let port =
            text.lines().find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:")?.strip_suffix(" -> 80"));
        if let Some(port) = port {
            return port.parse().expect("a port");
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_port_is_forwarded_over_whatever_the_server_knows() {
    for (websocket, asked) in [(&[PORT_FORWARD_TUNNEL][..], &["websocket"][..]), (&[], &["websocket", "SPDY/3.1"])] {
        let running = Server::start(websocket, &[PORT_FORWARD]).await;
        let out = Sink::default();
        let streams = kubectl::Streams::new(out.clone(), std::io::sink());
        let (line, tasks) = (running.line("port-forward p :80"), TaskSet::new());
        tasks.spawn_until_cancelled("kubectl", async move {
            let _ = kubectl::run(line, streams).await;
        });
        let port = forwarded_port(&out).await;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        stream.write_all(b"there and back").await.expect("written");
        stream.shutdown().await.expect("half closed");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert_eq!(
            (answer.as_str(), running.asked()),
            ("there and back", asked.iter().map(|s| s.to_string()).collect())
        );
        tasks.shutdown().await;
        running.server.tasks.shutdown().await;
    }
}
