//! Audit: who did what, recorded as a policy says.
//!
//! The pipeline opens a [`Record`] for every request once it knows its user, and closes it with the answer; a record that
//! is dropped before says so itself, so that no request is left out. Start at [`Auditor`].

mod buffer;
mod counts;
mod delivery;
mod event;
mod log;
mod policy;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rt::TaskSet;
use serde_json::Value;

pub use counts::Counts;
pub use delivery::{AuditDelivery, Batching, Delivery, Throttle, Truncation};
pub use event::{RESPONSE_BYTES_MAX, response_status};
pub use log::LogConfig;
pub use policy::{Level, PolicyError, Stage};

use crate::call::Call;
use buffer::{Buffer, Receiver};
use counts::Plugin;
use delivery::Event;
use log::Log;
use policy::{Decision, Policy};
use webhook::Webhook;

/// What an administrator asks for.
#[derive(Clone, Debug, Default)]
pub struct AuditConfig {
    /// Without a policy nothing is recorded.
    pub policy: Option<PathBuf>,
    pub log: Option<LogConfig>,
    /// A kubeconfig that names the receiver.
    pub webhook: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("open the audit log {path}")]
    Log {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("read the configuration of the audit webhook: {0}")]
    Webhook(String),
}

pub struct Auditor {
    policy: Policy,
    log: Option<LogSink>,
    webhook: Option<(Buffer, Option<Truncation>)>,
    counts: Arc<Counts>,
}

/// The log, at once or behind a buffer.
struct LogSink {
    log: Arc<Log>,
    buffer: Option<Buffer>,
    truncation: Option<Truncation>,
}

impl LogSink {
    fn open(
        config: &LogConfig,
        delivery: &Delivery,
        counts: &Arc<Counts>,
        tasks: &TaskSet,
    ) -> Result<LogSink, AuditError> {
        let failed = |source| AuditError::Log { path: config.path.clone(), source };
        let log = Arc::new(Log::open(config.clone()).map_err(failed)?);
        let lines = || Lines { log: log.clone(), counts: counts.clone() };
        let truncation = delivery.truncation;
        let buffer = delivery.batching.clone();
        let buffer = buffer.map(|config| Buffer::start("audit-log", config, truncation, lines(), counts, tasks));
        Ok(LogSink { log, buffer, truncation })
    }

    fn send(&self, event: &Event, counts: &Arc<Counts>) {
        let Some(event) = truncated(event, self.truncation.as_ref(), counts) else { return };
        match &self.buffer {
            Some(buffer) => buffer.send(event),
            None => write(&self.log, &event, counts),
        }
    }
}

/// Batches as lines of the log.
struct Lines {
    log: Arc<Log>,
    counts: Arc<Counts>,
}

#[async_trait]
impl Receiver for Lines {
    async fn take(&self, batch: &[Event], _patient: bool) {
        batch.iter().for_each(|event| write(&self.log, event, &self.counts));
    }
}

fn write(log: &Log, event: &Event, counts: &Counts) {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    if let Err(error) = log.write(&line) {
        counts.error(Plugin::Log, 1);
        tracing::error!(error = &error as &dyn std::error::Error, "an audit event was not written");
    }
}

/// The event as the receiver's limits allow it.
fn truncated(event: &Event, limits: Option<&Truncation>, counts: &Counts) -> Option<Event> {
    let Some(limits) = limits else { return Some(event.clone()) };
    let kept = limits.apply(event);
    if kept.is_none() {
        counts.error(Plugin::Truncate, 1);
        tracing::error!("an audit event was dropped: it is too large even after truncating");
    }
    kept
}

impl Auditor {
    /// None when nothing is to be recorded.
    pub fn open(
        config: &AuditConfig,
        delivery: &AuditDelivery,
        tasks: &TaskSet,
    ) -> Result<Option<Arc<Auditor>>, AuditError> {
        let Some(path) = &config.policy else { return Ok(None) };
        let counts = Arc::new(Counts::default());
        let log = config.log.as_ref().map(|log| LogSink::open(log, &delivery.log, &counts, tasks)).transpose()?;
        let webhook = config.webhook.as_ref().map(|path| Webhook::new(path, &counts)).transpose()?;
        let limits = delivery.webhook_truncation;
        let webhook = webhook.map(|webhook| {
            let batching = delivery.webhook.clone();
            (Buffer::start("audit-webhook", batching, limits, webhook, &counts, tasks), limits)
        });
        Ok(Some(Arc::new(Auditor { policy: Policy::load(path)?, log, webhook, counts })))
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Begins a record, if the policy wants one. `authenticated` is false for a request whose user is not known.
    pub fn begin(self: &Arc<Self>, call: &Call, authenticated: bool) -> Option<Record> {
        let user = authenticated.then_some(&call.user);
        let decision = self.policy.decide(user, &call.info);
        self.counts.level(decision.level);
        if decision.level == Level::None {
            return None;
        }
        let base = event::base(call, decision.level, user);
        Some(Record { auditor: self.clone(), decision, event: Mutex::new(base), open: true })
    }

    fn emit(&self, event: &Event) {
        self.counts.event();
        if let Some(log) = &self.log {
            log.send(event, &self.counts);
        }
        if let Some((buffer, limits)) = &self.webhook
            && let Some(event) = truncated(event, limits.as_ref(), &self.counts)
        {
            buffer.send(event);
        }
    }
}

/// What is known of one request so far.
pub struct Record {
    auditor: Arc<Auditor>,
    decision: Decision,
    event: Mutex<Event>,
    open: bool,
}

impl Record {
    pub fn level(&self) -> Level {
        self.decision.level
    }

    /// A note for people, under a key of its author. The last one stays.
    pub fn annotate(&self, key: &str, value: &str) {
        event::annotate(&mut self.event.lock(), key, value);
    }

    /// Tells the sinks of a stage, unless the policy leaves it out.
    pub fn stage(&self, stage: Stage) {
        if !self.decision.omit_stages.contains(&stage) {
            let mut event = self.event.lock();
            event::set_stage(&mut event, stage);
            self.auditor.emit(&event);
        }
    }

    pub fn set(&self, key: &str, value: Value) {
        self.event.lock().insert(key.to_string(), value);
    }

    /// What was sent or answered, without managed fields where the policy does not want them.
    pub fn set_object(&self, key: &str, mut object: Value) {
        if self.decision.omit_managed_fields {
            event::drop_managed_fields(&mut object);
        }
        self.set(key, object);
    }

    /// Whom the user acts as.
    pub fn impersonated(&self, call: &Call) {
        if let Some(impersonation) = &call.impersonated {
            self.set("impersonatedUser", event::user(&call.user));
            if !impersonation.mode.is_empty() {
                self.set("authenticationMetadata", serde_json::json!({"impersonationConstraint": impersonation.mode}));
            }
        }
    }

    /// The answer is whole.
    pub fn complete(mut self) {
        self.open = false;
        self.stage(Stage::ResponseComplete);
    }
}

impl Drop for Record {
    /// The client has gone, the answer of a long request has ended, or something has broken.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if std::thread::panicking() {
            self.set("responseStatus", event::panicked());
            self.stage(Stage::Panic);
        } else {
            self.stage(Stage::ResponseComplete);
        }
    }
}
