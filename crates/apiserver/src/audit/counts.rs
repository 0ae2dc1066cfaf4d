//! What is counted of the audit, under upstream's names.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::policy::Level;
use rt::exposition::head;

const LEVELS: [Level; 4] = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];
/// Where an event can get lost.
#[derive(Clone, Copy)]
pub enum Plugin {
    Log,
    Webhook,
    Buffered,
    Truncate,
}

const PLUGINS: [(Plugin, &str); 4] = [
    (Plugin::Buffered, "buffered"),
    (Plugin::Log, "log"),
    (Plugin::Truncate, "truncate"),
    (Plugin::Webhook, "webhook"),
];

#[derive(Default)]
pub struct Counts {
    events: AtomicU64,
    levels: [AtomicU64; LEVELS.len()],
    errors: [AtomicU64; PLUGINS.len()],
}

impl Counts {
    pub fn event(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    /// Once for each request.
    pub fn level(&self, level: Level) {
        self.levels[level as usize].fetch_add(1, Relaxed);
    }

    pub fn error(&self, plugin: Plugin, events: usize) {
        self.errors[plugin as usize].fetch_add(events as u64, Relaxed);
    }

    pub fn write(&self, out: &mut String) {
        let name = "apiserver_audit_error_total";
        head(out, name, "counter", "Number of audit events that were lost, by where.");
        for (plugin, text) in PLUGINS {
            let count = self.errors[plugin as usize].load(Relaxed);
            if count > 0 {
                let _ = writeln!(out, "{name}{{plugin=\"{text}\"}} {count}");
            }
        }
        let name = "apiserver_audit_event_total";
        head(out, name, "counter", "Number of audit events that were made.");
        let _ = writeln!(out, "{name} {}", self.events.load(Relaxed));
        let name = "apiserver_audit_level_total";
        head(out, name, "counter", "Number of requests by what the policy records of them.");
        for level in LEVELS {
            let count = self.levels[level as usize].load(Relaxed);
            if count > 0 {
                let _ = writeln!(out, "{name}{{level=\"{}\"}} {count}", level.name());
            }
        }
        // A request is never refused for its record's sake.
        let name = "apiserver_audit_requests_rejected_total";
        head(out, name, "counter", "Number of requests that were refused because they could not be recorded.");
        let _ = writeln!(out, "{name} 0");
    }
}
