//! The requests that hold seats, by slot.

use std::sync::Arc;
use std::time::Duration;

use super::tally::Kind;
use super::width::Width;

/// A request that runs.
pub struct Running<F> {
    pub flow: Arc<F>,
    pub width: Width,
    pub kind: Kind,
    pub detail: Box<str>,
    pub queue: Option<usize>,
    pub arrived: Duration,
    pub started: Duration,
}

/// Slots are used again when they are free.
pub struct Slots<F> {
    slots: Vec<Option<Running<F>>>,
    free: Vec<usize>,
}

impl<F> Default for Slots<F> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

impl<F> Slots<F> {
    pub fn put(&mut self, running: Running<F>) -> usize {
        let Some(slot) = self.free.pop() else {
            self.slots.push(Some(running));
            return self.slots.len() - 1;
        };
        self.slots[slot] = Some(running);
        slot
    }

    pub fn take(&mut self, slot: usize) -> Option<Running<F>> {
        let taken = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(taken)
    }

    #[cfg(test)]
    pub fn get(&self, slot: usize) -> Option<&Running<F>> {
        self.slots.get(slot)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Running<F>> {
        self.slots.iter().flatten()
    }
}
