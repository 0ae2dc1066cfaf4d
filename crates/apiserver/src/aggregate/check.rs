//! One look at a remote group version: whether its server answers, and what it serves.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::object;
use auth::UserInfo;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use http::uri::Authority;
use http::{Method, Request, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::Key;
use tokio::time::timeout;

use super::remote::{Described, Remote, Seen};
use super::{GROUP, NAME};
use crate::body;
use crate::internal;
use crate::serve::openapi::merge;
use crate::server::Inner;

const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Status, reason and message of the condition `Available`.
type Verdict = (&'static str, &'static str, String);

/// One look. False when the server itself did not answer well: that is tried again soon.
pub async fn run(server: &Arc<Inner>, remote: &Arc<Remote>) -> bool {
    let verdict = match reachable(server, remote) {
        Some(verdict) => verdict,
        None => match look(server, remote).await {
            Ok(seen) => {
                *remote.seen.lock() = seen;
                ("True", "Passed", "all checks passed".into())
            }
            Err(why) => ("False", "FailedDiscoveryCheck", why),
        },
    };
    let passed = verdict.1 != "FailedDiscoveryCheck";
    write(server, remote, verdict).await && passed
}

/// What is wrong with the service, as far as the objects tell.
fn reachable(server: &Inner, remote: &Remote) -> Option<Verdict> {
    let no = |reason, message| Some(("False", reason, message));
    let (name, namespace, port) = (&remote.service.name, &remote.service.namespace, remote.service.port);
    let place = format!("service/{name} in {namespace:?}");
    let Some(stored) = server.store.get(&Key::new("", "services", namespace, name)) else {
        return no("ServiceNotFound", format!("{place} is not present"));
    };
    let service = stored.value();
    if service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP") != "ClusterIP" {
        return None;
    }
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let Some(own) = ports.into_iter().flatten().find(|own| own["port"] == port) else {
        return no("ServicePortError", format!("{place} is not listening on port {port}"));
    };
    let snapshot = server.store.snapshot();
    let prefix = Key::prefix("discovery.k8s.io", "endpointslices", Some(namespace));
    let slices = snapshot.range(&prefix, None).map(|(_, slice)| slice);
    let own_slices = slices.filter(|slice| slice.header.label("kubernetes.io/service-name") == Some(name));
    let slices: Vec<Value> = own_slices.map(|slice| slice.value()).collect();
    let port_name = own["name"].as_str().unwrap_or_default();
    if slices.is_empty() {
        return no("EndpointsNotFound", format!("cannot find endpointslices for {place}"));
    }
    if !slices.iter().any(|slice| has_endpoint(slice, port_name)) {
        let why = format!("endpointslices for {place} have no addresses with port name {port_name:?}");
        return no("MissingEndpoints", why);
    }
    None
}

fn has_endpoint(slice: &Value, port_name: &str) -> bool {
    let list = |field: &str| slice[field].as_array().cloned().unwrap_or_default();
    let ready = list("endpoints").iter().any(|one| one.pointer("/conditions/ready") != Some(&Value::Bool(false)));
    let named = |port: &Value| port["name"] == port_name && port["port"].is_u64();
    ready && list("ports").iter().any(named)
}

/// How often the server is asked at once: one good answer is enough.
const ATTEMPTS: usize = 5;

/// Asks the server itself.
async fn look(server: &Inner, remote: &Remote) -> Result<Seen, String> {
    let list = attempt(server, remote).await?;
    let resources = list["resources"].as_array().cloned().unwrap_or_default();
    let own = remote.root().trim_start_matches('/').to_string();
    let (index, swagger) = tokio::join!(fetch(server, remote, "/openapi/v3"), describe(server, remote));
    let openapi = match index {
        Ok((200, index)) => index["paths"][own]["serverRelativeURL"].as_str().map(str::to_string),
        _ => None,
    };
    Ok(Seen { resources, openapi, swagger })
}

/// What the first good answer lists; why the last one failed, if none is good.
async fn attempt(server: &Inner, remote: &Remote) -> Result<Value, String> {
    let mut attempts: FuturesUnordered<_> = (0..ATTEMPTS).map(|_| ping(server, remote)).collect();
    let mut last = Err(String::new());
    while let Some(answer) = attempts.next().await {
        last = answer;
        if last.is_ok() {
            break;
        }
    }
    last
}

