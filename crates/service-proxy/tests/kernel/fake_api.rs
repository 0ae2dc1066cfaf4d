//! The least API server that a component under test can list, watch and write: objects in memory, behind a transport.

#![allow(dead_code, reason = "two test binaries share this, each uses a part")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use client::{Body, BoxError, Client, Transport, TransportError};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
}

/// Resource, namespace and name.
type Key = (String, String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    events: Vec<(u64, Key, &'static str, Value)>,
}

/// Where a request points.
struct Target {
    resource: String,
    namespace: String,
    name: String,
}

impl FakeApi {
    pub fn new() -> Self {
        Self { state: Arc::default(), revision: Arc::new(watch::Sender::new(1)) }
    }

    pub fn client(&self) -> Client {
        Client::new(Arc::new(self.clone()), "test")
    }

    /// Creates the object or replaces it.
    pub fn put(&self, resource: &str, object: Value) {
        let key = key(resource, &object);
        self.commit(key, Some(object));
    }

    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.commit((resource.to_owned(), namespace.to_owned(), name.to_owned()), None);
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state.lock().objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Waits until the objects are as the predicate wants them.
    pub async fn wait_until(&self, predicate: impl Fn(&Self) -> bool) {
        let mut revision = self.revision.subscribe();
        while !predicate(self) {
            revision.changed().await.unwrap();
        }
    }

    fn commit(&self, key: Key, object: Option<Value>) -> Option<Value> {
        let mut state = self.state.lock();
        let revision = *self.revision.borrow() + 1;
        let before = state.objects.remove(&key);
        let kind = match (&before, &object) {
            (_, None) => "DELETED",
            (None, _) => "ADDED",
            _ => "MODIFIED",
        };
        let mut told = object.clone().or(before)?;
        told["metadata"]["resourceVersion"] = json!(revision.to_string());
        if object.is_some() {
            state.objects.insert(key.clone(), told.clone());
        }
        state.events.push((revision, key, kind, told.clone()));
        self.revision.send_replace(revision);
        Some(told)
    }

    fn list(&self, target: &Target) -> Response<Body> {
        let state = self.state.lock();
        let matching = state.objects.iter().filter(|(key, _)| target.selects(key)).map(|(_, object)| object.clone());
        let items: Vec<_> = matching.collect();
        answer(
            StatusCode::OK,
            &json!({ "metadata": { "resourceVersion": self.revision.borrow().to_string() }, "items": items }),
        )
    }

    fn watch(&self, target: Target, from: u64) -> Response<Body> {
        let (api, revisions) = (self.clone(), self.revision.subscribe());
        let events = futures::stream::unfold(
            (api, revisions, target, from),
            |(api, mut revisions, target, mut at)| async move {
                loop {
                    revisions.borrow_and_update();
                    let next = api
                        .state
                        .lock()
                        .events
                        .iter()
                        .find(|(revision, key, ..)| *revision > at && target.selects(key))
                        .cloned();
                    if let Some((revision, _, kind, object)) = next {
                        at = revision;
                        let line = format!("{}\n", json!({ "type": kind, "object": object }));
                        return Some((
                            Ok::<_, Infallible>(Frame::data(Bytes::from(line))),
                            (api, revisions, target, at),
                        ));
                    }
                    revisions.changed().await.ok()?;
                }
            },
        );
        let body = StreamBody::new(events).map_err(|never| -> BoxError { match never {} });
        Response::new(body.boxed_unsync())
    }

    fn write(&self, method: &Method, target: Target, content: &Value) -> Response<Body> {
        let name = content.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(&target.name).to_owned();
        let key = (target.resource, target.namespace, name);
        let current = self.state.lock().objects.get(&key).cloned();
        let version =
            |object: &Value| object.pointer("/metadata/resourceVersion").cloned().filter(|version| !version.is_null());
        let stale = version(content).is_some_and(|wanted| current.as_ref().and_then(version) != Some(wanted));
        let object = match (method, current) {
            (&Method::POST, Some(_)) => return refusal(StatusCode::CONFLICT, "AlreadyExists"),
            (&Method::POST, None) => Some(content.clone()),
            (_, None) => return refusal(StatusCode::NOT_FOUND, "NotFound"),
            (&Method::DELETE, _) => None,
            _ if stale => return refusal(StatusCode::CONFLICT, "Conflict"),
            (&Method::PATCH, Some(mut object)) => {
                merge(&mut object, content);
                Some(object)
            }
            _ => Some(content.clone()),
        };
        answer(StatusCode::OK, &self.commit(key, object).unwrap_or_default())
    }
}

impl Target {
    fn of(path: &str) -> Self {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let name = rest.get(1).copied().unwrap_or_default();
        Self { resource: rest[0].to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn selects(&self, key: &Key) -> bool {
        key.0 == self.resource && (self.namespace.is_empty() || key.1 == self.namespace)
    }
}

fn key(resource: &str, object: &Value) -> Key {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (resource.to_owned(), text("/metadata/namespace"), text("/metadata/name"))
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    for (name, value) in fields {
        match value {
            Value::Null => drop(target.as_object_mut().map(|object| object.remove(name))),
            value => merge(&mut target[name], value),
        }
    }
}

fn answer(status: StatusCode, content: &Value) -> Response<Body> {
    let mut response = Response::new(client::body(content.to_string()));
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, reason: &str) -> Response<Body> {
    answer(
        status,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": status.as_u16(), "message": reason }),
    )
}

#[async_trait]
impl Transport for FakeApi {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (parts, body) = request.into_parts();
        let (target, query) = (Target::of(parts.uri.path()), parts.uri.query().unwrap_or_default().to_owned());
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let content = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(match parts.method {
            Method::GET if query.contains("watch=true") => {
                let from = query
                    .split('&')
                    .find_map(|part| part.strip_prefix("resourceVersion="))
                    .and_then(|text| text.parse().ok());
                self.watch(target, from.unwrap_or_default())
            }
            Method::GET if target.name.is_empty() => self.list(&target),
            Method::GET => match self.get(&target.resource, &target.namespace, &target.name) {
                Some(object) => answer(StatusCode::OK, &object),
                None => refusal(StatusCode::NOT_FOUND, "NotFound"),
            },
            method => self.write(&method, target, &content),
        })
    }
}
