//! An API in memory, as much of it as a kubelet uses: objects by path, lists by field, watches, merge patches.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use client::{Body, BoxError, Transport, TransportError, body};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    /// Moves with every write, for those who wait.
    revision: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// By path of the object.
    objects: BTreeMap<String, Value>,
    /// The n-th entry is the change of revision n + 1: the path and the event.
    changes: Vec<(String, Value)>,
}

impl State {
    fn revision(&self) -> u64 {
        self.changes.len() as u64
    }
}

impl ApiServer {
    pub fn new() -> ApiServer {
        ApiServer { state: Arc::default(), revision: watch::Sender::new(0) }
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.state.lock();
        object["metadata"]["resourceVersion"] = json!((state.revision() + 1).to_string());
        let kind = if state.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        state.objects.insert(path.to_owned(), object.clone());
        self.changed(&mut state, path, kind, &object);
        object
    }

    pub fn remove(&self, path: &str) -> Option<Value> {
        let mut state = self.state.lock();
        let object = state.objects.remove(path)?;
        self.changed(&mut state, path, "DELETED", &object);
        Some(object)
    }

    fn changed(&self, state: &mut State, path: &str, kind: &str, object: &Value) {
        state.changes.push((path.to_owned(), json!({ "type": kind, "object": object })));
        self.revision.send_replace(state.revision());
    }

    /// What a user's delete does to a pod that runs.
    pub fn mark_deleted(&self, path: &str, grace: i64) {
        let mut object = self.get(path).expect("an object");
        object["metadata"]["deletionTimestamp"] =
            json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.put(path, object);
    }

    /// Waits until `wanted` says yes to the object at `path`.
    pub async fn wait(&self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let mut revision = self.revision.subscribe();
        loop {
            revision.borrow_and_update();
            let object = self.get(path);
            if wanted(object.as_ref()) {
                return object;
            }
            revision.changed().await.expect("the API lives");
        }
    }

    pub fn revision(&self) -> usize {
        self.state.lock().changes.len()
    }

    /// What became of the object after a revision, one state for each change.
    pub fn since(&self, revision: usize, path: &str) -> Vec<Value> {
        let state = self.state.lock();
        let changes = state.changes[revision..].iter().filter(|(changed, _)| changed == path);
        changes.map(|(_, event)| event["object"].clone()).collect()
    }

