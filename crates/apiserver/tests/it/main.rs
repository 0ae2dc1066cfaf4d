//! The server through `Server::handle`, with an in-memory store and no sockets.

mod access;
mod admission;
mod applying;
mod control;
mod encodings;
mod objects;
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
        let tasks = TaskSet::new();
        let server = Server::start(config, &tasks).await.expect("an in-memory server starts");
        let bench = Bench { server, _tasks: tasks };
        let account = json!({"metadata": {"name": "default"}});
        assert_eq!(bench.post("/api/v1/namespaces/default/serviceaccounts", &account).await.code, 201);
        bench
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

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}
