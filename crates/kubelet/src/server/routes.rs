//! Which path does what.

use std::sync::Arc;

use api::corev1::Pod;
use apimachinery::{ObjectKey, Status};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use rt::TaskSet;
use tokio::sync::mpsc;

use super::logs::{self, Options};
use super::{Body, Server, body, reports, streaming, text};
use crate::context::Context;
use crate::pods::ephemeral::find_container;
use crate::pods::model::uid;

/// Parts of a log that may wait for the client.
const PARTS_MAX: usize = 16;

/// The query, in order; names may repeat.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query(pairs.collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    pub fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "t" | "T" | "TRUE" | "True"))
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub async fn route(server: &Server, request: Request<Incoming>, tasks: &TaskSet) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match parts.as_slice() {
        ["healthz"] => text(StatusCode::OK, "ok"),
        ["pods" | "runningpods"] => reports::pods(server),
        ["stats", "summary"] => reports::summary(server).await,
        ["metrics", "resource"] => reports::resource_metrics(server).await,
        ["containerLogs", namespace, pod, container] => {
            container_logs(server, namespace, pod, container, &query, tasks).await
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            streaming::exec(server, request, namespace, pod, container, &query, tasks).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            streaming::attach(server, request, namespace, pod, container, &query, tasks).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            streaming::port_forward(server, request, namespace, pod, tasks).await
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

pub fn find_pod(server: &Server, namespace: &str, name: &str) -> Result<Arc<Pod>, Response<Body>> {
    let found = server.manager.pods().get(&ObjectKey::new(namespace, name));
    found.ok_or_else(|| text(StatusCode::NOT_FOUND, format!("pod does not exist: {name}_{namespace}\n")))
}

/// The newest instance of a container, or the one before it.
async fn container_logs(
    server: &Server,
    namespace: &str,
    name: &str,
    container: &str,
    query: &Query,
    tasks: &TaskSet,
) -> Response<Body> {
    let pod = match find_pod(server, namespace, name) {
        Ok(pod) => pod,
        Err(answer) => return answer,
    };
    if find_container(&pod, container).is_none() {
        return text(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {name:?}\n"));
    }
    let options = match options(query) {
        Ok(options) => options,
        Err(message) => return refusal(&Status::bad_request(message)),
    };
    let directory = server.context.log_dir(&pod).join(container);
    let Some(path) = choose_log(&directory, options.previous) else {
        return refusal(&Status::bad_request(no_log(&pod, container, options.previous)));
    };
    stream_log(server, &pod, container, path, options, tasks)
}

/// The API server passes this on as it is, and clients want to know the reason.
fn refusal(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(body(serde_json::to_vec(status).unwrap_or_default()));
    *response.status_mut() = code;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

fn no_log(pod: &Pod, container: &str, previous: bool) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if previous {
        return format!("previous terminated container {container:?} in pod {name:?} not found");
    }
    let waiting = crate::pods::status::written_status(pod, container)
        .and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match waiting.as_deref() {
        Some(reason @ ("ErrImagePull" | "ImagePullBackOff")) => {
            let why =
                if reason == "ErrImagePull" { "image can't be pulled" } else { "trying and failing to pull image" };
            format!("container {container:?} in pod {name:?} is waiting to start: {why}")
        }
        Some(reason) => format!("container {container:?} in pod {name:?} is waiting to start: {reason}"),
        None => format!("container {container:?} in pod {name:?} is not available"),
    }
}

/// Files are named by attempt.
fn choose_log(directory: &std::path::Path, previous: bool) -> Option<std::path::PathBuf> {
    let names =
        std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut attempts: Vec<u32> = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    attempts.sort_unstable();
    let newest = attempts.pop()?;
    let attempt = if previous { attempts.pop()? } else { newest };
    Some(directory.join(format!("{attempt}.log")))
}

fn options(query: &Query) -> Result<Options, String> {
    let number = |name: &str| -> Result<Option<u64>, String> {
        let Some(value) = query.get(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("invalid {name}: {value:?}"))
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).ok()
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| format!("invalid sinceTime: {time:?}"))?),
        (None, None) => None,
    };
    Ok(Options {
        follow: query.is_set("follow"),
        previous: query.is_set("previous"),
        timestamps: query.is_set("timestamps"),
        tail_lines: number("tailLines")?.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        since,
        limit_bytes: number("limitBytes")?,
        stream: query.get("stream").filter(|stream| *stream != "All").map(str::to_owned),
    })
}

fn stream_log(
    server: &Server,
    pod: &Pod,
    container: &str,
    path: std::path::PathBuf,
    options: Options,
    tasks: &TaskSet,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(PARTS_MAX);
    let ended = ended(Arc::clone(&server.context), uid(pod).to_owned(), container.to_owned(), path.clone());
    tasks.spawn_until_cancelled("read a log", async move {
        if let Err(error) = logs::read(path, options, ended, sender).await {
            tracing::debug!(%error, "log was not read");
        }
    });
    let frames = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|part| (Ok(Frame::data(part.into())), receiver))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, plain);
    response
}

/// Waits for the end of the container that writes this log.
async fn ended(context: Arc<Context>, pod: String, container: String, log: std::path::PathBuf) {
    let mut events = context.runtime.subscribe();
    while is_running(&context, &pod, &container, &log).await {
        // Of the same pod, or of any if some were missed.
        while let Ok(event) = events.recv().await {
            if event.sandbox == pod {
                break;
            }
        }
    }
}

async fn is_running(context: &Context, pod: &str, container: &str, log: &std::path::Path) -> bool {
    let Ok(Some(status)) = context.runtime.status(pod).await else { return false };
    let mine = status.containers.iter().find(|one| one.config.name == container && one.config.log.path == log);
    mine.is_some_and(|one| one.state.exit().is_none())
}

/// Headers that a client may give several times or as a list.
pub fn header_list(request: &Request<Incoming>, name: &str) -> Vec<String> {
    let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|value| value.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("command=sh&command=-c&command=echo%20a+b&tty=1");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a b"]);
        assert!(query.is_set("tty") && !query.is_set("stdin"));
    }

    #[test]
    fn the_newest_log_is_chosen_by_number() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["0.log", "9.log", "10.log", "10.log.20260101-000000"] {
            std::fs::write(directory.path().join(name), "").expect("a file");
        }
        assert_eq!(choose_log(directory.path(), false), Some(directory.path().join("10.log")));
        assert_eq!(choose_log(directory.path(), true), Some(directory.path().join("9.log")));
    }

    #[test]
    fn log_options_are_read() {
        let read = options(&Query::parse("follow=true&tailLines=5&limitBytes=9")).expect("options");
        assert_eq!((read.follow, read.tail_lines, read.limit_bytes), (true, Some(5), Some(9)));
        assert!(options(&Query::parse("tailLines=x")).is_err());
    }
}