async fn ping(server: &Inner, remote: &Remote) -> Result<Value, String> {
    let at = remote.endpoint(&server.store)?;
    let path = remote.root();
    let url = format!("https://{at}{path}");
    let failing = |why: String| format!("failing or missing response from {url}: {why}");
    let asked = ask_at(remote, &at, &path, "").await;
    let (code, _, bytes) = asked.map_err(|why| failing(format!("Get {url:?}: {why}")))?;
    if !(200..300).contains(&code) {
        return Err(failing(format!("bad status from {url}: {code}")));
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// What was known stays where the document is still the same, and where the server does not say.
async fn describe(server: &Inner, remote: &Remote) -> Option<Arc<Described>> {
    let known = remote.seen.lock().swagger.clone();
    let etag = known.as_ref().map(|known| known.etag.clone()).unwrap_or_default();
    match ask(server, remote, "/openapi/v2", &etag).await {
        Ok((200, etag, bytes)) => {
            let document: Value = serde_json::from_slice(&bytes).ok()?;
            let value = merge::below(&document, &format!("{}/", remote.root()));
            let etag = if etag.is_empty() { format!("{:x}", Sha256::digest(&bytes)) } else { etag };
            Some(Arc::new(Described { etag, value }))
        }
        Ok((404, ..)) => None,
        _ => known,
    }
}

/// A JSON document; what is none is null.
async fn fetch(server: &Inner, remote: &Remote, path: &str) -> Result<(u16, Value), String> {
    let (code, _, bytes) = ask(server, remote, path, "").await?;
    Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
}

async fn ask(server: &Inner, remote: &Remote, path: &str, etag: &str) -> Result<(u16, String, Bytes), String> {
    ask_at(remote, &remote.endpoint(&server.store)?, path, etag).await
}

/// Code, `ETag` and body; the code is 304 when the document still has the digest that is given.
async fn ask_at(remote: &Remote, at: &Authority, path: &str, etag: &str) -> Result<(u16, String, Bytes), String> {
    let mut request = Request::builder().method(Method::GET).uri(path).header(header::ACCEPT, "application/json");
    if !etag.is_empty() {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let request = request.body(body::empty()).map_err(|error| error.to_string())?;
    let user = UserInfo::new("system:kube-aggregator", &[auth::names::MASTERS]);
    let asking = async {
        let response = remote.send(at, request, &user).await?;
        let code = response.status().as_u16();
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let etag = etag.to_owned();
        let bytes = body::read(response.into_body()).await.map_err(|status| status.message)?;
        Ok((code, etag, bytes))
    };
    let late = || Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into());
    timeout(ANSWER_MAX, asking).await.unwrap_or_else(|_| late())
}

/// Writes the condition if it is another one. False when it could not be written.
async fn write(server: &Arc<Inner>, remote: &Remote, (status, reason, message): Verdict) -> bool {
    let Some(stored) = server.store.get(&Key::new(GROUP, NAME, "", &remote.name)) else { return true };
    let mut value = stored.value();
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let (own, mut others): (Vec<Value>, Vec<Value>) =
        conditions.into_iter().partition(|one| one["type"] == "Available");
    let now = apimachinery::time::format(Timestamp::now());
    let mut condition = json!({
        "type": "Available", "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
    });
    if let Some(own) = own.first() {
        if own["status"] == status {
            condition["lastTransitionTime"] = own["lastTransitionTime"].clone();
        }
        if *own == condition {
            return true;
        }
    }
    let fell = status != "True" && own.first().is_some_and(|own| own["status"] == "True");
    others.push(condition);
    value["status"] = json!({"conditions": others});
    value["kind"] = "APIService".into();
    value["apiVersion"] = format!("{GROUP}/v1").into();
    let path = format!("{}/status", super::path(object::name(&value)));
    match internal::send(server, Method::PUT, &path, Some(&value)).await {
        Ok(_) => {
            if fell {
                server.remotes.count_unavailable(&remote.name, reason);
            }
            true
        }
        Err(status) => {
            if !matches!(status.code, 404 | 409) {
                tracing::warn!(apiservice = remote.name, %status, "cannot write the status of an APIService");
            }
            false
        }
    }
}
