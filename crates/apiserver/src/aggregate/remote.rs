//! APIServices that name a service: where it is, how it is spoken to, and what it was seen to serve.

use std::sync::Arc;

use admission::webhook::{Destination, Service};
use arc_swap::ArcSwap;
use auth::UserInfo;
use auth::pki::{self, Credentials, Pki, PkiError, Profile, ServerTrust};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use store::{Key, Store};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{GROUP, NAME};
use crate::body::Body;
use crate::server::Inner;
use crate::subresources::kubelet::exchange;

/// All remote group versions, and whom the server is to them.
pub struct Remotes {
    all: ArcSwap<Vec<Arc<Remote>>>,
    credentials: Credentials,
    /// For checks: whoever owns the network may answer them.
    trusting: Arc<ClientConfig>,
}

/// One group version that somebody else serves.
pub struct Remote {
    pub name: String,
    pub group: String,
    pub version: String,
    pub group_priority: i64,
    pub version_priority: i64,
    pub service: Service,
    tls: Result<Arc<ClientConfig>, String>,
    pub seen: Mutex<Seen>,
    spec: Value,
}

/// What a server told when it was asked last.
#[derive(Clone, Default)]
pub struct Seen {
    /// The resources, as legacy discovery lists them.
    pub resources: Vec<Value>,
    /// The relative URL of its OpenAPI v3.
    pub openapi: Option<String>,
    /// What it says of this version in OpenAPI v2.
    pub swagger: Option<Arc<Described>>,
}

/// A part of a document, and the digest of the whole one.
pub struct Described {
    pub etag: String,
    pub value: Value,
}

impl Remotes {
    pub fn new(pki: &Pki) -> Result<Remotes, PkiError> {
        let profile = Profile::Client { common_name: "front-proxy-client".into(), organization: None };
        let credentials = pki.front_proxy.issue(&profile)?;
        let trusting = pki::proxy_config(ServerTrust::Anyone, Some(&credentials))?;
        Ok(Remotes { all: ArcSwap::default(), credentials, trusting })
    }

    pub fn all(&self) -> Arc<Vec<Arc<Remote>>> {
        self.all.load_full()
    }

    /// Who serves a group version, if it is somebody else.
    pub fn find(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        self.all.load().iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    /// Takes in what is stored. What is known of an unchanged one stays.
    pub fn read(&self, store: &Store) {
        let known = self.all();
        let snapshot = store.snapshot();
        let prefix = Key::prefix(GROUP, NAME, None);
        let stored = snapshot.range(&prefix, None).map(|(_, object)| object.value());
        let remotes = stored.filter(|value| value["spec"]["service"].is_object()).map(|value| {
            let same = known.iter().find(|remote| remote.spec == value["spec"]);
            same.cloned().unwrap_or_else(|| Arc::new(self.remote(&value)))
        });
        self.all.store(Arc::new(remotes.collect()));
    }

    fn remote(&self, value: &Value) -> Remote {
        let spec = &value["spec"];
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
        let port = spec.pointer("/service/port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        Remote {
            name: apimachinery::object::name(value).to_string(),
            group: text("/group"),
            version: text("/version"),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or(0),
            version_priority: spec["versionPriority"].as_i64().unwrap_or(0),
            service: Service { namespace: text("/service/namespace"), name: text("/service/name"), port },
            tls: self.tls(spec).map_err(|error| error.to_string()),
            seen: Mutex::default(),
            spec: spec.clone(),
        }
    }

    fn tls(&self, spec: &Value) -> Result<Arc<ClientConfig>, PkiError> {
        if spec["insecureSkipTLSVerify"] == true {
            return Ok(self.trusting.clone());
        }
        let bundle = BASE64_STANDARD.decode(spec["caBundle"].as_str().unwrap_or_default()).unwrap_or_default();
        pki::proxy_config(ServerTrust::Bundle(&bundle), Some(&self.credentials))
    }

    /// What checks are made with.
    pub fn trusting(&self) -> Arc<ClientConfig> {
        self.trusting.clone()
    }
}

fn is_available(value: &Value) -> bool {
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Available" && one["status"] == "True")
}

impl Remote {
    /// As its APIService says: whoever saw that it is available is served.
    pub fn is_available(&self, store: &Store) -> bool {
        store.get(&Key::new(GROUP, NAME, "", &self.name)).is_some_and(|stored| is_available(&stored.value()))
    }

    pub fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        self.tls.clone()
    }

    /// Sends a request that says in whose name it comes.
    pub async fn send(
        &self,
        server: &Inner,
        tls: Arc<ClientConfig>,
        upgrade: Option<OnUpgrade>,
        mut request: Request<Body>,
        user: &UserInfo,
    ) -> Result<Response<Body>, String> {
        set_user(request.headers_mut(), user);
        if let Ok(host) = HeaderValue::from_str(&format!("{}:{}", self.service.host(), self.service.port)) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        let stream = self.connect(&server.store).await?;
        let name = ServerName::try_from(self.service.host()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("tls: failed to verify certificate: {error}"))?;
        exchange(server, upgrade, stream, request).await.map_err(|status| status.message)
    }

    async fn connect(&self, store: &Store) -> Result<TcpStream, String> {
        match self.service.resolve(store)? {
            Destination::Name(host, port) => TcpStream::connect((host.as_str(), port))
                .await
                .map_err(|error| format!("dial tcp {host}:{port}: {error}")),
            Destination::Addresses(addresses) => {
                let chosen = *addresses.choose(&mut rand::rng()).ok_or_else(|| "no endpoints available".to_string())?;
                TcpStream::connect(chosen).await.map_err(|error| format!("dial tcp {chosen}: {error}"))
            }
        }
    }
}

/// Tells a server that trusts our certificate who the user is.
fn set_user(headers: &mut HeaderMap, user: &UserInfo) {
    let mut add = |name: String, value: &str| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add("x-remote-user".into(), &user.name);
    if !user.uid.is_empty() {
        add("x-remote-uid".into(), &user.uid);
    }
    user.groups.iter().for_each(|group| add("x-remote-group".into(), group));
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", escaped(key));
        values.iter().for_each(|value| add(name.clone(), value));
    }
}

/// What no header's name may have is written as in URLs.
fn escaped(key: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let escape = |byte: u8| if legal(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    key.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_in_headers() {
        let mut user = UserInfo::new("jane", &["a", "b"]);
        user.extra.insert("example.com/scope".into(), vec!["x".into()]);
        let mut headers = HeaderMap::new();
        set_user(&mut headers, &user);
        assert_eq!(headers["x-remote-user"], "jane");
        assert_eq!(headers.get_all("x-remote-group").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(headers["x-remote-extra-example.com%2Fscope"], "x");
    }
}
