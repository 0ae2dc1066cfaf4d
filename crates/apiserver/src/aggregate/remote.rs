//! APIServices that name a service: where it is, how it is spoken to, and what it was seen to serve.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use admission::webhook::{Destination, Service};
use arc_swap::ArcSwap;
use auth::UserInfo;
use auth::pki::{self, Credentials, Pki, PkiError, Profile, ServerTrust};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, header};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use store::{Key, Store};

use super::connections::Connections;
use super::{GROUP, NAME};
use crate::body::Body;
use crate::call::Upgrade;
use crate::server::Inner;
use crate::subresources::kubelet::exchange;
use rt::exposition::head;

/// All remote group versions, and whom the server is to them.
pub struct Remotes {
    all: ArcSwap<Vec<Arc<Remote>>>,
    own: Mutex<Own>,
    /// How often one became unavailable, by name and reason.
    fallen: Mutex<BTreeMap<(String, &'static str), u64>>,
}

/// What the server shows to others.
struct Own {
    credentials: Credentials,
    issued: Timestamp,
}

/// Certificates are good for a year; a new one is made a month before.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(24 * (365 - 30));

impl Own {
    fn new(pki: &Pki) -> Result<Own, PkiError> {
        let profile = Profile::Client { common_name: "front-proxy-client".into(), organization: None };
        Ok(Own { credentials: pki.front_proxy.issue(&profile)?, issued: Timestamp::now() })
    }
}

/// One group version that somebody else serves.
pub struct Remote {
    pub name: String,
    pub group: String,
    pub version: String,
    pub group_priority: i64,
    pub version_priority: i64,
    pub service: Service,
    connections: Result<Connections, String>,
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
        Ok(Remotes { all: ArcSwap::default(), own: Mutex::new(Own::new(pki)?), fallen: Mutex::default() })
    }

