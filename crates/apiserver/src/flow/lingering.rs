//! Seats that a request still holds when it has its answer.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// Seats that are held after the answer. In the order of their ends.
pub struct Lingering<F> {
    pub until: Duration,
    pub seats: u32,
    pub queue: Option<usize>,
    pub flow: Arc<F>,
}

impl<F> Ord for Lingering<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.until.cmp(&other.until)
    }
}

impl<F> PartialOrd for Lingering<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F> PartialEq for Lingering<F> {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl<F> Eq for Lingering<F> {}
