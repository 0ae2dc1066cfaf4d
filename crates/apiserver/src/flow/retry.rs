//! What a refused client is told to wait: longer where refusals go on.

use std::collections::VecDeque;

const RETRY_AFTER_MAX: i64 = 32;

/// The refusals of one level, by second.
#[derive(Debug)]
pub struct Refusals {
    history: VecDeque<(i64, i64)>,
    current: (i64, i64),
    retry_after: i64,
    updated: i64,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals { history: VecDeque::new(), current: (0, 0), retry_after: 1, updated: 0 }
    }
}

impl Refusals {
    /// Counts a refusal and says after how many seconds to come again.
    pub fn record(&mut self, now: i64) -> u16 {
        if self.current.0 == now {
            self.current.1 += 1;
        } else {
            self.history.push_back(self.current);
            let kept = (2 * self.retry_after).min(RETRY_AFTER_MAX);
            while self.history.front().is_some_and(|(second, _)| self.current.0 - second > kept) {
                self.history.pop_front();
            }
            self.current = (now, 1);
            self.adjust(now);
        }
        u16::try_from(self.retry_after).unwrap_or(1)
    }

    fn adjust(&mut self, now: i64) {
        let recent = self.history.iter().filter(|(second, _)| now - second <= self.retry_after && *second < now);
        let dropped: i64 = recent.map(|(_, count)| count).sum();
        if now - self.updated >= self.retry_after && dropped >= 3 * self.retry_after {
            self.retry_after = (2 * self.retry_after).min(RETRY_AFTER_MAX);
            self.updated = now;
        } else if dropped < self.retry_after && self.retry_after > 1 {
            self.retry_after -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_under_pressure_and_shrinks_afterwards() {
        let mut refusals = Refusals::default();
        let mut told = Vec::new();
        for second in 100..110 {
            for _ in 0..20 {
                refusals.record(second);
            }
            told.push(refusals.record(second));
        }
        assert_eq!(told, [1, 2, 2, 4, 4, 4, 4, 8, 8, 8]);
        assert_eq!(refusals.record(300), 7);
    }
}
