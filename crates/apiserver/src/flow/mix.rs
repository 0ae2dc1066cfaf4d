//! How many requests of all levels wait and execute, those that change something apart from those that only read.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::tally::Kind;
use super::timing::Timing;

const RATIOS: &[f64] = &[0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

/// The most within each whole second.
#[derive(Clone, Copy, Default)]
struct Watermark {
    number: i32,
    second: u64,
    max: i32,
    /// Of the second before.
    last: i32,
}

impl Watermark {
    fn roll(&mut self, second: u64) {
        if second > self.second {
            self.last = if second == self.second + 1 { self.max } else { self.number };
            self.max = self.number;
            self.second = second;
        }
    }

    fn add(&mut self, second: u64, more: i32) {
        self.roll(second);
        self.number += more;
        self.max = self.max.max(self.number);
    }
}

struct Gauge {
    timing: Timing,
    watermark: Watermark,
}

/// Indexed by whether requests change something.
type Pair = [Mutex<Gauge>; 2];

pub struct Mix {
    start: Instant,
    waiting: Pair,
    executing: Pair,
}

const KINDS: [(&str, usize); 2] = [("mutating", 1), ("readOnly", 0)];

impl Mix {
    pub fn new(start: Instant) -> Mix {
        let gauge = || Mutex::new(Gauge { timing: Timing::new(RATIOS), watermark: Watermark::default() });
        Mix { start, waiting: [gauge(), gauge()], executing: [gauge(), gauge()] }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn add(&self, pair: &Pair, kind: Kind, more: i32) {
        let now = self.now();
        let mut gauge = pair[usize::from(kind.mutating)].lock();
        gauge.timing.add(now, more);
        gauge.watermark.add(now.as_secs(), more);
    }

    pub fn waiting(&self, kind: Kind, more: i32) {
        self.add(&self.waiting, kind, more);
    }

    pub fn executing(&self, kind: Kind, more: i32) {
        self.add(&self.executing, kind, more);
    }

    /// How many may wait and execute in all levels together.
    pub fn set_limits(&self, waiting: f64, executing: f64) {
        let now = self.now();
        for (pair, limit) in [(&self.waiting, waiting), (&self.executing, executing)] {
            pair.iter().for_each(|gauge| gauge.lock().timing.set_limit(now, limit));
        }
    }

    pub fn write(&self, name: &str, out: &mut String) {
        for (phase, pair) in [("executing", &self.executing), ("waiting", &self.waiting)] {
            for (kind, index) in KINDS {
                let labels = format!("phase=\"{phase}\",request_kind=\"{kind}\"");
                pair[index].lock().timing.write(self.now(), name, &labels, out);
            }
        }
    }

    /// The most that executed and that waited within the last whole second, by kind of request.
    pub fn maxima(&self) -> [(&'static str, i32, i32); 2] {
        let second = self.now().as_secs();
        let last = |pair: &Pair, index: usize| {
            let mut gauge = pair[index].lock();
            gauge.watermark.roll(second);
            gauge.watermark.last
        };
        KINDS.map(|(kind, index)| (kind, last(&self.executing, index), last(&self.waiting, index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_second_is_told_until_the_next_is_over() {
        let mut watermark = Watermark::default();
        [(4, 1), (4, 1), (4, -1)].iter().for_each(|(second, more)| watermark.add(*second, *more));
        watermark.roll(5);
        assert_eq!((watermark.last, watermark.max), (2, 1));
        watermark.roll(9);
        assert_eq!(watermark.last, 1);
    }
}
