//! Exec, attach and port-forward: the upgrade, the protocol, and then the session.

use std::time::Duration;

use api::corev1::Pod;
use container::{ExecConfig, Session};
use httpstream::channels::{self, Channels};
use httpstream::spdy::Connection;
use httpstream::{
    ACCEPTED_PROTOCOLS_HEADER, CHANNELS_V4, CHANNELS_V5, PORT_FORWARD, PORT_FORWARD_TUNNEL, PROTOCOL_HEADER, Tunnel,
};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rt::TaskSet;

use super::port_forward::{self, Destination};
use super::remote::{self, Remote};
use super::routes::{Query, find_pod, header_list};
use super::{Body, Server, body, text};
use crate::pods::model::uid;

/// How long a client may take to open its streams.
const STREAMS_WAIT: Duration = Duration::from_secs(30);

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
        return Ok(Upgrade::WebSocket { protocol, accept: httpstream::derive_accept_key(key.as_bytes()) });
    }
    if kind.contains("spdy/3.1") {
        let protocol = offered(request, PROTOCOL_HEADER, spdy);
        let refusal = || {
            let mut answer = text(StatusCode::FORBIDDEN, "unable to negotiate protocol\n");
            for known in spdy {
                answer.headers_mut().append(ACCEPTED_PROTOCOLS_HEADER, HeaderValue::from_static(known));
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
            headers.insert(HeaderName::from_static(PROTOCOL_HEADER), HeaderValue::from_static(protocol));
        }
    }
    response
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
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
    let upgrade = match upgrade(&request, &[CHANNELS_V5, CHANNELS_V4], &[CHANNELS_V4]) {
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
            Upgrade::WebSocket { .. } => Some(channel_remote(io, wanted, &tasks_inside).await),
            Upgrade::Spdy { .. } => spdy_remote(Connection::server(io, &tasks_inside), wanted).await,
        };
        let Some(remote) = remote else { return };
        let session = begin(&server, &pod, &id, &config, is_exec).await;
        remote::run(session, remote, is_exec).await;
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

async fn channel_remote(io: TokioIo<Upgraded>, wanted: Wanted, tasks: &TaskSet) -> Remote {
    let (channels, [stdin, sizes]) = Channels::server(io, [channels::STDIN, channels::RESIZE], tasks).await;
    let remote = Remote {
        stdin: wanted.stdin.then_some(stdin),
        stdout: wanted.stdout.then(|| channels.writer(channels::STDOUT)),
        stderr: wanted.stderr.then(|| channels.writer(channels::STDERR)),
        error: channels.writer(channels::ERROR),
        sizes: wanted.tty.then_some(sizes),
        lost: channels.lost(),
    };
    // An empty message tells the client that the streams are open.
    let first = remote.stdout.as_ref().or(remote.stderr.as_ref()).unwrap_or(&remote.error);
    let _ = first.send(&[]).await;
    remote
}

/// Waits for the streams that the query announced.
async fn spdy_remote(mut connection: Connection, wanted: Wanted) -> Option<Remote> {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let expected = 1 + [stdin, stdout, stderr, tty].into_iter().filter(|wanted| *wanted).count();
    let mut opened = std::collections::HashMap::new();
    let collect = async {
        while opened.len() < expected {
            let Some(stream) = connection.accept().await else { return };
            opened.insert(stream.header("streamtype").to_owned(), stream);
        }
    };
    tokio::time::timeout(STREAMS_WAIT, collect).await.ok()?;
    Some(Remote {
        stdout: opened.remove("stdout").map(|stream| stream.writer()),
        stderr: opened.remove("stderr").map(|stream| stream.writer()),
        stdin: opened.remove("stdin").map(|stream| stream.data),
        sizes: opened.remove("resize").map(|stream| stream.data),
        error: opened.remove("error")?.writer(),
        lost: connection.lost(),
    })
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
        let connection = match upgrade {
            Upgrade::WebSocket { .. } => Connection::server(Tunnel::server(io).await, &inside),
            Upgrade::Spdy { .. } => Connection::server(io, &inside),
        };
        port_forward::run(connection, destination, inside).await;
    });
    answer
}
