//! For how long a number was how large a part of its limit: a histogram of time, in nanoseconds.

use std::time::Duration;

use super::queues::Discipline;
use rt::exposition;

pub struct Timing {
    bounds: &'static [f64],
    nanos: Box<[u64]>,
    sum: f64,
    number: f64,
    limit: f64,
    since: Duration,
}

impl Timing {
    pub fn new(bounds: &'static [f64]) -> Timing {
        let nanos = (0..=bounds.len()).map(|_| 0).collect();
        Timing { bounds, nanos, sum: 0.0, number: 0.0, limit: 1.0, since: Duration::ZERO }
    }

    /// From `now` on, a duration since some fixed time, the number is this one.
    pub fn set(&mut self, now: Duration, number: f64) {
        self.advance(now);
        self.number = number;
    }

    pub fn add(&mut self, now: Duration, more: i32) {
        self.set(now, self.number + f64::from(more));
    }

    pub fn set_limit(&mut self, now: Duration, limit: f64) {
        self.advance(now);
        self.limit = limit.max(1.0);
    }

    fn advance(&mut self, now: Duration) {
        let passed = u64::try_from(now.saturating_sub(self.since).as_nanos()).unwrap_or(u64::MAX);
        if passed == 0 {
            return;
        }
        self.since = now;
        let ratio = self.number / self.limit;
        let bucket = self.bounds.iter().position(|bound| ratio <= *bound).unwrap_or(self.bounds.len());
        self.nanos[bucket] += passed;
        #[expect(clippy::cast_precision_loss, reason = "a sum of times needs no more digits")]
        let weight = passed as f64;
        self.sum += ratio * weight;
    }

    pub fn write(&mut self, now: Duration, name: &str, labels: &str, out: &mut String) {
        self.advance(now);
        exposition::histogram(self.bounds, &self.nanos, self.sum, name, labels, out);
    }
}

// Bounds at both 0.99 and 1 tell nearly full from full.
const SEAT_RATIOS: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
const REQUEST_RATIOS: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];
const DEMAND_RATIOS: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];

/// Of one priority level.
pub struct LevelTimings {
    pub seats: Timing,
    pub executing: Timing,
    pub waiting: Timing,
    pub demand: Timing,
}

impl Default for LevelTimings {
    fn default() -> Self {
        LevelTimings {
            seats: Timing::new(SEAT_RATIOS),
            executing: Timing::new(REQUEST_RATIOS),
            waiting: Timing::new(REQUEST_RATIOS),
            demand: Timing::new(DEMAND_RATIOS),
        }
    }
}

impl LevelTimings {
    /// What seats, executing requests and demand are measured against.
    pub fn set_seats(&mut self, now: Duration, seats: u32) {
        for timing in [&mut self.seats, &mut self.executing, &mut self.demand] {
            timing.set_limit(now, seats.into());
        }
    }

    /// What waiting requests are measured against.
    pub fn set_queues(&mut self, now: Duration, discipline: Discipline) {
        if let Discipline::Queue { queues, length_max, .. } = discipline {
            #[expect(clippy::cast_precision_loss, reason = "queues are few and short")]
            self.waiting.set_limit(now, (queues * length_max.max(1)) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn time_is_counted_where_the_number_stood() {
        let mut timing = Timing::new(&[0.0, 0.5, 1.0]);
        let at = Duration::from_nanos;
        timing.set_limit(at(0), 4.0);
        timing.add(at(10), 2);
        timing.add(at(30), 2);
        timing.set_limit(at(60), 2.0);
        let mut out = String::new();
        timing.write(at(100), "x", "a=\"b\"", &mut out);
        expect![[r#"
            x_bucket{a="b",le="0"} 10
            x_bucket{a="b",le="0.5"} 30
            x_bucket{a="b",le="1"} 60
            x_bucket{a="b",le="+Inf"} 100
            x_sum{a="b"} 120
            x_count{a="b"} 100
        "#]]
        .assert_eq(&out);
    }
}
