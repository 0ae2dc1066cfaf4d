//! As much of an API server as the scheduler meets: list, watch, create, binding, status patches, delete.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use client::{Body, Transport, TransportError, body};
use futures::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Default)]
struct State {
    version: u64,
    /// By resource, then by name: all are in one namespace.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// All that has happened: version, resource, event.
    log: Vec<(u64, String, Value)>,
    deleted: BTreeMap<String, Value>,
    refuse: usize,
    refused: usize,
}

/// Clones share the state.
#[derive(Clone)]
pub struct FakeApi(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

impl Default for FakeApi {
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), version: watch::Sender::new(0) }))
    }
}

impl FakeApi {
    pub fn put(&self, resource: &str, mut object: Value) -> Value {
        let mut state = self.0.state.lock();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        let old = state.objects.entry(resource.to_owned()).or_default().insert(name, object.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        state.log.push((version, resource.to_owned(), json!({"type": kind, "object": object})));
        drop(state);
        self.tell(version);
        object
    }

    fn remove(&self, resource: &str, name: &str) -> Option<Value> {
        let mut state = self.0.state.lock();
        let mut object = state.objects.get_mut(resource)?.remove(name)?;
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        state.log.push((version, resource.to_owned(), json!({"type": "DELETED", "object": object})));
        state.deleted.insert(name.to_owned(), object.clone());
        drop(state);
        self.tell(version);
        Some(object)
    }

    fn tell(&self, version: u64) {
        self.0.version.send_replace(version);
    }

    pub fn refuse_bindings(&self, count: usize) {
        self.0.state.lock().refuse = count;
    }

    pub fn refused(&self) -> usize {
        self.0.state.lock().refused
    }

    pub fn deleted(&self, name: &str) -> Value {
        self.0.state.lock().deleted.get(name).cloned().expect("it was deleted")
    }

    pub async fn wait(&self, resource: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(resource, |object| object["metadata"]["name"] == name && holds(object)).await
    }

    pub async fn wait_for(&self, resource: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut news = self.0.version.subscribe();
        loop {
            news.borrow_and_update();
            if let Some(object) = self.find(resource, &holds) {
                return object;
            }
            news.changed().await.expect("the sender lives as long as this");
        }
    }

    fn find(&self, resource: &str, holds: impl Fn(&Value) -> bool) -> Option<Value> {
        let state = self.0.state.lock();
        let mut objects = state.objects.get(resource)?.values();
        objects.find(|object| holds(object)).cloned()
    }

    fn get(&self, resource: &str, name: &str) -> Option<Value> {
        self.0.state.lock().objects.get(resource)?.get(name).cloned()
    }

    fn list(&self, resource: &str) -> Response<Body> {
        let state = self.0.state.lock();
        let items: Vec<_> = state.objects.get(resource).into_iter().flat_map(BTreeMap::values).cloned().collect();
        answer(200, &json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items}))
    }

    /// The last version, and what happened after the given one, a line each.
    fn after(&self, resource: &str, version: u64) -> (u64, String) {
        let state = self.0.state.lock();
        let news = state.log.iter().filter(|(at, of, _)| *at > version && of == resource);
        (state.version, news.map(|(.., event)| format!("{event}\n")).collect())
    }

    /// Replays the log, then follows it.
    fn watch(&self, resource: &str, from: u64) -> Response<Body> {
        let start = (self.clone(), resource.to_owned(), from, self.0.version.subscribe());
        let events = stream::unfold(start, |(api, resource, mut at, mut news)| async move {
            loop {
                news.borrow_and_update();
                let (last, lines) = api.after(&resource, at);
                at = last;
                if !lines.is_empty() {
                    return Some((Ok::<_, Infallible>(Frame::data(Bytes::from(lines))), (api, resource, at, news)));
                }
                news.changed().await.ok()?;
            }
        });
        Response::new(StreamBody::new(events).map_err(|never| match never {}).boxed_unsync())
    }

    async fn write(&self, request: Request<Body>) -> Response<Body> {
        let (head, content) = request.into_parts();
        let bytes = content.collect().await.expect("it is in memory").to_bytes();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let parts: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        match (&head.method, &parts[..]) {
            (&Method::POST, [.., "pods", name, "binding"]) => self.bind(name, &value),
            (&Method::POST, [.., "events"]) => answer(201, &self.put("events", value)),
            (&Method::PATCH, [.., "pods", name, "status"]) => self.patch_status(name, &value),
            (&Method::PATCH, [.., "events", name]) => answer(200, &self.get("events", name).unwrap_or_default()),
            (&Method::DELETE, [.., "pods", name]) => answer(200, &self.remove("pods", name).unwrap_or_default()),
            other => panic!("unexpected request {other:?}"),
        }
    }

    fn bind(&self, name: &str, binding: &Value) -> Response<Body> {
        let mut state = self.0.state.lock();
        if state.refuse > 0 {
            state.refuse -= 1;
            state.refused += 1;
            return refusal(500, "InternalError");
        }
        drop(state);
        let Some(mut pod) = self.get("pods", name) else { return refusal(404, "NotFound") };
        if pod["spec"]["nodeName"].is_string() {
            return refusal(409, "Conflict");
        }
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.put("pods", pod);
        answer(201, &json!({"kind": "Status", "status": "Success"}))
    }

    fn patch_status(&self, name: &str, patch: &Value) -> Response<Body> {
        let Some(mut pod) = self.get("pods", name) else { return refusal(404, "NotFound") };
        for (key, value) in patch["status"].as_object().into_iter().flatten() {
            pod["status"][key] = value.clone();
        }
        answer(200, &self.put("pods", pod))
    }
}

fn answer(code: u16, value: &Value) -> Response<Body> {
    Response::builder().status(code).body(body(value.to_string())).expect("it is well formed")
}

fn refusal(code: u16, reason: &str) -> Response<Body> {
    answer(code, &json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": reason}))
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[async_trait]
impl Transport for FakeApi {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        if request.method() != Method::GET {
            return Ok(self.write(request).await);
        }
        let query = request.uri().query().unwrap_or_default();
        let resource = request.uri().path().rsplit('/').next().expect("split gives at least one").to_owned();
        match parameter(query, "watch") {
            Some(_) => {
                let from = parameter(query, "resourceVersion").and_then(|version| version.parse().ok());
                Ok(self.watch(&resource, from.unwrap_or(0)))
            }
            None => Ok(self.list(&resource)),
        }
    }
}
