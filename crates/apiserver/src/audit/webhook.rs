//! Sends audit events to a webhook, in batches.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use rt::{Backoff, TaskSet};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::AuditError;
use crate::outbound::Endpoint;

/// Upstream's defaults.
const BUFFER: usize = 10_000;
const BATCH: usize = 400;
const WAIT_MAX: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 5;

pub struct Webhook {
    events: mpsc::Sender<Map<String, Value>>,
}

impl Webhook {
    pub fn start(kubeconfig: &Path, tasks: &TaskSet) -> Result<Webhook, AuditError> {
        let endpoint = Endpoint::of_kubeconfig(kubeconfig).map_err(|error| AuditError::Webhook(error.to_string()))?;
        let (events, received) = mpsc::channel(BUFFER);
        let stop = tasks.token();
        tasks.spawn("audit-webhook", async move { run(endpoint, received, stop).await });
        Ok(Webhook { events })
    }

    /// What does not fit is dropped: requests do not wait for the receiver.
    pub fn send(&self, event: &Map<String, Value>) {
        if self.events.try_send(event.clone()).is_err() {
            tracing::error!("an audit event was dropped: the webhook is slower than requests come");
        }
    }
}

async fn run(endpoint: Endpoint, mut events: mpsc::Receiver<Map<String, Value>>, stop: rt::CancellationToken) {
    loop {
        let mut batch = Vec::new();
        let filled = fill(&mut events, &mut batch);
        let open = stop.run_until_cancelled(filled).await.unwrap_or_else(|| {
            // What is there is still told.
            while let Ok(event) = events.try_recv() {
                batch.push(event);
            }
            false
        });
        for part in batch.chunks(BATCH) {
            deliver(&endpoint, part, open).await;
        }
        if !open {
            return;
        }
    }
}

/// Collects a batch: full, or as old as a batch may be. False when no more can come.
async fn fill(events: &mut mpsc::Receiver<Map<String, Value>>, batch: &mut Vec<Map<String, Value>>) -> bool {
    let Some(first) = events.recv().await else { return false };
    batch.push(first);
    let rest = async {
        while batch.len() < BATCH {
            let Some(event) = events.recv().await else { return false };
            batch.push(event);
        }
        true
    };
    tokio::time::timeout(WAIT_MAX, rest).await.unwrap_or(true)
}

async fn deliver(endpoint: &Endpoint, batch: &[Map<String, Value>], patient: bool) {
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": batch});
    let body = Bytes::from(list.to_string());
    let mut backoff = Backoff::new(BACKOFF_FIRST, Duration::from_secs(300), 1.5);
    for attempt in 1..=if patient { ATTEMPTS } else { 1 } {
        let request = Request::post(endpoint.path()).header(header::CONTENT_TYPE, "application/json");
        let error = match endpoint.send(request, body.clone()).await {
            Ok(_) => return,
            Err(error) => error,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, attempt, "audit events were not delivered");
        if attempt < ATTEMPTS && patient {
            tokio::time::sleep(backoff.next()).await;
        }
    }
}
