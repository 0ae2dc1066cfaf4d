//! Growing pauses between tries.

use std::time::Duration;

use rand::Rng;

/// Exponential pauses with jitter: each is between the plain value and 1.5 times it, and never above the maximum.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    current: Duration,
}

impl Backoff {
    pub fn new(initial: Duration, max: Duration, factor: f64) -> Self {
        Self { initial, max, factor, current: initial }
    }

    /// The next pause.
    #[expect(clippy::should_implement_trait, reason = "a backoff is no iterator: it never ends")]
    pub fn next(&mut self) -> Duration {
        let pause = self.current;
        self.current = self.current.mul_f64(self.factor).min(self.max);
        pause.mul_f64(rand::rng().random_range(1.0..1.5)).min(self.max)
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.current = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_maximum_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 2.0);
        assert!((100..150).contains(&backoff.next().as_millis()));
        assert!((200..300).contains(&backoff.next().as_millis()));
        for _ in 0..10 {
            assert!(backoff.next() <= Duration::from_secs(1));
        }
        backoff.reset();
        assert!(backoff.next() < Duration::from_millis(150));
    }
}
