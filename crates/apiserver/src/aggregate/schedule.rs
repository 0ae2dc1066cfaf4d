//! When which APIService is looked at: at once after a change, again and later each time while it fails. Pure: the
//! caller brings the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// Upstream's workers, and its limits for failures.
const RUNNING_MAX: usize = 5;
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Schedule {
    due: BTreeMap<String, Instant>,
    running: BTreeSet<String>,
    /// Changed while they are looked at.
    changed: BTreeSet<String>,
    failures: BTreeMap<String, u32>,
}

impl Schedule {
    pub fn add(&mut self, name: &str, now: Instant) {
        if self.running.contains(name) {
            self.changed.insert(name.to_string());
        } else {
            let due = self.due.entry(name.to_string()).or_insert(now);
            *due = (*due).min(now);
        }
    }

    /// Which one to look at now.
    pub fn start(&mut self, now: Instant) -> Option<String> {
        if self.running.len() >= RUNNING_MAX {
            return None;
        }
        let (name, _) = self.due.iter().filter(|(_, due)| **due <= now).min_by_key(|(_, due)| **due)?;
        let name = name.clone();
        self.due.remove(&name);
        self.running.insert(name.clone());
        Some(name)
    }

    /// When the next one is due, if there is room for it.
    pub fn next_due(&self) -> Option<Instant> {
        if self.running.len() >= RUNNING_MAX { None } else { self.due.values().min().copied() }
    }

    pub fn done(&mut self, name: &str, passed: bool, now: Instant) {
        self.running.remove(name);
        let failures =
            if passed { 0 } else { self.failures.get(name).map_or(1, |failures| failures.saturating_add(1)) };
        match failures {
            0 => drop(self.failures.remove(name)),
            _ => drop(self.failures.insert(name.to_string(), failures)),
        }
        if self.changed.remove(name) {
            self.due.insert(name.to_string(), now);
        } else if failures > 0 {
            let doublings = (failures - 1).min(16);
            let wait = RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX);
            self.due.insert(name.to_string(), now + wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_one_comes_again_later_each_time_and_a_changed_one_at_once() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let mut waits = Vec::new();
        schedule.add("a", now);
        let mut at = now;
        for _ in 0..4 {
            assert_eq!(schedule.start(at), Some("a".into()));
            schedule.done("a", false, at);
            let due = schedule.next_due().unwrap();
            waits.push((due - at).as_millis());
            at = due;
        }
        assert_eq!(waits, [5, 10, 20, 40]);
        assert_eq!(schedule.start(at), Some("a".into()));
        schedule.add("a", at);
        assert_eq!(schedule.start(at), None);
        schedule.done("a", true, at);
        assert_eq!(schedule.next_due(), Some(at));
    }

    #[test]
    fn no_more_than_five_run_at_once() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        (0..7).for_each(|number| schedule.add(&number.to_string(), now));
        assert_eq!(std::iter::from_fn(|| schedule.start(now)).count(), 5);
        assert_eq!(schedule.next_due(), None);
        schedule.done("0", true, now);
        assert_eq!(schedule.start(now), Some("5".into()));
    }
}
