//! A control plane for one test and the requests to it.

use std::time::Instant;

use e2e::PATIENCE;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::bare::Bare;

pub const CORE: &str = "/api/v1/namespaces/default";
pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

const JSON: &str = "application/json";

/// Who asks, and whom.
pub struct Api {
    pub bare: Bare,
    client: Client,
}

/// What came back.
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Value,
    what: String,
}

impl Api {
    pub async fn start(what: &str) -> Self {
        let bare = Bare::start(&format!("conformance-{what}"));
        let kubeconfig = Kubeconfig::read_from(&bare.server.kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config).unwrap(), bare }
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let what = format!("{method} {path}");
        let mut request = Request::builder().method(method).uri(path);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let response = self.client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { code: parts.status.as_u16(), headers: parts.headers, body, what }
    }

    async fn with_json(&self, method: Method, path: &str, media: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", media)], body.to_string().into_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", JSON)], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_json(Method::POST, path, JSON, body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.with_json(Method::PUT, path, JSON, body).await
    }

    pub async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.with_json(Method::PATCH, path, "application/merge-patch+json", body).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.with_json(Method::PATCH, path, &format!("application/{kind}"), body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.with_json(Method::DELETE, path, JSON, options).await
    }

    /// Asks until the answer satisfies.
    pub async fn until<T>(&self, path: &str, satisfied: impl Fn(&Answer) -> Option<T>) -> T {
        self.until_as(path, JSON, satisfied).await
    }

    /// The same of another form of it.
    pub async fn until_as<T>(&self, path: &str, accept: &str, satisfied: impl Fn(&Answer) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let answer = self.send(Method::GET, path, &[("accept", accept)], Vec::new()).await;
            if let Some(found) = satisfied(&answer) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "not within {} s: {answer}", PATIENCE.as_secs());
        }
    }

    /// Until it is no more.
    pub async fn gone(&self, path: &str) {
        self.until(path, |answer| (answer.code == 404).then_some(())).await;
    }

    /// A namespace that has what controllers put into each.
    pub async fn namespace(&self, name: &str) -> String {
        let labels = json!({"conformance": name});
        self.post("/api/v1/namespaces", &json!({"metadata": {"name": name, "labels": labels}})).await.ok();
        let path = format!("/api/v1/namespaces/{name}");
        self.until(&format!("{path}/serviceaccounts/default"), |answer| (answer.code == 200).then_some(())).await;
        path
    }

    /// Makes a definition and waits until its objects can be had.
    pub async fn define(&self, definition: &Value) {
        let made = self.post(DEFINITIONS, definition).await.ok();
        let path = format!("{DEFINITIONS}/{}", made["metadata"]["name"].as_str().unwrap());
        self.until(&path, |answer| {
            condition(&answer.body, "Established").filter(|it| it["status"] == "True").map(drop)
        })
        .await;
        self.served(definition).await;
    }

    /// Until each served version of it can be listed.
    pub async fn served(&self, definition: &Value) {
        let (spec, versions) = (&definition["spec"], definition["spec"]["versions"].as_array().unwrap());
        for version in versions.iter().filter(|version| version["served"] == true) {
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            let (group, plural) = (word(&spec["group"]), word(&spec["names"]["plural"]));
            let path = format!("/apis/{group}/{}/{plural}", word(&version["name"]));
            self.until(&path, |answer| (answer.code == 200).then_some(())).await;
        }
    }

    /// The events of a watch, as they come.
    pub async fn watch(&self, path: &str) -> Events {
        let mark = if path.contains('?') { '&' } else { '?' };
        let request = Request::get(format!("{path}{mark}watch=true")).header("accept", JSON);
        let response = self.client.send(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "watch {path}");
        Events { body: response.into_body(), read: Vec::new() }
    }
}

impl Answer {
    /// The body of a request that was carried out.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{self}");
        self.body
    }

    /// That it was refused so, with this text.
    #[track_caller]
    pub fn refused(self, code: u16, text: &str) -> Value {
        let said = self.body["message"].as_str().unwrap_or_default();
        assert!(self.code == code && said.contains(text), "lacks {code} {text:?}: {self}");
        self.body
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} {}", self.what, self.code, self.body)
    }
}

/// A watch that is open.
pub struct Events {
    body: Body,
    read: Vec<u8>,
}

impl Events {
    /// The next event: its type and its object.
    pub async fn next(&mut self) -> (String, Value) {
        let event: Value = serde_json::from_slice(&self.line().await).unwrap();
        (event["type"].as_str().unwrap().to_owned(), event["object"].clone())
    }

    /// The types and names of as many events.
    pub async fn names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < count {
            let (kind, object) = self.next().await;
            names.push(format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default()));
        }
        names
    }

    async fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                return self.read.drain(..=end).collect();
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event comes in time");
            let frame = frame.expect("the watch goes on").unwrap();
            self.read.extend_from_slice(frame.data_ref().expect("a watch has no trailers"));
        }
    }
}

/// The condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|one| one["type"] == kind)
}

/// The names of a list's items.
pub fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

/// A definition with these versions, each with its schema, the first one stored.
pub fn definition(group: &str, kind: &str, versions: &[(&str, Value)]) -> Value {
    let singular = kind.to_lowercase();
    let versions = versions.iter().enumerate().map(|(index, (name, schema))| {
        json!({"name": name, "served": true, "storage": index == 0, "schema": {"openAPIV3Schema": schema}})
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": versions.collect::<Vec<_>>(),
            "names": {"plural": format!("{singular}s"), "singular": singular, "kind": kind, "listKind": format!("{kind}List")},
        },
    })
}

/// A pod that nobody needs to run.
pub fn pod(name: &str) -> Value {
    let spec = json!({"containers": [{"name": "main", "image": "example.org/main:1"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}
