//! Sends batches of audit events to a webhook.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, header};
use rt::Backoff;
use serde_json::json;

use super::AuditError;
use super::buffer::Receiver;
use super::counts::{Counts, Plugin};
use super::delivery::Event;
use crate::outbound::Endpoint;

/// Upstream's defaults.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 5;

pub struct Webhook {
    endpoint: Endpoint,
    counts: Arc<Counts>,
}

impl Webhook {
    pub fn new(kubeconfig: &Path, counts: &Arc<Counts>) -> Result<Webhook, AuditError> {
        let endpoint = Endpoint::of_kubeconfig(kubeconfig).map_err(|error| AuditError::Webhook(error.to_string()))?;
        Ok(Webhook { endpoint, counts: counts.clone() })
    }
}

#[async_trait]
impl Receiver for Webhook {
    async fn take(&self, batch: &[Event], patient: bool) {
        let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": batch});
        let body = Bytes::from(list.to_string());
        let mut backoff = Backoff::new(BACKOFF_FIRST, Duration::from_secs(300), 1.5);
        for attempt in 1..=if patient { ATTEMPTS } else { 1 } {
            let request = Request::post(self.endpoint.path()).header(header::CONTENT_TYPE, "application/json");
            let error = match self.endpoint.send(request, body.clone()).await {
                Ok(_) => return,
                Err(error) => error,
            };
            tracing::warn!(error = &error as &dyn std::error::Error, attempt, "audit events were not delivered");
            if attempt < ATTEMPTS && patient {
                tokio::time::sleep(backoff.next()).await;
            }
        }
        self.counts.error(Plugin::Webhook, batch.len());
    }
}