    /// Shows a new certificate when the old one nears its end.
    pub fn renew(&self, pki: &Pki) -> Result<(), PkiError> {
        if Timestamp::now().duration_since(self.own.lock().issued) < RENEW_AFTER {
            return Ok(());
        }
        let new = Own::new(pki)?;
        *self.own.lock() = new;
        let anew = |known: &Arc<Remote>| {
            let seen = known.seen.lock().clone();
            Arc::new(Remote { seen: Mutex::new(seen), ..self.remote(&known.name, &known.spec) })
        };
        self.all.store(Arc::new(self.all().iter().map(anew).collect()));
        Ok(())
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
            let new = || Arc::new(self.remote(apimachinery::object::name(&value), &value["spec"]));
            same.cloned().unwrap_or_else(new)
        });
        self.all.store(Arc::new(remotes.collect()));
    }

    fn remote(&self, name: &str, spec: &Value) -> Remote {
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
        let port = spec.pointer("/service/port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        let service = Service { namespace: text("/service/namespace"), name: text("/service/name"), port };
        Remote {
            name: name.to_string(),
            group: text("/group"),
            version: text("/version"),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or(0),
            version_priority: spec["versionPriority"].as_i64().unwrap_or(0),
            connections: self.connections(spec, &service),
            service,
            seen: Mutex::default(),
            spec: spec.clone(),
        }
    }

    fn connections(&self, spec: &Value, service: &Service) -> Result<Connections, String> {
        let name = ServerName::try_from(service.host()).map_err(|error| error.to_string())?;
        let tls = self.tls(spec).map_err(|error| error.to_string())?;
        Ok(Connections::new(&tls, &name))
    }

    fn tls(&self, spec: &Value) -> Result<Arc<ClientConfig>, PkiError> {
        let own = self.own.lock();
        if spec["insecureSkipTLSVerify"] == true {
            return pki::proxy_config(ServerTrust::Anyone, Some(&own.credentials));
        }
        let bundle = BASE64_STANDARD.decode(spec["caBundle"].as_str().unwrap_or_default()).unwrap_or_default();
        if bundle.is_empty() {
            return pki::trusting(None, Some(&own.credentials));
        }
        pki::proxy_config(ServerTrust::Bundle(&bundle), Some(&own.credentials))
    }

    pub fn count_unavailable(&self, name: &str, reason: &'static str) {
        *self.fallen.lock().entry((name.to_string(), reason)).or_default() += 1;
    }

    /// What tools watch of servers behind this one.
    pub fn write_metrics(&self, store: &Store, out: &mut String) {
        let name = "aggregator_unavailable_apiservice";
        head(out, name, "gauge", "Whether an APIService is marked as unavailable.");
        for (key, stored) in store.snapshot().range(&Key::prefix(GROUP, NAME, None), None) {
            let unavailable = u8::from(!is_available(&stored.value()));
            let _ = writeln!(out, "{name}{{name=\"{}\"}} {unavailable}", key.name());
        }
        let name = "aggregator_unavailable_apiservice_total";
        head(out, name, "counter", "How often an APIService was marked as unavailable.");
        for ((service, reason), count) in &*self.fallen.lock() {
            let _ = writeln!(out, "{name}{{name=\"{service}\",reason=\"{reason}\"}} {count}");
        }
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

    /// Where its discovery lies.
    pub fn root(&self) -> String {
        match self.name.as_str() {
            "v1." => format!("/api/{}", self.version),
            _ => format!("/apis/{}/{}", self.group, self.version),
        }
    }

    /// How it is spoken to; or why its APIService does not say so.
    pub fn connections(&self) -> Result<&Connections, &str> {
        self.connections.as_ref().map_err(String::as_str)
    }

    /// One of the endpoints of its service.
    pub fn endpoint(&self, store: &Store) -> Result<Authority, String> {
        let place = match self.service.resolve(store)? {
            Destination::Name(host, port) => format!("{host}:{port}"),
            Destination::Addresses(addresses) => {
                let none = || format!("no endpoints available for service {:?}", self.service.name);
                addresses.choose(&mut rand::rng()).ok_or_else(none)?.to_string()
            }
        };
        place.parse().map_err(|_| format!("{place:?} is no address"))
    }

    /// Sends a request to an endpoint, and says in whose name it comes.
    pub async fn send(
        &self,
        to: &Authority,
        request: Request<Body>,
        user: &UserInfo,
    ) -> Result<Response<Body>, String> {
        let connections = self.connections()?;
        let mut request = addressed(to, request, user)?;
        let place = Uri::builder().scheme("https").authority(to.clone());
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = place.path_and_query(path).build().map_err(|error| error.to_string())?;
        let mut response = connections.send(request).await?;
        // Of the connection to that server, not of the client's.
        *response.version_mut() = Version::HTTP_11;
        response.headers_mut().remove(header::CONNECTION);
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(response)
    }

    /// The same over a connection of its own, which becomes the client's.
    pub async fn upgrade(
        &self,
        server: &Inner,
        to: &Authority,
        client: Upgrade,
        request: Request<Body>,
        user: &UserInfo,
    ) -> Result<Response<Body>, String> {
        let stream = self.connections()?.upgradable(to).await.map_err(|failure| failure.to_string())?;
        let response = exchange(server, Some(client), stream, addressed(to, request, user)?).await;
        response.map_err(|status| status.message)
    }
}

fn addressed(to: &Authority, mut request: Request<Body>, user: &UserInfo) -> Result<Request<Body>, String> {
    set_user(request.headers_mut(), user);
    let host = HeaderValue::from_str(to.as_str()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
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

    fn spec(version: &str, group: &str) -> Value {
        let service = serde_json::json!({"namespace": "a", "name": "b"});
        serde_json::json!({"group": group, "version": version, "service": service, "insecureSkipTLSVerify": true})
    }

    #[test]
    fn the_legacy_group_has_a_place_of_its_own() {
        let remotes = Remotes::new(&Pki::ephemeral().unwrap()).unwrap();
        assert_eq!(remotes.remote("v1.", &spec("v1", "")).root(), "/api/v1");
        assert_eq!(remotes.remote("v2.x.example", &spec("v2", "x.example")).root(), "/apis/x.example/v2");
    }

    #[test]
    fn a_certificate_near_its_end_is_replaced_and_what_was_seen_stays() {
        let pki = Pki::ephemeral().unwrap();
        let remotes = Remotes::new(&pki).unwrap();
        let remote = remotes.remote("v2.x.example", &spec("v2", "x.example"));
        remote.seen.lock().openapi = Some("/openapi".into());
        remotes.all.store(Arc::new(vec![Arc::new(remote)]));
        let shown = || remotes.own.lock().credentials.cert_pem.clone();
        let first = shown();
        remotes.renew(&pki).unwrap();
        assert_eq!(shown(), first);
        remotes.own.lock().issued -= RENEW_AFTER;
        let before = remotes.all();
        remotes.renew(&pki).unwrap();
        assert_ne!(shown(), first);
        let after = remotes.all();
        assert!(!Arc::ptr_eq(&before[0], &after[0]));
        assert_eq!(after[0].seen.lock().openapi.as_deref(), Some("/openapi"));
    }
}
