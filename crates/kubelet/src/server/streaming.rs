//! Exec, attach and port-forward: the upgrade, the protocol, and then the session.

use std::time::Duration;

use api::corev1::Pod;
use container::{ExecConfig, Session};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rt::{CancellationToken, TaskSet};
use tokio::sync::mpsc;

use super::port_forward::{self, Destination};
use super::remote::{self, Output, Remote, SizeReader};
use super::routes::{Query, find_pod, header_list};
use super::spdy::{self, Stream};
use super::websocket::{self, Tunnel, Wanted};
use super::{Body, Server, body, text};
use crate::pods::model::uid;

const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
const CHANNEL_PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const SPDY_EXEC_PROTOCOLS: [&str; 1] = ["v4.channel.k8s.io"];
const PORT_FORWARD: &str = "portforward.k8s.io";
const PORT_FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// How long a client may take to open its streams.
const STREAMS_WAIT: Duration = Duration::from_secs(30);
const SIZES_MAX: usize = 8;

/// What the client wants to leave HTTP for.
enum Upgrade {
    WebSocket { protocol: &'static str, accept: String },
    Spdy { protocol: &'static str },
}

fn offered(request: &Request<Incoming>, header: &str, known: &[&'static str]) -> Option<&'static str> {
    let list = header_list(request, header);
    known.iter().find(|protocol| list.iter().any(|offered| offered == *protocol)).copied()
}

fn upgrade(
    request: &Request<Incoming>,
    websocket: &[&'static str],
    spdy: &[&'static str],
) -> Result<Upgrade, Response<Body>> {
    let bad = |message: &str| text(StatusCode::BAD_REQUEST, message);
    let kind = header_list(request, UPGRADE.as_str()).join(",").to_ascii_lowercase();
    if kind.contains("websocket") {
        let protocol = offered(request, "sec-websocket-protocol", websocket);
        let protocol =
            protocol.ok_or_else(|| bad("unable to upgrade: no supported WebSocket subprotocol was offered\n"))?;
        let key = request.headers().get("sec-websocket-key").ok_or_else(|| bad("missing Sec-WebSocket-Key\n"))?;
        return Ok(Upgrade::WebSocket { protocol, accept: websocket::derive_accept_key(key.as_bytes()) });
    }
    if kind.contains("spdy/3.1") {
        let protocol = offered(request, STREAM_PROTOCOL, spdy);
        let refusal = || {
            let mut answer = text(StatusCode::FORBIDDEN, "unable to negotiate protocol\n");
            for known in spdy {
                answer.headers_mut().append("x-accepted-stream-protocol-versions", HeaderValue::from_static(known));
            }
            answer
        };
        return protocol.map(|protocol| Upgrade::Spdy { protocol }).ok_or_else(refusal);
    }
    Err(bad("Upgrade request required\n"))
}

fn switching(upgrade: &Upgrade) -> Response<Body> {
    let mut response = Response::new(body(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    match upgrade {
        Upgrade::WebSocket { protocol, accept } => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
            if let Ok(accept) = HeaderValue::try_from(accept.as_str()) {
                headers.insert("sec-websocket-accept", accept);
            }
        }
        Upgrade::Spdy { protocol } => {
            headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            headers.insert(HeaderName::from_static(STREAM_PROTOCOL), HeaderValue::from_static(protocol));
        }
    }
    response
}

fn wanted(query: &Query) -> Wanted {
    let either = |a: &str, b: &str| query.is_set(a) || query.is_set(b);
    let tty = query.is_set("tty");
    Wanted {
        stdin: either("input", "stdin"),
        stdout: either("output", "stdout"),
        stderr: either("error", "stderr") && !tty,
        tty,
    }
}

fn exec_config(query: &Query) -> ExecConfig {
    let Wanted { stdin, stdout, stderr, tty } = wanted(query);
    ExecConfig { args: query.all("command"), tty, stdin, stdout, stderr, kill_on_drop: false }
}

pub async fn exec(
    server: &Server,
    request: Request<Incoming>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    tasks: &TaskSet,
) -> Response<Body> {
    session(server, request, (namespace, pod, container), query, tasks, true).await
}

pub async fn attach(
    server: &Server,
    request: Request<Incoming>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    tasks: &TaskSet,
) -> Response<Body> {
    session(server, request, (namespace, pod, container), query, tasks, false).await
}

async fn session(
    server: &Server,
    request: Request<Incoming>,
    (namespace, name, container): (&str, &str, &str),
    query: &Query,
    tasks: &TaskSet,
    is_exec: bool,
) -> Response<Body> {
    let pod = match find_pod(server, namespace, name) {
        Ok(pod) => pod,
        Err(answer) => return answer,
    };
    let upgrade = match upgrade(&request, &CHANNEL_PROTOCOLS, &SPDY_EXEC_PROTOCOLS) {
        Ok(upgrade) => upgrade,
        Err(answer) => return answer,
    };
    let config = exec_config(query);
    if is_exec && config.args.is_empty() {
        return text(StatusCode::BAD_REQUEST, "you must specify at least one command for the container\n");
    }
    let Some(id) = running_container(server, &pod, container).await else {
        return text(StatusCode::NOT_FOUND, format!("container not found ({container:?})\n"));
    };
    let answer = switching(&upgrade);
    let (server, tasks_inside, wanted) = (server.clone(), tasks.clone(), wanted(query));
    tasks.spawn_until_cancelled("exec or attach", async move {
        let Ok(io) = hyper::upgrade::on(request).await else { return };
        let io = TokioIo::new(io);
        let remote = match upgrade {
            Upgrade::WebSocket { .. } => Some(websocket::open(io, wanted, &tasks_inside).await),
            Upgrade::Spdy { .. } => spdy_remote(spdy::serve(io, &tasks_inside), wanted, &tasks_inside).await,
        };
        let Some(remote) = remote else { return };
        let session = begin(&server, &pod, &id, &config, is_exec).await;
        remote::run(session, remote).await;
    });
    answer
}

async fn begin(server: &Server, pod: &Pod, id: &str, config: &ExecConfig, is_exec: bool) -> Result<Session, String> {
    let runtime = &server.context.runtime;
    let session =
        if is_exec { runtime.exec(uid(pod), id, config).await } else { runtime.attach(uid(pod), id, config).await };
    session.map_err(|error| {
        let text = error.full_text();
        if is_exec {
            format!("OCI runtime exec failed: exec failed: unable to start container process: {text}")
        } else {
            text
        }
    })
}

async fn running_container(server: &Server, pod: &Pod, name: &str) -> Option<String> {
    let status = server.context.runtime.status(uid(pod)).await.ok()??;
    let mine = status.containers.into_iter().filter(|container| container.config.name == name);
    mine.filter(|container| container.state.is_running()).map(|container| container.config.id).next_back()
}

/// Waits for the streams that the query announced.
async fn spdy_remote(mut streams: mpsc::Receiver<Stream>, wanted: Wanted, tasks: &TaskSet) -> Option<Remote> {
    let expected = 1
        + usize::from(wanted.stdin)
        + usize::from(wanted.stdout)
        + usize::from(wanted.stderr)
        + usize::from(wanted.tty);
    let mut opened = std::collections::HashMap::new();
    let collect = async {
        while opened.len() < expected {
            let Some(stream) = streams.recv().await else { return };
            opened.insert(stream.headers.get("streamtype").cloned().unwrap_or_default(), stream);
        }
    };
    tokio::time::timeout(STREAMS_WAIT, collect).await.ok()?;
    let lost = CancellationToken::new();
    let token = lost.clone();
    // The receiver ends with the connection. A finished session drops the remote, which drops the last writers.
    let watcher = token.clone();
    tasks.spawn_until_cancelled("spdy connection", async move {
        tokio::select! {
            () = async { while streams.recv().await.is_some() {} } => token.cancel(),
            () = watcher.cancelled() => {}
        }
    });
    let error = Output::Spdy(opened.remove("error")?.writer());
    Some(Remote {
        stdout: opened.remove("stdout").map(|stream| Output::Spdy(stream.writer())),
        stderr: opened.remove("stderr").map(|stream| Output::Spdy(stream.writer())),
        stdin: opened.remove("stdin").map(|stream| stream.data),
        sizes: opened.remove("resize").map(|stream| sizes(stream, tasks)),
        error,
        lost,
    })
}

fn sizes(mut stream: Stream, tasks: &TaskSet) -> mpsc::Receiver<container::TerminalSize> {
    let (sender, receiver) = mpsc::channel(SIZES_MAX);
    tasks.spawn_until_cancelled("terminal sizes", async move {
        let mut reader = SizeReader::default();
        let mut data = stream.data;
        stream.headers.clear();
        while let Some(part) = data.recv().await {
            for size in reader.take(&part) {
                if sender.send(size).await.is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

pub async fn port_forward(
    server: &Server,
    request: Request<Incoming>,
    namespace: &str,
    name: &str,
    tasks: &TaskSet,
) -> Response<Body> {
    let pod = match find_pod(server, namespace, name) {
        Ok(pod) => pod,
        Err(answer) => return answer,
    };
    let upgrade = match upgrade(&request, &[PORT_FORWARD_TUNNEL], &[PORT_FORWARD]) {
        Ok(upgrade) => upgrade,
        Err(answer) => return answer,
    };
    let Ok(Some(status)) = server.context.runtime.status(uid(&pod)).await else {
        return text(StatusCode::NOT_FOUND, format!("not found (pod {name:?} has no sandbox)\n"));
    };
    let destination = Destination { netns: status.netns, pod: uid(&pod).to_owned() };
    let answer = switching(&upgrade);
    let inside = tasks.clone();
    tasks.spawn_until_cancelled("port-forward", async move {
        let Ok(io) = hyper::upgrade::on(request).await else { return };
        let io = TokioIo::new(io);
        let streams = match upgrade {
            Upgrade::WebSocket { .. } => spdy::serve(Tunnel::open(io).await, &inside),
            Upgrade::Spdy { .. } => spdy::serve(io, &inside),
        };
        port_forward::run(streams, destination, inside).await;
    });
    answer
}
