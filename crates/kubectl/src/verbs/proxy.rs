//! `proxy`: the API server on a local port, with the user's credentials.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use client::{Body, Client};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use regex::Regex;
use rt::TaskSet;
use tokio::net::{TcpListener, TcpStream};

use crate::command::{Command, runs};
use crate::config::os_text;
use crate::failure::{Failure, fail};
use crate::flags::{Flag, Kind, Parsed};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "proxy",
    about: "Run a proxy to the Kubernetes API server",
    usage: "[--port=PORT] [--api-prefix=prefix] [options]",
    flags: &[FLAGS],
    run: runs!(run),
    ..Command::EMPTY
};

const FLAGS: &[Flag] = &[
    Flag::text("accept-hosts", "Regular expression for hosts that the proxy should accept.")
        .or(r"^localhost$,^127\.0\.0\.1$,^\[::1\]$"),
    Flag::text("accept-paths", "Regular expression for paths that the proxy should accept.").or("^.*"),
    Flag::text("address", "The IP address on which to serve on.").or("127.0.0.1"),
    Flag::text("api-prefix", "Prefix to serve the proxied API under.").or("/"),
    Flag::switch("disable-filter", "If true, disable request filtering in the proxy."),
    Flag::new("keepalive", Kind::Duration, "Accepted for compatibility.").or("0s"),
    Flag::number("port", "8001", "The port on which to run the proxy. Set to 0 to pick a random port.").short('p'),
    Flag::text("reject-methods", "Regular expression for HTTP methods that the proxy should reject.").or("^$"),
    Flag::text("reject-paths", "Regular expression for paths that the proxy should reject.")
        .or("^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach"),
];

async fn run(session: &Session, parsed: Parsed) -> Result<(), Failure> {
    let filter = if parsed.on("disable-filter") {
        session.streams.note("Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious");
        None
    } else {
        Some(Filter::of(&parsed)?)
    };
    let prefix = format!("/{}", parsed.text("api-prefix").trim_matches('/'));
    let client = session.client()?.clone();
    let proxy = Arc::new(Proxy { client, filter, prefix, tasks: TaskSet::new() });
    let address = (parsed.text("address"), u16::try_from(parsed.number("port")).map_err(|_| "invalid port")?);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("listen tcp {}:{}: bind: {}", address.0, address.1, os_text(&error)))?;
    let bound: SocketAddr = listener.local_addr().map_err(|error| os_text(&error))?;
    session.streams.line(format!("Starting to serve on {bound}"))?;
    loop {
        match listener.accept().await {
            Ok((connection, _)) => proxy.clone().serve(connection),
            Err(error) => return fail!("accept: {}", os_text(&error)),
        }
    }
}

/// Keeps strangers' web pages from using the proxy.
struct Filter {
    accept_hosts: Vec<Regex>,
    accept_paths: Vec<Regex>,
    reject_paths: Vec<Regex>,
    reject_methods: Vec<Regex>,
}

impl Filter {
    fn of(parsed: &Parsed) -> Result<Self, Failure> {
        let compile = |flag: &str| -> Result<Vec<Regex>, Failure> {
            let parts = parsed.text(flag).split(',').map(Regex::new);
            parts.collect::<Result<_, _>>().map_err(|error| Failure::Plain(format!("--{flag}: {error}")))
        };
        Ok(Self {
            accept_hosts: compile("accept-hosts")?,
            accept_paths: compile("accept-paths")?,
            reject_paths: compile("reject-paths")?,
            reject_methods: compile("reject-methods")?,
        })
    }

    fn accepts(&self, method: &str, path: &str, host: &str) -> bool {
        let any = |expressions: &[Regex], text: &str| expressions.iter().any(|expression| expression.is_match(text));
        !any(&self.reject_paths, path)
            && !any(&self.reject_methods, method)
            && any(&self.accept_paths, path)
            && any(&self.accept_hosts, without_port(host))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

struct Proxy {
    client: Client,
    filter: Option<Filter>,
    prefix: String,
    tasks: TaskSet,
}

impl Proxy {
    fn serve(self: Arc<Self>, connection: TcpStream) {
        let proxy = self.clone();
        self.tasks.spawn_until_cancelled("proxied connection", async move {
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.answer(request).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service);
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "proxied connection ended");
            }
        });
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (method, path) = (request.method().as_str(), request.uri().path());
        if self.filter.as_ref().is_some_and(|filter| !filter.accepts(method, path, host)) {
            return plain(StatusCode::FORBIDDEN, "Forbidden");
        }
        let Some(path) = self.inner_path(&request) else {
            return plain(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        match self.forward(request, &path).await {
            Ok(response) => response,
            Err(failure) => plain(StatusCode::BAD_GATEWAY, &failure.text()),
        }
    }

    /// The path and query behind the prefix.
    fn inner_path(&self, request: &Request<Incoming>) -> Option<String> {
        let path = request.uri().path_and_query()?.as_str();
        let inner = path.strip_prefix(self.prefix.trim_end_matches('/'))?;
        Some(if inner.starts_with('/') { inner.to_owned() } else { format!("/{inner}") })
    }

    async fn forward(&self, mut request: Request<Incoming>, path: &str) -> Result<Response<Body>, Failure> {
        let upgrades = request.headers().contains_key(header::UPGRADE);
        let downstream = if upgrades { Some(hyper::upgrade::on(&mut request)) } else { None };
        let (mut parts, body) = request.into_parts();
        parts.uri = path.parse().map_err(|error: http::uri::InvalidUri| client::Error::Request(error.into()))?;
        parts.version = http::Version::default();
        parts.headers.remove(header::HOST);
        if !upgrades {
            strip_hop_headers(&mut parts.headers);
        }
        let request = Request::from_parts(parts, body.map_err(client::BoxError::from).boxed_unsync());
        let Some(downstream) = downstream else {
            let mut response = self.client.send(request).await?;
            strip_hop_headers(response.headers_mut());
            return Ok(response);
        };
        let (response, upstream) = self.client.upgrade(request).await?;
        if let Some(mut upstream) = upstream {
            self.tasks.spawn_until_cancelled("proxied upgrade", async move {
                let Ok(downstream) = downstream.await else { return };
                if let Err(error) = tokio::io::copy_bidirectional(&mut TokioIo::new(downstream), &mut upstream).await {
                    tracing::debug!(%error, "proxied upgrade ended");
                }
            });
        }
        Ok(response)
    }
}

fn strip_hop_headers(headers: &mut HeaderMap) {
    for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}

fn plain(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(client::body(text.to_owned()));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_kept_out() {
        let parsed = crate::flags::parse(&[FLAGS], &[]).expect("defaults");
        let filter = Filter::of(&parsed).expect("good expressions");
        assert!(filter.accepts("GET", "/api/v1/pods", "localhost:8001"));
        assert!(filter.accepts("GET", "/api/v1/pods", "[::1]:8001"));
        assert!(!filter.accepts("GET", "/api/v1/pods", "evil.example:8001"));
        assert!(!filter.accepts("POST", "/api/v1/namespaces/a/pods/b/exec", "127.0.0.1"));
    }
}
