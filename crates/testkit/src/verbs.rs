//! What the API answers to a request.

use std::sync::Arc;

use apimachinery::gvk::GroupResource;
use apimachinery::{Status, patch};
use async_trait::async_trait;
use bytes::Bytes;
use client::{Body, BoxError, Transport, TransportError, body};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::fake_api::{Call, FakeApi, now, version};
use crate::path::{Key, Selection, parameter};
use crate::state::State;

type Answer = Result<Value, Status>;

#[async_trait]
impl Transport for FakeApi {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (head, content) = request.into_parts();
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if head.method == Method::GET {
            return Ok(self.read(path, query));
        }
        let bytes = content.collect().await.map(|content| content.to_bytes()).unwrap_or_default();
        let kind = head.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        Ok(answer(self.write(&head.method, path, kind.unwrap_or_default(), &bytes)))
    }
}

impl FakeApi {
    fn read(&self, path: &str, query: &str) -> Response<Body> {
        let state = self.state.lock();
        if let Some(discovery) = state.discover(path) {
            return answer(Ok(discovery));
        }
        let Some((key, _)) = Key::parse(path).filter(|(key, _)| state.serves(key)) else {
            return answer(Err(Status::path_not_found()));
        };
        if !key.name.is_empty() {
            return answer(state.found(&key));
        }
        let selection = Selection::new(key, query);
        if parameter(query, "watch").is_none() {
            return answer(Ok(state.listing(&selection)));
        }
        let from = parameter(query, "resourceVersion").and_then(|text| text.parse().ok());
        self.watch(selection, from.unwrap_or(0))
    }

    /// All that changed after revision `from`, and goes on changing.
    fn watch(&self, selection: Selection, from: usize) -> Response<Body> {
        let start = (self.revision.subscribe(), from);
        let (state, selection) = (Arc::clone(&self.state), Arc::new(selection));
        let frames = futures::stream::unfold(start, move |(mut revision, mut position)| {
            let (state, selection) = (Arc::clone(&state), Arc::clone(&selection));
            async move {
                loop {
                    revision.borrow_and_update();
                    let event = state.lock().changes.get(position).map(|change| change.event(&selection));
                    let Some(event) = event else {
                        revision.changed().await.ok()?;
                        continue;
                    };
                    position += 1;
                    if let Some(event) = event {
                        let line = Bytes::from(format!("{event}\n"));
                        return Some((Ok::<_, BoxError>(Frame::data(line)), (revision, position)));
                    }
                }
            }
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn write(&self, method: &Method, path: &str, kind: &str, bytes: &[u8]) -> Answer {
        let content: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let call = Call { method, path, content: &content };
        if let Some(status) = self.reactors.lock().iter().find_map(|reactor| reactor(&call)) {
            return Err(status);
        }
        let (key, part) = Key::parse(path).ok_or_else(Status::path_not_found)?;
        let mut state = self.state.lock();
        if !state.serves(&key) {
            return Err(Status::path_not_found());
        }
        let answer = match (method, part.as_str()) {
            (&Method::POST, "token") => Ok(token()),
            (&Method::POST, "binding") => state.bind(key, &content),
            (&Method::POST, _) => state.create(key, content),
            (&Method::DELETE, _) => state.delete(key, &content["preconditions"]),
            (&Method::PUT, part) => state.replace(key, part, content),
            (&Method::PATCH, _) => state.patch(key, kind, bytes, &content["metadata"]),
            _ => Err(Status::method_not_allowed()),
        };
        self.revision.send_replace(state.revision());
        answer
    }
}

impl State {
    fn listing(&self, selection: &Selection) -> Value {
        let kind = format!("{}List", self.kind(&selection.collection));
        let metadata = json!({ "resourceVersion": self.revision().to_string() });
        json!({ "kind": kind, "metadata": metadata, "items": self.list(selection) })
    }

    fn found(&self, key: &Key) -> Answer {
        self.objects.get(key).cloned().ok_or_else(|| Status::not_found(&group_resource(key), &key.name))
    }

    fn stored(&mut self, key: Key, object: Value) -> Answer {
        Ok(self.commit(key, Some(object)).expect("it is there now"))
    }

    fn create(&mut self, collection: Key, mut object: Value) -> Answer {
        let next = self.revision() + 1;
        let metadata = &mut object["metadata"];
        let prefix = metadata["generateName"].as_str().unwrap_or_default();
        let name = metadata["name"].as_str().map_or_else(|| format!("{prefix}{next}"), str::to_owned);
        metadata["name"] = json!(name);
        metadata["uid"] = json!(format!("uid-of-{name}-{next}"));
        metadata["creationTimestamp"] = now();
        if !collection.namespace.is_empty() {
            metadata["namespace"] = json!(collection.namespace);
        }
        let key = collection.named(&name);
        if self.objects.contains_key(&key) {
            return Err(Status::already_exists(&group_resource(&key), &name));
        }
        self.stored(key, object)
    }

    fn replace(&mut self, key: Key, part: &str, mut object: Value) -> Answer {
        let mut known = self.found(&key)?;
        check(&key, &known, &object["metadata"])?;
        if part == "status" {
            known["status"] = object["status"].take();
            object = known;
        }
        self.stored(key, object)
    }

    fn patch(&mut self, key: Key, kind: &str, patch: &[u8], wanted: &Value) -> Answer {
        let known = self.found(&key)?;
        check(&key, &known, wanted)?;
        let (group, version) = key.group_version();
        let definition = api::schema::kind(group, version, &self.kind(&key));
        let patched = match (kind, definition) {
            ("application/json-patch+json", _) => patch::json::apply(&known, patch),
            ("application/strategic-merge-patch+json", Some(definition)) => {
                patch::strategic::apply(&known, patch, definition.node())
            }
            _ => patch::merge::apply(&known, patch),
        };
        self.stored(key, patched.map_err(|error| error.to_status())?)
    }

    fn delete(&mut self, key: Key, preconditions: &Value) -> Answer {
        check(&key, &self.found(&key)?, preconditions)?;
        Ok(self.commit(key, None).expect("it was there"))
    }

    fn bind(&mut self, key: Key, binding: &Value) -> Answer {
        let mut pod = self.found(&key)?;
        if pod["spec"]["nodeName"].is_string() {
            return Err(Status::conflict(&group_resource(&key), &key.name, "the pod is assigned to a node already"));
        }
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.stored(key, pod)?;
        Ok(json!({ "kind": "Status", "status": "Success" }))
    }
}

/// A write that names a UID or a version is of that object alone.
fn check(key: &Key, known: &Value, wanted: &Value) -> Result<(), Status> {
    let differs = |wanted: &Value, known: Option<&str>| wanted.is_string() && wanted.as_str() != known;
    if differs(&wanted["uid"], known["metadata"]["uid"].as_str()) || differs(&wanted["resourceVersion"], version(known))
    {
        return Err(Status::modified(&group_resource(key), &key.name));
    }
    Ok(())
}

fn group_resource(key: &Key) -> GroupResource {
    GroupResource::new(key.group_version().0, &key.resource)
}

fn token() -> Value {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let status = json!({ "token": "a-token", "expirationTimestamp": expires.to_string() });
    json!({ "metadata": {}, "spec": {}, "status": status })
}

fn answer(answer: Answer) -> Response<Body> {
    let (code, value) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err(status) => (StatusCode::from_u16(status.code).expect("an HTTP code"), status.to_value()),
    };
    let mut response = Response::new(body(value.to_string()));
    *response.status_mut() = code;
    response
}
