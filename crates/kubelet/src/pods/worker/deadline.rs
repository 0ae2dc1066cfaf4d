//! How long the containers of an ending pod may go on: one deadline for all, which only moves earlier.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub(super) struct Deadline {
    at: watch::Sender<Timestamp>,
    /// Seconds, once the pod ends.
    grace: Option<i64>,
}

impl Deadline {
    pub fn new(now: Timestamp) -> Deadline {
        Deadline { at: watch::Sender::new(now), grace: None }
    }

    /// From the first container that is stopped on.
    pub fn begin(&mut self, grace: i64, now: Timestamp) -> watch::Receiver<Timestamp> {
        if self.grace.is_none() {
            self.grace = Some(grace);
            self.at.send_replace(end(grace, now));
        }
        self.shorten(grace, now);
        self.at.subscribe()
    }

    /// The pod is to end with less grace.
    pub fn shorten(&mut self, grace: i64, now: Timestamp) {
        if self.grace.is_some_and(|known| grace < known) {
            self.grace = Some(grace);
            self.at.send_modify(|at| *at = end(grace, now).min(*at));
        }
    }
}

fn end(grace: i64, now: Timestamp) -> Timestamp {
    now + SignedDuration::from_secs(grace.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_begins_once_and_moves_only_earlier() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut deadline = Deadline::new(at(0));
        deadline.shorten(1, at(5));
        let seen = deadline.begin(30, at(10));
        assert_eq!(*seen.borrow(), at(40));
        deadline.begin(30, at(20));
        deadline.shorten(60, at(20));
        assert_eq!(*seen.borrow(), at(40));
        deadline.shorten(5, at(20));
        assert_eq!(*seen.borrow(), at(25));
    }
}
