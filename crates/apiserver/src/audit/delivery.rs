//! How events come to their receivers: at once or in batches, and how large they may be.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

pub type Event = Map<String, Value>;

/// For both receivers, as an administrator chose.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditDelivery {
    pub log: Delivery,
    pub webhook: Batching,
    pub webhook_truncation: Option<Truncation>,
}

/// How the log is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Without it a request waits until its event is written.
    pub batching: Option<Batching>,
    pub truncation: Option<Truncation>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Batching {
    /// So many events wait; more are dropped.
    pub buffer_size: usize,
    pub size_max: usize,
    /// The age of a batch that is not full.
    pub wait_max: Duration,
    pub throttle: Option<Throttle>,
}

/// Batches in a second, and at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    pub qps: f64,
    pub burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    pub event_bytes_max: usize,
    pub batch_bytes_max: usize,
}

impl Default for AuditDelivery {
    /// Upstream's.
    fn default() -> Self {
        let throttle = Some(Throttle { qps: 10.0, burst: 15 });
        let webhook = Batching { buffer_size: 10_000, size_max: 400, wait_max: Duration::from_secs(30), throttle };
        AuditDelivery { log: Delivery::default(), webhook, webhook_truncation: None }
    }
}

impl Truncation {
    /// The event as it may be sent; none when it is too large whatever is left out.
    pub fn apply(&self, event: &Event) -> Option<Event> {
        if size(event) <= self.event_bytes_max {
            return Some(event.clone());
        }
        if !matches!(event.get("level").and_then(Value::as_str), Some("Request" | "RequestResponse")) {
            return None;
        }
        let mut event = event.clone();
        event.remove("requestObject");
        event.remove("responseObject");
        let annotations = event.entry("annotations").or_insert_with(|| json!({}));
        annotations["audit.k8s.io/truncated"] = "true".into();
        (size(&event) <= self.event_bytes_max).then_some(event)
    }
}

fn size(event: &Event) -> usize {
    serde_json::to_vec(event).map_or(0, |text| text.len())
}

/// Parts of a batch of so many events and, if that is limited, so many bytes.
pub fn parts<'a>(batch: &'a [Event], size_max: usize, truncation: Option<&Truncation>) -> Vec<&'a [Event]> {
    let bytes_max = truncation.map_or(usize::MAX, |limits| limits.batch_bytes_max);
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, event) in batch.iter().enumerate() {
        let own = if truncation.is_some() { size(event) } else { 0 };
        if index > start && (index - start >= size_max || bytes + own > bytes_max) {
            parts.push(&batch[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += own;
    }
    if start < batch.len() {
        parts.push(&batch[start..]);
    }
    parts
}

/// A bucket of tokens, one for each batch.
pub struct Limiter {
    throttle: Throttle,
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    pub fn new(throttle: Throttle) -> Limiter {
        Limiter { throttle, tokens: f64::from(throttle.burst), filled: Instant::now() }
    }

    /// Takes a token, once there is one.
    pub async fn accept(&mut self) {
        let now = Instant::now();
        let gained = (now - self.filled).as_secs_f64() * self.throttle.qps;
        self.tokens = (self.tokens + gained).min(f64::from(self.throttle.burst)) - 1.0;
        self.filled = now;
        if self.tokens < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-self.tokens / self.throttle.qps)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(level: &str, bytes: usize) -> Event {
        let event = json!({"level": level, "requestObject": "x".repeat(bytes), "auditID": "1"});
        event.as_object().cloned().unwrap()
    }

    #[test]
    fn a_large_event_loses_its_objects_and_says_so() {
        let limits = Truncation { event_bytes_max: 200, batch_bytes_max: 1000 };
        assert_eq!(limits.apply(&event("Request", 10)), Some(event("Request", 10)));
        let cut = limits.apply(&event("Request", 500)).unwrap();
        assert_eq!(
            Value::from(cut),
            json!({"level": "Request", "auditID": "1",
            "annotations": {"audit.k8s.io/truncated": "true"}})
        );
        assert_eq!(limits.apply(&event("Metadata", 500)), None);
        assert_eq!(Truncation { event_bytes_max: 20, batch_bytes_max: 1000 }.apply(&event("Request", 500)), None);
    }

    #[test]
    fn a_batch_is_parted_by_number_and_by_bytes() {
        let batch = vec![event("Request", 100); 5];
        let sizes = |size_max: usize, bytes: Option<usize>| {
            let limits = bytes.map(|batch_bytes_max| Truncation { event_bytes_max: 1000, batch_bytes_max });
            parts(&batch, size_max, limits.as_ref()).iter().map(|part| part.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(2, None), [2, 2, 1]);
        assert_eq!(sizes(10, Some(350)), [2, 2, 1]);
        assert_eq!(sizes(10, Some(1)), [1; 5]);
        assert!(parts(&[], 2, None).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn batches_beyond_the_burst_wait() {
        let mut limiter = Limiter::new(Throttle { qps: 10.0, burst: 2 });
        let start = Instant::now();
        for _ in 0..4 {
            limiter.accept().await;
        }
        assert_eq!((Instant::now() - start).as_millis() / 100, 2);
    }
}
