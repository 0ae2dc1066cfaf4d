//! How long a request spent in admission webhooks: what the server does not answer for itself.

use std::sync::Arc;
use std::time::Duration;

use admission::webhook::caller::{Exchange, ExchangeError, Reply, WebhookCaller};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Default)]
struct State {
    asked: usize,
    since: Option<Instant>,
    total: Duration,
}

/// Of one request. Webhooks that are asked at the same time take their time once.
#[derive(Clone, Default)]
pub struct WebhookTime(Arc<Mutex<State>>);

impl WebhookTime {
    pub fn total(&self) -> Duration {
        self.0.lock().total
    }

    /// Until what is given back is dropped.
    fn ask(&self) -> Asking {
        let mut state = self.0.lock();
        state.asked += 1;
        state.since.get_or_insert_with(Instant::now);
        Asking(self.clone())
    }
}

struct Asking(WebhookTime);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.asked -= 1;
        if state.asked == 0 {
            let asked = state.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            state.total += asked;
        }
    }
}

tokio::task_local! {
    /// Of the request whose task it is.
    pub static WEBHOOK_TIME: WebhookTime;
}

/// Asks as `inner` does, and notes the time with the request.
pub struct Timed(pub Arc<dyn WebhookCaller>);

#[async_trait]
impl WebhookCaller for Timed {
    async fn call(&self, exchange: Exchange) -> Result<Reply, ExchangeError> {
        let _asking = WEBHOOK_TIME.try_with(WebhookTime::ask);
        self.0.call(exchange).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn webhooks_at_the_same_time_take_it_once() {
        let time = WebhookTime::default();
        let first = time.ask();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = time.ask();
        drop(first);
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(second);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(time.total(), Duration::from_secs(2));
    }
}
