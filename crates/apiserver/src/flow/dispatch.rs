//! What is told of the virtual clock when a request leaves its queue.

/// The virtual times at the last dispatch from a queue: of the level, of the request, and of the oldest requests of all
/// queues, with and without the work that their queues have in progress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispatch {
    pub at: f64,
    pub start: f64,
    pub next: (f64, f64),
    pub next_discounted: (f64, f64),
}

/// The smallest and the largest of what it has seen.
pub struct Bounds(pub (f64, f64));

impl Bounds {
    pub const NONE: Bounds = Bounds((f64::INFINITY, f64::NEG_INFINITY));

    pub fn see(&mut self, value: f64) {
        self.0 = (self.0.0.min(value), self.0.1.max(value));
    }
}
