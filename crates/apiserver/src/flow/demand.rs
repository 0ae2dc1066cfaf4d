//! How many seats a level could have used, over time.

use std::time::Duration;

/// Sums a value over time: average, deviation and maximum since the last reset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Integrator {
    since: Duration,
    value: f64,
    elapsed: f64,
    sum: f64,
    squares: f64,
    max: f64,
}

/// What a period looked like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Period {
    pub seconds: f64,
    pub average: f64,
    pub deviation: f64,
    pub max: f64,
}

impl Integrator {
    /// From `now` on, a duration since some fixed time, the value is this one.
    pub fn set(&mut self, now: Duration, value: f64) {
        self.advance(now);
        self.value = value;
        self.max = self.max.max(value);
    }

    /// The period that ends now; another begins.
    pub fn reset(&mut self, now: Duration) -> Period {
        self.advance(now);
        let period = self.period();
        *self = Integrator { since: now, value: self.value, max: self.value, ..Integrator::default() };
        period
    }

    fn advance(&mut self, now: Duration) {
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        self.since = self.since.max(now);
        self.elapsed += seconds;
        self.sum += seconds * self.value;
        self.squares += seconds * self.value * self.value;
    }

    fn period(&self) -> Period {
        if self.elapsed <= 0.0 {
            return Period { max: self.max, ..Period::default() };
        }
        let average = self.sum / self.elapsed;
        let variance = self.squares / self.elapsed - average * average;
        Period { seconds: self.elapsed, average, deviation: variance.max(0.0).sqrt(), max: self.max }
    }
}

/// A level's demand, smoothed over periods.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    pub last: Period,
    pub smoothed: f64,
    pub high_watermark: f64,
    /// What the level asks for when seats are divided.
    pub target: f64,
}

/// Demand that has gone is forgotten slowly: by half in five minutes of ten-second periods.
const SMOOTHING: f64 = 0.977;

impl Demand {
    pub fn update(&mut self, period: Period) {
        self.high_watermark = period.max.round();
        if period.seconds <= 0.0 {
            return;
        }
        let envelope = period.average + period.deviation;
        self.smoothed = envelope.max(SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope);
        self.last = period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_weighted_by_time() {
        let mut demand = Integrator::default();
        demand.set(Duration::from_secs(1), 4.0);
        demand.set(Duration::from_secs(3), 0.0);
        let period = demand.reset(Duration::from_secs(4));
        assert_eq!((period.average, period.deviation, period.max), (2.0, 2.0, 4.0));
        assert_eq!(demand.reset(Duration::from_secs(5)).max, 0.0);
    }

    #[test]
    fn demand_rises_at_once_and_falls_slowly() {
        let period = |average: f64| Period { seconds: 10.0, average, deviation: 0.0, max: average };
        let mut demand = Demand::default();
        demand.update(period(10.0));
        assert_eq!(demand.smoothed, 10.0);
        demand.update(period(0.0));
        assert_eq!(demand.smoothed, 9.77);
    }
}
