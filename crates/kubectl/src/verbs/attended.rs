//! A pod that somebody attends: waited for, joined, and read where it cannot be joined.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;

use super::attach::{Joining, join};
use crate::failure::{Failure, fail};
use crate::objects::{Call, Info, Watcher};
use crate::session::Session;

/// The pod, once this holds of it.
pub(super) async fn until(
    session: &Session,
    pod: &Info,
    timeout: Duration,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    let waited = tokio::time::timeout(timeout, watched(session, pod, holds)).await;
    waited.unwrap_or_else(|_| fail!("timed out waiting for the condition"))
}

async fn watched(session: &Session, pod: &Info, holds: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
    let client = session.client()?;
    let call = || Call::get(pod.collection()).query("fieldSelector", &format!("metadata.name={}", pod.name));
    let mut list = call().value(client).await?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let first = list["items"][0].take();
    if holds(&first) {
        return Ok(first);
    }
    let mut watcher = Watcher::start(client, call().query("resourceVersion", &version)).await?;
    while let Some(event) = watcher.next().await? {
        if event.kind == "DELETED" {
            return fail!("pods {:?} not found", pod.name);
        }
        if holds(&event.object) {
            return Ok(event.object);
        }
    }
    fail!("timed out waiting for the condition")
}

/// Joins a container; where that fails, shows what it has said since then.
pub(super) async fn join_or_read(
    session: &Session,
    pod: &Info,
    object: &Value,
    joining: Joining<'_>,
    since: Option<&str>,
) -> Result<(), Failure> {
    let container = joining.container.clone();
    match join(session, pod, object, joining).await {
        Err(failure @ (Failure::Server(_) | Failure::Client(_) | Failure::Plain(_))) => {
            session.streams.note(format!(
                "warning: couldn't attach to pod/{}, falling back to streaming logs: {}",
                pod.name,
                failure.text()
            ));
            read(session, pod, &container, since).await
        }
        ended => ended,
    }
}

/// What a container has written.
pub(super) async fn read(session: &Session, pod: &Info, container: &str, since: Option<&str>) -> Result<(), Failure> {
    let call = Call::get(pod.path() + "/log").query("container", container).maybe("sinceTime", since);
    let mut body = call.stream(session.client()?).await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(client::Error::Body)?;
        session.streams.print(frame.into_data().unwrap_or_default())?;
    }
    Ok(())
}
