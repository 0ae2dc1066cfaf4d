//! How long a container that keeps ending waits for its next start. Pure.

use jiff::{SignedDuration, Timestamp};

const INITIAL: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_mins(5);
/// After this long without a restart all is forgiven.
const RESET_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Doubles with each restart: none before the first, then 10 s to 5 min after the container's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrashBackoff {
    pause: SignedDuration,
    last_restart: Option<Timestamp>,
}

impl CrashBackoff {
    /// Until when a container that ended at `finished_at` waits, if it still has to.
    pub fn waits_until(&self, finished_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let until = finished_at + self.pause_at(now);
        (now < until).then_some(until)
    }

    pub fn pause_at(&self, now: Timestamp) -> SignedDuration {
        if self.is_forgiven(now) { SignedDuration::ZERO } else { self.pause }
    }

    fn is_forgiven(&self, now: Timestamp) -> bool {
        self.last_restart.is_none_or(|last| now.duration_since(last) > RESET_AFTER)
    }

    /// Counts a restart.
    pub fn restarted(&mut self, now: Timestamp) {
        self.pause = match self.pause_at(now) {
            SignedDuration::ZERO => INITIAL,
            pause => (pause * 2).min(MAX),
        };
        self.last_restart = Some(now);
    }
}

/// As Go prints the pauses that occur: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(pause: SignedDuration) -> String {
    let seconds = pause.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_wait_longer() {
        let mut backoff = CrashBackoff::default();
        assert_eq!(backoff.waits_until(at(100), at(100)), None);
        let mut pauses = Vec::new();
        let mut now = at(100);
        for _ in 0..7 {
            backoff.restarted(now);
            pauses.push(go_duration(backoff.pause_at(now)));
            now = backoff.waits_until(now, now).expect("a pause");
        }
        assert_eq!(pauses, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
    }

    #[test]
    fn ten_quiet_minutes_forgive() {
        let mut backoff = CrashBackoff::default();
        backoff.restarted(at(0));
        assert_eq!(backoff.waits_until(at(600), at(601)), None);
        backoff.restarted(at(601));
        assert_eq!(go_duration(backoff.pause_at(at(601))), "10s");
    }
}
