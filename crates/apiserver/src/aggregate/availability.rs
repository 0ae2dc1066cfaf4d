//! Looks after remote group versions: whether their servers answer, and what they serve.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::object;
use auth::UserInfo;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::{Method, Request, header};
use jiff::Timestamp;
use rt::TaskSet;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Event, Key, Watcher};
use tokio::time::{Instant, interval_at, timeout};

use super::remote::{Described, Remote, Seen};
use super::{GROUP, NAME};
use crate::body;
use crate::internal;
use crate::serve::openapi::merge;
use crate::server::{Inner, StartError};

/// What no event tells is found out by looking again.
const PERIOD: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What decides whether a server can be reached: group and resource.
const FOLLOWED: [(&str, &str); 3] = [(GROUP, NAME), ("", "services"), ("discovery.k8s.io", "endpointslices")];

/// Takes in what is stored, then follows in a task of the set.
pub fn follow(server: &Arc<Inner>, tasks: &TaskSet) -> Result<(), StartError> {
    let mut watchers = watch(server)?;
    server.remotes.read(&server.store);
    let server = server.clone();
    tasks.spawn_until_cancelled("apiservice-availability", async move {
        let mut again = interval_at(Instant::now() + PERIOD, PERIOD);
        loop {
            check_all(&server).await;
            loop {
                let [services, backends, slices] = &mut watchers;
                let event = tokio::select! {
                    event = services.next() => event,
                    event = backends.next() => event,
                    event = slices.next() => event,
                    _ = again.tick() => break,
                };
                match event {
                    Ok(event) if concerns(&server, &event) => break,
                    Ok(_) => {}
                    Err(_) => match watch(&server) {
                        Ok(fresh) => {
                            watchers = fresh;
                            break;
                        }
                        Err(_) => return,
                    },
                }
            }
            server.remotes.read(&server.store);
        }
    });
    Ok(())
}

fn watch(server: &Inner) -> Result<[Watcher; 3], StartError> {
    let revision = server.store.revision();
    let of = |place: usize| {
        let (group, resource) = FOLLOWED[place];
        server.store.watch(Key::prefix(group, resource, None), revision).map_err(StartError::History)
    };
    Ok([of(0)?, of(1)?, of(2)?])
}

fn concerns(server: &Inner, event: &Event) -> bool {
    let (namespace, header) = (event.key.namespace(), &event.object().header);
    let service = match event.key.resource() {
        "apiservices" => return true,
        "services" => event.key.name(),
        _ => header.label("kubernetes.io/service-name").unwrap_or_default(),
    };
    server.remotes.all().iter().any(|own| own.service.namespace == namespace && own.service.name == service)
}

async fn check_all(server: &Arc<Inner>) {
    let all = server.remotes.all();
    let checks: Vec<BoxFuture<'static, ()>> =
        all.iter().map(|remote| check(server.clone(), remote.clone()).boxed()).collect();
    join_all(checks).await;
}

/// Status, reason and message of the condition `Available`.
type Verdict = (&'static str, &'static str, String);

async fn check(server: Arc<Inner>, remote: Arc<Remote>) {
    let verdict = match reachable(&server, &remote) {
        Some(verdict) => verdict,
        None => match look(&server, &remote).await {
            Ok(seen) => {
                *remote.seen.lock() = seen;
                ("True", "Passed", "all checks passed".into())
            }
            Err(why) => ("False", "FailedDiscoveryCheck", why),
        },
    };
    write(&server, &remote, verdict).await;
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
    let named = |port: &Value| port["name"].as_str().unwrap_or_default() == port_name && port["port"].is_u64();
    ready && list("ports").iter().any(named)
}

/// Asks the server itself.
async fn look(server: &Inner, remote: &Remote) -> Result<Seen, String> {
    let path = format!("/apis/{}/{}", remote.group, remote.version);
    let url = format!("https://{}:{}{path}", remote.service.host(), remote.service.port);
    let failing = |why: String| format!("failing or missing response from {url}: {why}");
    let (code, list) = fetch(server, remote, &path).await.map_err(|why| failing(format!("Get {url:?}: {why}")))?;
    if !(200..300).contains(&code) {
        return Err(failing(format!("bad status from {url}: {code}")));
    }
    let resources = list["resources"].as_array().cloned().unwrap_or_default();
    let own = format!("apis/{}/{}", remote.group, remote.version);
    let openapi = match fetch(server, remote, "/openapi/v3").await {
        Ok((200, index)) => index["paths"][own]["serverRelativeURL"].as_str().map(str::to_string),
        _ => None,
    };
    let swagger = describe(server, remote).await;
    Ok(Seen { resources, openapi, swagger })
}

/// What was known stays where the document is still the same, and where the server does not say.
async fn describe(server: &Inner, remote: &Remote) -> Option<Arc<Described>> {
    let known = remote.seen.lock().swagger.clone();
    let etag = known.as_ref().map(|known| known.etag.clone()).unwrap_or_default();
    match ask(server, remote, "/openapi/v2", &etag).await {
        Ok((200, etag, bytes)) => {
            let document: Value = serde_json::from_slice(&bytes).ok()?;
            let value = merge::below(&document, &format!("/apis/{}/{}/", remote.group, remote.version));
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

/// Code, `ETag` and body; the code is 304 when the document still has the digest that is given.
async fn ask(server: &Inner, remote: &Remote, path: &str, etag: &str) -> Result<(u16, String, Bytes), String> {
    let mut request = Request::builder().method(Method::GET).uri(path).header(header::ACCEPT, "application/json");
    if !etag.is_empty() {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let request = request.body(body::empty()).map_err(|error| error.to_string())?;
    let user = UserInfo::new("system:kube-aggregator", &[auth::names::MASTERS]);
    let asking = async {
        let response = remote.send(server, server.remotes.trusting(), None, request, &user).await?;
        let code = response.status().as_u16();
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let etag = etag.to_owned();
        let bytes = body::read(response.into_body()).await.map_err(|status| status.message)?;
        Ok((code, etag, bytes))
    };
    timeout(ANSWER_MAX, asking).await.unwrap_or_else(|_| Err("context deadline exceeded".into()))
}

/// Writes the condition if it is another one. A conflict is no matter: the newer state is on its way here.
async fn write(server: &Arc<Inner>, remote: &Remote, (status, reason, message): Verdict) {
    let Some(stored) = server.store.get(&Key::new(GROUP, NAME, "", &remote.name)) else { return };
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
            return;
        }
    }
    others.push(condition);
    value["status"] = json!({"conditions": others});
    value["kind"] = "APIService".into();
    value["apiVersion"] = format!("{GROUP}/v1").into();
    let path = format!("{}/status", super::path(object::name(&value)));
    if let Err(status) = internal::send(server, Method::PUT, &path, Some(&value)).await
        && !matches!(status.code, 404 | 409)
    {
        tracing::warn!(apiservice = remote.name, %status, "cannot write the status of an APIService");
    }
}
