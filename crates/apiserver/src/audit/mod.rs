//! Audit: who did what, recorded as a policy says.
//!
//! The pipeline opens a [`Record`] for every request once it knows its user, and closes it with the answer; a record that
//! is dropped before says so itself, so that no request is left out. Start at [`Auditor`].

mod event;
mod log;
mod policy;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rt::TaskSet;
use serde_json::{Map, Value};

pub use event::{RESPONSE_BYTES_MAX, response_status};
pub use log::LogConfig;
pub use policy::{Level, PolicyError, Stage};

use crate::call::Call;
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
    log: Option<Log>,
    webhook: Option<Webhook>,
}

impl Auditor {
    /// None when nothing is to be recorded.
    pub fn open(config: &AuditConfig, tasks: &TaskSet) -> Result<Option<Arc<Auditor>>, AuditError> {
        let Some(path) = &config.policy else { return Ok(None) };
        let open = |config: &LogConfig| {
            Log::open(config.clone()).map_err(|source| AuditError::Log { path: config.path.clone(), source })
        };
        Ok(Some(Arc::new(Auditor {
            policy: Policy::load(path)?,
            log: config.log.as_ref().map(open).transpose()?,
            webhook: config.webhook.as_ref().map(|path| Webhook::start(path, tasks)).transpose()?,
        })))
    }

    /// Begins a record, if the policy wants one. `authenticated` is false for a request whose user is not known.
    pub fn begin(self: &Arc<Self>, call: &Call, authenticated: bool) -> Option<Record> {
        let user = authenticated.then_some(&call.user);
        let decision = self.policy.decide(user, &call.info);
        if decision.level == Level::None {
            return None;
        }
        let base = event::base(call, decision.level, user);
        Some(Record { auditor: self.clone(), decision, event: Mutex::new(base), open: true })
    }

    fn emit(&self, event: &Map<String, Value>) {
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        if let Some(log) = &self.log
            && let Err(error) = log.write(&line)
        {
            tracing::error!(error = &error as &dyn std::error::Error, "an audit event was not written");
        }
        if let Some(webhook) = &self.webhook {
            webhook.send(event);
        }
    }
}

/// What is known of one request so far.
pub struct Record {
    auditor: Arc<Auditor>,
    decision: Decision,
    event: Mutex<Map<String, Value>>,
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
