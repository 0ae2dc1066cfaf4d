//! What is counted of the chain, under upstream's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;
use rt::exposition::{Histogram, head};

use crate::Operation;
use crate::webhook::CallError;

const STEP_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// More would let webhooks make series at will.
const CODE_MAX: u16 = 600;

/// The halves of the chain.
#[derive(Clone, Copy)]
pub enum Step {
    Admit,
    Validate,
}

const STEPS: [(Step, &str); 2] = [(Step::Admit, "admit"), (Step::Validate, "validate")];
const OPERATIONS: [Operation; 4] = [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];
const REJECTED: [bool; 2] = [false, true];

/// Indexed by whether the request was rejected.
struct Seconds([Histogram; 2]);

impl Seconds {
    fn new(bounds: &'static [f64]) -> Seconds {
        Seconds([Histogram::new(bounds), Histogram::new(bounds)])
    }

    fn observe(&self, took: Duration, rejected: bool) {
        self.0[usize::from(rejected)].observe(took.as_secs_f64());
    }
}

/// Name, type, operation.
type Key = (String, &'static str, &'static str);

struct Webhook {
    seconds: Seconds,
    /// By code and whether the request was rejected.
    requests: BTreeMap<(u16, bool), u64>,
    /// By kind of error and code.
    rejections: BTreeMap<(&'static str, u16), u64>,
}

pub struct Metrics {
    /// By step, then by operation.
    steps: [[Seconds; 4]; 2],
    webhooks: Mutex<BTreeMap<Key, Webhook>>,
    /// By name and type.
    failed_open: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let operations = || [(); 4].map(|()| Seconds::new(STEP_SECONDS));
        Metrics { steps: [operations(), operations()], webhooks: Mutex::default(), failed_open: Mutex::default() }
    }
}

impl Metrics {
    pub fn step(&self, step: Step, operation: Operation, took: Duration, rejected: bool) {
        self.steps[step as usize][operation as usize].observe(took, rejected);
    }

    /// A webhook was asked; `open` when its failure is ignored.
    pub fn webhook(&self, hook: &str, kind: &'static str, operation: Operation, asked: Asked<'_>) {
        let (error, code) = asked.outcome();
        let rejected = asked.error.is_some() && !asked.open;
        let mut webhooks = self.webhooks.lock();
        let new = || Webhook {
            seconds: Seconds::new(WEBHOOK_SECONDS),
            requests: BTreeMap::new(),
            rejections: BTreeMap::new(),
        };
        let webhook = webhooks.entry((hook.to_owned(), kind, operation.name())).or_insert_with(new);
        webhook.seconds.observe(asked.took, rejected);
        *webhook.requests.entry((code, rejected)).or_default() += 1;
        if rejected {
            *webhook.rejections.entry((error, code)).or_default() += 1;
        }
        drop(webhooks);
        if asked.open {
            *self.failed_open.lock().entry((hook.to_owned(), kind)).or_default() += 1;
        }
    }

    pub fn write(&self, out: &mut String) {
        let name = "apiserver_admission_step_admission_duration_seconds";
        head(out, name, "histogram", "How long a half of the admission chain took, by operation and outcome.");
        for (step, kind) in STEPS {
            for operation in OPERATIONS {
                let seconds = &self.steps[step as usize][operation as usize];
                write_seconds(seconds, name, &format!("operation=\"{}\"", operation.name()), kind, out);
            }
        }
        self.write_webhooks(out);
    }

    fn write_webhooks(&self, out: &mut String) {
        let webhooks = self.webhooks.lock();
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        head(out, name, "histogram", "How long a webhook took, by operation and outcome.");
        for ((hook, kind, operation), webhook) in &*webhooks {
            let labels = format!("name=\"{hook}\",operation=\"{operation}\"");
            write_seconds(&webhook.seconds, name, &labels, kind, out);
        }
        let name = "apiserver_admission_webhook_request_total";
        head(out, name, "counter", "How often a webhook was asked, by its answer.");
        for ((hook, kind, operation), webhook) in &*webhooks {
            for ((code, rejected), count) in &webhook.requests {
                let labels = format!("code=\"{code}\",name=\"{hook}\",operation=\"{operation}\"");
                let _ = writeln!(out, "{name}{{{labels},rejected=\"{rejected}\",type=\"{kind}\"}} {count}");
            }
        }
        let name = "apiserver_admission_webhook_rejection_count";
        head(out, name, "counter", "How often a webhook made a request fail, by why.");
        for ((hook, kind, operation), webhook) in &*webhooks {
            for ((error, code), count) in &webhook.rejections {
                let labels = format!("error_type=\"{error}\",name=\"{hook}\",operation=\"{operation}\"");
                let _ = writeln!(out, "{name}{{{labels},rejection_code=\"{code}\",type=\"{kind}\"}} {count}");
            }
        }
        drop(webhooks);
        let name = "apiserver_admission_webhook_fail_open_count";
        head(out, name, "counter", "How often the failure of a webhook was ignored.");
        for ((hook, kind), count) in &*self.failed_open.lock() {
            let _ = writeln!(out, "{name}{{name=\"{hook}\",type=\"{kind}\"}} {count}");
        }
    }
}

/// How it went with a webhook.
pub struct Asked<'a> {
    pub took: Duration,
    pub error: Option<&'a CallError>,
    /// Its failure is ignored.
    pub open: bool,
}

impl Asked<'_> {
    /// The kind of error, and the code that goes with it.
    fn outcome(&self) -> (&'static str, u16) {
        let (error, code) = match self.error {
            None => ("no_error", 200),
            Some(CallError::Failed { code, .. }) => ("calling_webhook_error", *code),
            Some(CallError::Denied(status)) => ("no_error", status.code),
            Some(CallError::DryRun(_) | CallError::Unusable(_)) => ("apiserver_internal_error", 0),
        };
        (error, code.min(CODE_MAX))
    }
}

fn write_seconds(seconds: &Seconds, name: &str, labels: &str, kind: &str, out: &mut String) {
    for rejected in REJECTED {
        let labels = format!("{labels},rejected=\"{rejected}\",type=\"{kind}\"");
        seconds.0[usize::from(rejected)].write(name, &labels, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_webhooks_answer_is_told_apart() {
        let (metrics, took) = (Metrics::default(), Duration::from_millis(7));
        let failed = CallError::failed("a.b.c", "no way", 503);
        let count = |error: Option<&CallError>, open: bool| {
            metrics.webhook("a.b.c", "validating", Operation::Create, Asked { took, error, open });
        };
        count(None, false);
        count(Some(&failed), false);
        count(Some(&failed), true);
        metrics.step(Step::Admit, Operation::Update, took, false);
        let mut text = String::new();
        metrics.write(&mut text);
        for line in [
            "webhook_request_total{code=\"200\",name=\"a.b.c\",operation=\"CREATE\",rejected=\"false\",type=\"validating\"} 1",
            "webhook_request_total{code=\"503\",name=\"a.b.c\",operation=\"CREATE\",rejected=\"true\",type=\"validating\"} 1",
            "webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"a.b.c\",operation=\"CREATE\",\
             rejection_code=\"503\",type=\"validating\"} 1",
            "webhook_fail_open_count{name=\"a.b.c\",type=\"validating\"} 1",
            "step_admission_duration_seconds_count{operation=\"UPDATE\",rejected=\"false\",type=\"admit\"} 1",
        ] {
            let whole = format!("apiserver_admission_{line}");
            assert!(text.lines().any(|own| own == whole), "{whole}\n{text}");
        }
    }
}
