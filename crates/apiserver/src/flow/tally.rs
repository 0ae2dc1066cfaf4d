//! What the queues tell of a request as it goes through them. Told under the lock of the level, so that what is counted
//! never disagrees with what is there, whoever gives up when.

use std::time::Duration;

use super::queues::Refusal;
use super::width::Width;

/// What sort of request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    pub watch: bool,
    pub mutating: bool,
}

/// Whoever counts the requests of a flow.
pub trait Tally {
    /// The queue holds so many, this one among them.
    fn lined_up(&self, _length: usize) {}
    fn entered_queue(&self, _width: Width, _kind: Kind) {}
    fn left_queue(&self, _width: Width, _kind: Kind) {}
    /// The next in turn, for whom there are not enough seats.
    fn unaccommodated(&self) {}
    fn rejected(&self, _refusal: Refusal) {}
    fn started(&self, _width: Width, _kind: Kind) {}
    fn executed(&self, _took: Duration, _kind: Kind) {}
    /// Seats are free again: with the answer, or some time after it.
    fn released(&self, _seats: u32) {}
}
