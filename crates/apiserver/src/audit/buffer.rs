//! Events that wait for their receiver, and go to it in batches.

use std::sync::Arc;

use async_trait::async_trait;
use rt::TaskSet;
use tokio::sync::mpsc;

use super::counts::{Counts, Plugin};
use super::delivery::{Batching, Event, Limiter, Truncation, parts};

/// Who gets batches. `patient`: whether a failure may be tried again for a while.
#[async_trait]
pub trait Receiver: Send + Sync + 'static {
    async fn take(&self, batch: &[Event], patient: bool);
}

pub struct Buffer {
    events: mpsc::Sender<Event>,
    counts: Arc<Counts>,
}

impl Buffer {
    pub fn start(
        name: &'static str,
        config: Batching,
        truncation: Option<Truncation>,
        receiver: impl Receiver,
        counts: &Arc<Counts>,
        tasks: &TaskSet,
    ) -> Buffer {
        let (events, received) = mpsc::channel(config.buffer_size.max(1));
        let stop = tasks.token();
        tasks.spawn(name, async move { run(config, truncation, receiver, received, stop).await });
        Buffer { events, counts: counts.clone() }
    }

    /// What does not fit is dropped: requests do not wait for the receiver.
    pub fn send(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.counts.error(Plugin::Buffered, 1);
            tracing::error!("an audit event was dropped: its receiver is slower than requests come");
        }
    }
}

async fn run(
    config: Batching,
    truncation: Option<Truncation>,
    receiver: impl Receiver,
    mut events: mpsc::Receiver<Event>,
    stop: rt::CancellationToken,
) {
    let mut limiter = config.throttle.map(Limiter::new);
    loop {
        let mut batch = Vec::new();
        let filled = fill(&mut events, &mut batch, &config);
        let open = stop.run_until_cancelled(filled).await.unwrap_or_else(|| {
            // What is there is still told.
            while let Ok(event) = events.try_recv() {
                batch.push(event);
            }
            false
        });
        for part in parts(&batch, config.size_max, truncation.as_ref()) {
            if let Some(limiter) = limiter.as_mut().filter(|_| open) {
                limiter.accept().await;
            }
            receiver.take(part, open).await;
        }
        if !open {
            return;
        }
    }
}

/// Collects a batch: full, or as old as a batch may be. False when no more can come.
async fn fill(events: &mut mpsc::Receiver<Event>, batch: &mut Vec<Event>, config: &Batching) -> bool {
    let Some(first) = events.recv().await else { return false };
    batch.push(first);
    let rest = async {
        while batch.len() < config.size_max {
            let Some(event) = events.recv().await else { return false };
            batch.push(event);
        }
        true
    };
    tokio::time::timeout(config.wait_max, rest).await.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;

    struct Sizes(Arc<Mutex<Vec<usize>>>);

    #[async_trait]
    impl Receiver for Sizes {
        async fn take(&self, batch: &[Event], _patient: bool) {
            self.0.lock().push(batch.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_goes_when_it_is_full_or_old_and_the_rest_at_the_end() {
        let (tasks, sizes, counts) = (TaskSet::new(), Arc::new(Mutex::new(Vec::new())), Arc::new(Counts::default()));
        let config = Batching { buffer_size: 8, size_max: 3, wait_max: Duration::from_secs(5), throttle: None };
        let buffer = Buffer::start("test", config, None, Sizes(sizes.clone()), &counts, &tasks);
        let event = json!({"auditID": "1"}).as_object().cloned().unwrap();
        (0..4).for_each(|_| buffer.send(event.clone()));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(*sizes.lock(), [3, 1]);
        (0..20).for_each(|_| buffer.send(event.clone()));
        tasks.shutdown().await;
        assert_eq!(sizes.lock().iter().sum::<usize>(), 4 + 8, "the buffer holds eight");
        let mut text = String::new();
        counts.write(&mut text);
        assert!(text.contains("apiserver_audit_error_total{plugin=\"buffered\"} 12"));
    }
}
