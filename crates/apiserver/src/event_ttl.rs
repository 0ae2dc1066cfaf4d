//! Events are forgotten an hour after they were last written.

use std::sync::Arc;
use std::time::Duration;

use apimachinery::time;
use rt::TaskSet;
use serde_json::Value;
use store::{Key, Object};

use crate::server::Inner;

const TTL_SECONDS: i64 = 3600;
const PERIOD: Duration = Duration::from_secs(60);

pub fn spawn(server: &Arc<Inner>, tasks: &TaskSet) {
    let server = server.clone();
    tasks.spawn_until_cancelled("event-ttl", async move {
        let mut interval = tokio::time::interval(PERIOD);
        loop {
            interval.tick().await;
            sweep(&server, jiff::Timestamp::now().as_second()).await;
        }
    });
}

async fn sweep(server: &Inner, now: i64) {
    let prefix = Key::prefix("", "events", None);
    let snapshot = server.store.snapshot();
    let old: Vec<(Key, Arc<Object>)> = snapshot
        .range(&prefix, None)
        .filter(|(_, event)| last_written(&event.value()).is_some_and(|at| at + TTL_SECONDS <= now))
        .map(|(key, event)| (key.clone(), event.clone()))
        .collect();
    for (key, event) in old {
        // A conflict means that the event was written again: it lives on.
        if let Err(error) = server.store.delete(key, event.revision, None).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an expired event stays");
        }
    }
}

/// The newest time in the event: its series, its last occurrence, its creation.
fn last_written(event: &Value) -> Option<i64> {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().filter_map(|pointer| time::seconds(event.pointer(pointer)?)).max()
}
