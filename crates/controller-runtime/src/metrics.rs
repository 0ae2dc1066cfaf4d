//! What is counted of work queues, under upstream's names. One table for the process, as each process has one `/metrics`.

use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rt::exposition::{Histogram, head};

const SECONDS: &[f64] = &[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0];

/// What a queue counts of itself.
pub struct Counts {
    pub adds: u64,
    pub retries: u64,
    pub waited: Histogram,
    pub worked: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Counts { adds: 0, retries: 0, waited: Histogram::new(SECONDS), worked: Histogram::new(SECONDS) }
    }
}

/// How it is now.
#[derive(Clone, Copy)]
pub struct Load {
    pub depth: usize,
    /// Of all keys that are worked on.
    pub unfinished: Duration,
    pub longest: Duration,
}

/// A queue of any keys.
pub trait Measured: Send + Sync {
    fn read(&self, read: &mut dyn FnMut(&Counts, Load));
}

static QUEUES: Mutex<Vec<(&'static str, Weak<dyn Measured>)>> = Mutex::new(Vec::new());

pub fn register(name: &'static str, queue: &Arc<dyn Measured>) {
    let mut queues = QUEUES.lock();
    queues.retain(|(_, queue)| queue.strong_count() > 0);
    queues.push((name, Arc::downgrade(queue)));
}

/// What a family tells of one queue.
type Tell = fn(&Counts, Load, &str, &str, &mut String);

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

const FAMILIES: [(&str, &str, &str, Tell); 7] = [
    ("adds_total", "counter", "Number of keys that were added.", |counts, _, name, labels, out| {
        line(out, name, labels, counts.adds);
    }),
    ("depth", "gauge", "Number of keys that wait.", |_, load, name, labels, out| line(out, name, labels, load.depth)),
    (
        "longest_running_processor_seconds",
        "gauge",
        "For how long the longest pass has been running.",
        |_, load, name, labels, out| line(out, name, labels, load.longest.as_secs_f64()),
    ),
    ("queue_duration_seconds", "histogram", "How long a key waits.", |counts, _, name, labels, out| {
        counts.waited.write(name, labels, out);
    }),
    ("retries_total", "counter", "Number of keys that were to come again later.", |counts, _, name, labels, out| {
        line(out, name, labels, counts.retries);
    }),
    ("unfinished_work_seconds", "gauge", "For how long all passes have been running.", |_, load, name, labels, out| {
        line(out, name, labels, load.unfinished.as_secs_f64());
    }),
    ("work_duration_seconds", "histogram", "How long a pass takes.", |counts, _, name, labels, out| {
        counts.worked.write(name, labels, out);
    }),
];

/// The text of all families; nothing when no queue is measured.
pub fn write(out: &mut String) {
    let mut queues: Vec<(&str, Arc<dyn Measured>)> =
        QUEUES.lock().iter().filter_map(|(name, queue)| Some((*name, queue.upgrade()?))).collect();
    queues.sort_by_key(|(name, _)| *name);
    // A controller that was started again is told of once.
    queues.dedup_by_key(|(name, _)| *name);
    for (family, kind, help, tell) in FAMILIES.into_iter().filter(|_| !queues.is_empty()) {
        let name = format!("workqueue_{family}");
        head(out, &name, kind, help);
        for (queue, measured) in &queues {
            let labels = format!("name=\"{queue}\"");
            measured.read(&mut |counts, load| tell(counts, load, &name, &labels, out));
        }
    }
}
