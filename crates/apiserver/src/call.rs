//! One request on its way through the pipeline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::{GroupResource, Status};
use auth::UserInfo;
use http::request::Parts;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use parking_lot::Mutex;
use registry::strategy::{Context, Resource};
use serde_json::Value;
use tokio::time::Instant;

use crate::audit::Record;
use crate::body::Body;
use crate::catalog::Catalog;
use crate::flow::Flow;
use crate::negotiate::{Accept, Offer, Shape};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::serve::metrics::Open;
use crate::server::PeerAddress;
use crate::stages::impersonate::Impersonation;
use crate::webhook_time::WebhookTime;

/// The connection behind a request, for another protocol.
pub struct Upgrade {
    pub connection: hyper::upgrade::OnUpgrade,
    /// The request stays open as long as the connection.
    pub open: Option<Arc<Open>>,
}

/// What all stages and verbs see of a request; its body is taken out once.
pub struct Call {
    pub method: Method,
    pub info: RequestInfo,
    pub query: Query,
    pub headers: HeaderMap,
    pub user: UserInfo,
    pub accept: Accept,
    pub now: Timestamp,
    pub received: Instant,
    /// Who is connected; nobody for components of this process.
    pub peer: Option<SocketAddr>,
    /// Names the request in the audit log and in the answer.
    pub audit_id: String,
    pub audit: Option<Record>,
    /// Who acts as `user`, if somebody does.
    pub impersonated: Option<Box<Impersonation>>,
    /// Which flow the request belongs to; none for what stays open.
    pub flow: Option<Arc<Flow>>,
    /// How long it waited for its seat.
    pub queue_wait: Duration,
    pub webhook_time: WebhookTime,
    /// Whether it came to what answers it.
    pub is_handled: bool,
    /// Kept while it stays open.
    pub open: Option<Arc<Open>>,
    /// Texts for the `Warning` header.
    warnings: Mutex<Vec<String>>,
    /// The options of a deletion, which come in the body.
    pub delete_options: Mutex<Option<Value>>,
    body: Mutex<Option<Body>>,
    /// For streams: the connection behind the request.
    pub upgrade: Mutex<Option<Upgrade>>,
    /// What is served while this request lasts.
    pub catalog: Arc<Catalog>,
}

impl Call {
    pub fn new(parts: &mut Parts, info: RequestInfo, query: Query, body: Body, catalog: Arc<Catalog>) -> Call {
        Call {
            method: parts.method.clone(),
            info,
            query,
            headers: std::mem::take(&mut parts.headers),
            user: UserInfo::default(),
            accept: Accept::default(),
            now: Timestamp::now(),
            received: Instant::now(),
            peer: parts.extensions.get::<PeerAddress>().map(|peer| peer.0),
            audit_id: String::new(),
            audit: None,
            impersonated: None,
            flow: None,
            queue_wait: Duration::ZERO,
            webhook_time: WebhookTime::default(),
            is_handled: false,
            open: None,
            warnings: Mutex::default(),
            delete_options: Mutex::default(),
            body: Mutex::new(Some(body)),
            upgrade: Mutex::new(parts.extensions.remove().map(|connection| Upgrade { connection, open: None })),
            catalog,
        }
    }

    /// It has come to what answers it; `open` is there if it stays open.
    pub fn handled(&mut self, open: Option<Arc<Open>>) {
        self.is_handled = true;
        if let Some(upgrade) = &mut *self.upgrade.lock() {
            upgrade.open.clone_from(&open);
        }
        self.open = open;
    }

    /// A note in the audit log, under a key of its author.
    pub fn annotate(&self, key: &str, value: &str) {
        if let Some(record) = &self.audit {
            record.annotate(key, value);
        }
    }

    pub fn warn(&self, text: impl Into<String>) {
        let mut warnings = self.warnings.lock();
        let text = text.into();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().clone()
    }

    pub fn take_body(&self) -> Body {
        self.body.lock().take().unwrap_or_else(crate::body::empty)
    }

    /// The whole body, or 413.
    pub async fn read_body(&self) -> Result<bytes::Bytes, Status> {
        let bytes = crate::body::read(self.take_body()).await?;
        crate::stages::audit::request_body(self, &bytes);
        Ok(bytes)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How long the request may take, if it does not stay open.
    pub fn time_limit(&self) -> Duration {
        crate::stages::deadline::limit(&self.query).unwrap_or(crate::stages::deadline::LIMIT_MAX)
    }

    /// Settles what the client accepts; `shapes` where Tables are offered.
    pub fn negotiate(&mut self, shapes: bool) -> Result<(), Status> {
        self.negotiate_offer(if shapes { Offer::Objects } else { Offer::Documents })
    }

    pub fn negotiate_offer(&mut self, offer: Offer) -> Result<(), Status> {
        self.accept = Accept::negotiate(&self.headers, offer, matches!(self.info.verb, "list" | "watch"))?;
        self.accept.pretty |= self.wants_pretty();
        Ok(())
    }

    pub fn wants_pretty(&self) -> bool {
        match self.query.get("pretty") {
            Some("") | None => self.wants_pretty_by_agent(),
            Some(value) => matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"),
        }
    }

    /// People with a browser or curl get indented JSON.
    fn wants_pretty_by_agent(&self) -> bool {
        let agent = self.header("user-agent");
        ["curl", "Wget", "Mozilla/5.0"].iter().any(|own| agent.starts_with(own))
    }

    pub fn shape(&self) -> Shape {
        self.accept.shape
    }

    pub fn now_text(&self) -> String {
        apimachinery::time::format(self.now)
    }

    pub fn context<'a>(&'a self, now: &'a str) -> Context<'a> {
        Context {
            now,
            namespace: &self.info.namespace,
            user: &self.user.name,
            user_uid: &self.user.uid,
            user_groups: &self.user.groups,
        }
    }

    /// 404 for an object that this request is about.
    pub fn not_found(&self, resource: &Resource, name: &str) -> Status {
        Status::not_found(&GroupResource::new(resource.group, resource.name), name)
    }

    /// Who the managed fields belong to: as asked, or the client's name.
    pub fn field_manager(&self) -> String {
        let given = self.query.text("fieldManager");
        if !given.is_empty() {
            return given.to_string();
        }
        let agent = self.header("user-agent").split('/').next().unwrap_or_default();
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(128).collect();
        if agent.is_empty() { "unknown".into() } else { agent }
    }
}
