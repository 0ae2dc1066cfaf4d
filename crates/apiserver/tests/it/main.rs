//! The server through `Server::handle`, with an in-memory store and no sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod admission;
mod aggregation;
mod applying;
mod configuration;
mod control;
mod conversion;
mod devices;
mod encodings;
mod evictions;
mod history;
mod hostile;
mod objects;
mod pipeline;
mod policies;
mod services;
mod watching;
mod webhooks;

use apiserver::{Body, Config, Server};
use auth::UserInfo;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use rt::TaskSet;
use serde_json::{Value, json};

/// A server and who speaks to it.
pub struct Bench {
    pub server: Server,
    _tasks: TaskSet,
}

pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Bench {
    pub async fn new() -> Bench {
        Bench::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Bench {
        let bench = Bench::started(config).await;
        let account = json!({"metadata": {"name": "default"}});
        assert_eq!(bench.post("/api/v1/namespaces/default/serviceaccounts", &account).await.code, 201);
        bench
    }

    /// As the server itself starts: without the account that pods need.
    pub async fn started(config: Config) -> Bench {
        let tasks = TaskSet::new();
        let server = Server::start(config, &tasks).await.expect("an in-memory server starts");
        Bench { server, _tasks: tasks }
    }

    /// Waits until a definition is served.
    pub async fn established(&self, name: &str) {
        let key = store::Key::new("apiextensions.k8s.io", "customresourcedefinitions", "", name);
        let store = self.server.store();
        loop {
            let revision = store.revision();
            let mut changes = store.watch(store::Prefix::of_key(&key), revision).expect("the newest revision is kept");
            let stored = store.get(&key).expect("the definition exists");
            let conditions = stored.value()["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True") {
                return;
            }
            changes.next().await.expect("a change follows");
        }
    }

    pub async fn send(&self, mut request: Request<Body>, user: Option<&UserInfo>) -> Response<Body> {
        if let Some(user) = user {
            request.extensions_mut().insert(user.clone());
        }
        self.server.handle(request).await
    }

    pub async fn ask(&self, user: Option<&UserInfo>, method: Method, path: &str, media: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.ask_text(user, method, path, media, text).await
    }

    pub async fn ask_text(
        &self,
        user: Option<&UserInfo>,
        method: Method,
        path: &str,
        media: &str,
        text: String,
    ) -> Answer {
        let builder = Request::builder().method(method).uri(path).header("content-type", media);
        let response = self.send(builder.body(whole(text)).expect("a request"), user).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.ask(Some(&UserInfo::master("admin")), method, path, "application/json", body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.admin(Method::GET, path, &Value::Null).await
    }

    pub async fn accepting(&self, path: &str, accept: &str) -> Answer {
        let request = Request::builder().uri(path).header("accept", accept).body(whole("")).expect("a request");
        let response = self.send(request, Some(&UserInfo::master("admin"))).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.admin(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.admin(Method::PUT, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.admin(Method::DELETE, path, &Value::Null).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        let media = format!("application/{kind}-patch+json");
        self.ask(Some(&UserInfo::master("admin")), Method::PATCH, path, &media, body).await
    }
}

/// Waits until a definition is served.
async fn established(bench: &Bench, definition: &str) {
    let path = format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?watch=true&fieldSelector=metadata.name%3D{definition}"
    );
    let mut watch = watching::Watch::at(bench, &path).await;
    let is_true = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
    while let Some((_, object)) = watch.next().await {
        if object["status"]["conditions"].as_array().into_iter().flatten().any(is_true) {
            return;
        }
    }
    panic!("the watch ended before {definition} was served");
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}