    pub fn events(&self) -> Vec<String> {
        let state = self.state.lock();
        let events = state.objects.iter().filter(|(path, _)| path.contains("/events/"));
        let mut texts: Vec<(u64, String)> = events
            .map(|(_, event)| {
                let version = event["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
                (
                    version,
                    format!(
                        "{}: {}",
                        event["reason"].as_str().unwrap_or_default(),
                        event["message"].as_str().unwrap_or_default()
                    ),
                )
            })
            .collect();
        texts.sort();
        texts.into_iter().map(|(_, text)| text).collect()
    }

    fn list(&self, collection: &str, selector: Option<&str>) -> Response<Body> {
        let state = self.state.lock();
        let items: Vec<&Value> = state
            .objects
            .iter()
            .filter(|(path, object)| selected(path, object, collection, selector))
            .map(|(_, object)| object)
            .collect();
        answer(
            StatusCode::OK,
            &json!({ "metadata": { "resourceVersion": state.revision().to_string() }, "items": items }),
        )
    }

    /// All that changed after revision `from`, and goes on changing.
    fn watch(&self, collection: String, selector: Option<String>, from: u64) -> Response<Body> {
        let revision = self.revision.subscribe();
        let (state, position) = (Arc::clone(&self.state), usize::try_from(from).expect("a revision"));
        let frames = futures::stream::unfold((revision, position), move |(mut revision, mut position)| {
            let (state, collection, selector) = (Arc::clone(&state), collection.clone(), selector.clone());
            async move {
                loop {
                    let change = state.lock().changes.get(position).cloned();
                    let Some((path, event)) = change else {
                        revision.changed().await.ok()?;
                        continue;
                    };
                    position += 1;
                    if selected(&path, &event["object"], &collection, selector.as_deref()) {
                        let line = Bytes::from(format!("{event}\n"));
                        return Some((Ok::<_, BoxError>(Frame::data(line)), (revision, position)));
                    }
                }
            }
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn write(&self, method: &Method, path: &str, content: Value) -> Response<Body> {
        match *method {
            Method::POST if path.ends_with("/token") => {
                let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
                answer(
                    StatusCode::CREATED,
                    &json!({ "metadata": {}, "spec": {}, "status": { "token": "a-token", "expirationTimestamp": expires.to_string() } }),
                )
            }
            Method::POST => {
                let name = content["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let mut content = content;
                content["metadata"]["uid"] = json!(format!("uid-of-{name}"));
                answer(StatusCode::CREATED, &self.put(&format!("{path}/{name}"), content))
            }
            Method::PUT => answer(StatusCode::OK, &self.put(path, content)),
            Method::PATCH => self.patch(path.strip_suffix("/status").unwrap_or(path), &content),
            Method::DELETE => match self.remove(path) {
                Some(object) => answer(StatusCode::OK, &object),
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    fn patch(&self, path: &str, patch: &Value) -> Response<Body> {
        let Some(mut object) = self.get(path) else { return not_found() };
        merge(&mut object, patch);
        answer(StatusCode::OK, &self.put(path, object))
    }
}

fn selected(path: &str, object: &Value, collection: &str, selector: Option<&str>) -> bool {
    let Some((parent, _)) = path.rsplit_once('/') else { return false };
    let plural = collection.rsplit('/').next().unwrap_or_default();
    let inside =
        parent == collection || (!collection.contains("/namespaces/") && parent.ends_with(&format!("/{plural}")));
    inside
        && match selector.and_then(|selector| selector.split_once('=')) {
            Some(("metadata.name", name)) => object["metadata"]["name"] == name,
            Some(("spec.nodeName", name)) => object["spec"]["nodeName"] == name,
            _ => true,
        }
}

/// A merge patch, with conditions merged by their type as a strategic one would.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *object = patch.clone() };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        match (key.as_str(), value) {
            (_, Value::Null) => drop(object.as_object_mut().map(|map| map.remove(key))),
            ("conditions", Value::Array(new)) => {
                let mut old = object["conditions"].as_array().cloned().unwrap_or_default();
                old.retain(|known| !new.iter().any(|fresh| fresh["type"] == known["type"]));
                old.extend(new.iter().cloned());
                object["conditions"] = Value::Array(old);
            }
            _ => merge(&mut object[key], value),
        }
    }
}

fn answer(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body(value.to_string()));
    *response.status_mut() = code;
    response
}

fn not_found() -> Response<Body> {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404 });
    answer(StatusCode::NOT_FOUND, &status)
}

fn query(request: &Request<Body>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value.replace("%3D", "=").replace("%2F", "/")).next()
}

#[async_trait]
impl Transport for ApiServer {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let path = request.uri().path().to_owned();
        let selector = query(&request, "fieldSelector");
        if request.method() == Method::GET {
            if query(&request, "watch").is_some() {
                let from = query(&request, "resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
                return Ok(self.watch(path, selector, from));
            }
            let is_collection = ["pods", "nodes", "services", "configmaps", "secrets"]
                .iter()
                .any(|plural| path.ends_with(&format!("/{plural}")));
            if is_collection {
                return Ok(self.list(&path, selector.as_deref()));
            }
            return Ok(self.get(&path).map_or_else(not_found, |object| answer(StatusCode::OK, &object)));
        }
        let method = request.method().clone();
        let bytes = request.into_body().collect().await.map(|content| content.to_bytes()).unwrap_or_default();
        Ok(self.write(&method, &path, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}
