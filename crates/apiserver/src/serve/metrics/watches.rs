//! What is counted of the events that watches send.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use registry::strategy::Resource;

use rt::exposition::Histogram;
use rt::exposition::head;

const BYTES: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16_384.0, 32_768.0, 65_536.0, 131_072.0];

/// Of one resource. Kept by each of its watches.
pub struct Sent {
    events: AtomicU64,
    bytes: Histogram,
}

impl Sent {
    pub fn event(&self, bytes: usize) {
        self.events.fetch_add(1, Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "buckets are wide")]
        self.bytes.observe(bytes as f64);
    }
}

/// Group, version, name.
type Named = (&'static str, &'static str, &'static str);

#[derive(Default)]
pub struct Watches(Mutex<HashMap<Named, Arc<Sent>>>);

impl Watches {
    pub fn of(&self, resource: &Resource) -> Arc<Sent> {
        let new = || Arc::new(Sent { events: AtomicU64::new(0), bytes: Histogram::new(BYTES) });
        self.0.lock().entry((resource.group, resource.version, resource.name)).or_insert_with(new).clone()
    }

    pub fn write(&self, out: &mut String) {
        let mut all: Vec<(Named, Arc<Sent>)> = self.0.lock().iter().map(|(name, sent)| (*name, sent.clone())).collect();
        all.sort_by_key(|(name, _)| *name);
        let labels = |(group, version, resource): &Named| {
            format!("group=\"{group}\",resource=\"{resource}\",version=\"{version}\"")
        };
        let name = "apiserver_watch_events_total";
        head(out, name, "counter", "Number of events sent to watches.");
        for (resource, sent) in all.iter().filter(|(_, sent)| sent.events.load(Relaxed) > 0) {
            let _ = writeln!(out, "{name}{{{}}} {}", labels(resource), sent.events.load(Relaxed));
        }
        let name = "apiserver_watch_events_sizes";
        head(out, name, "histogram", "Watch event size distribution in bytes.");
        for (resource, sent) in &all {
            sent.bytes.write(name, &labels(resource), out);
        }
    }
}
