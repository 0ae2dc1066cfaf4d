//! The recent commits, for those who watch.
//!
//! One log for each resource, read by cursor, so a write wakes only those who watch its resource. What all logs
//! retain together is bounded in events and bytes; a watcher that falls behind what is retained is ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{Key, Object, Prefix, Revision};

/// One commit.
#[derive(Clone, Debug)]
pub struct Event {
    pub revision: Revision,
    pub key: Key,
    /// The state before: absent for a creation.
    pub old: Option<Arc<Object>>,
    /// The state after: absent for a deletion.
    pub new: Option<Arc<Object>>,
    /// What a watcher is shown: the new state, or the last one under the deletion's revision.
    object: Arc<Object>,
}

impl Event {
    pub(crate) fn put(key: Key, old: Option<Arc<Object>>, new: Arc<Object>) -> Self {
        Self { revision: new.revision, key, old, object: new.clone(), new: Some(new) }
    }

    pub(crate) fn delete(key: Key, old: Option<Arc<Object>>, last: Arc<Object>) -> Self {
        Self { revision: last.revision, key, old, new: None, object: last }
    }

    /// The state after, or for a deletion the last state under the deletion's revision.
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    pub fn is_delete(&self) -> bool {
        self.new.is_none()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.object.json().len() + self.old.as_ref().map_or(0, |old| old.json().len())
    }
}

/// The revision asked for is older than what is retained.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("revision {requested} has been compacted; the oldest one available is {oldest}")]
pub struct Compacted {
    pub requested: Revision,
    pub oldest: Revision,
}

/// The watcher was too slow: events it has not seen are no longer retained.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the watch fell behind the retained history")]
pub struct Lagged;

/// How much history is retained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    pub events_max: usize,
    pub bytes_max: usize,
}

/// The logs of all resources.
pub(crate) struct EventLog {
    resources: RwLock<HashMap<Box<str>, Arc<ResourceLog>>>,
    order: Mutex<Order>,
    /// The newest revision that the logs hold all events up to.
    through: watch::Sender<Revision>,
}

/// In which order events are to be forgotten.
struct Order {
    retention: Retention,
    queue: VecDeque<(Arc<ResourceLog>, usize)>,
    bytes: usize,
    /// Revision of the newest forgotten event.
    floor: Revision,
}

struct ResourceLog {
    entries: Mutex<Entries>,
    /// Changes when entries come.
    arrivals: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    /// How many entries were forgotten: the position of the first retained one.
    first: u64,
    queue: VecDeque<Arc<Event>>,
}

impl EventLog {
    /// `floor`: watches may begin at this revision or later.
    pub fn new(retention: Retention, floor: Revision) -> Self {
        let order = Order { retention, queue: VecDeque::new(), bytes: 0, floor };
        Self { resources: RwLock::default(), order: Mutex::new(order), through: watch::Sender::new(floor) }
    }

    /// Appends in the order of commit. Returns the floor afterwards.
    pub fn append(&self, events: Vec<Arc<Event>>, through: Revision) -> Revision {
        let mut order = self.order.lock();
        let mut touched: Vec<Arc<ResourceLog>> = Vec::new();
        for event in events {
            let log = self.resource(event.key.log_name());
            order.push(&log, event);
            if !touched.iter().any(|known| Arc::ptr_eq(known, &log)) {
                touched.push(log);
            }
        }
        self.through.send_replace(through);
        for log in touched {
            log.arrivals.send_modify(|count| *count += 1);
        }
        order.floor
    }

    pub fn floor(&self) -> Revision {
        self.order.lock().floor
    }

    fn resource(&self, name: &str) -> Arc<ResourceLog> {
        if let Some(log) = self.resources.read().get(name) {
            return log.clone();
        }
        self.resources.write().entry(name.into()).or_insert_with(|| Arc::new(ResourceLog::new())).clone()
    }

    pub fn watch(&self, prefix: Prefix, from: Revision) -> Result<Watcher, Compacted> {
        let order = self.order.lock();
        if from < order.floor {
            return Err(Compacted { requested: from, oldest: order.floor });
        }
        let log = self.resource(prefix.log_name());
        let position = log.position_after(from);
        let arrivals = log.arrivals.subscribe();
        Ok(Watcher {
            log,
            prefix,
            position,
            arrivals,
            through: self.through.subscribe(),
            delivered: from,
            buffer: VecDeque::new(),
        })
    }
}

impl Order {
    fn push(&mut self, log: &Arc<ResourceLog>, event: Arc<Event>) {
        let bytes = event.bytes();
        log.entries.lock().queue.push_back(event);
        self.queue.push_back((log.clone(), bytes));
        self.bytes += bytes;
        while self.queue.len() > self.retention.events_max || self.bytes > self.retention.bytes_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((log, bytes)) = self.queue.pop_front() else {
            return;
        };
        self.bytes -= bytes;
        let mut entries = log.entries.lock();
        if let Some(event) = entries.queue.pop_front() {
            entries.first += 1;
            self.floor = event.revision;
        }
    }
}

impl ResourceLog {
    fn new() -> Self {
        Self { entries: Mutex::default(), arrivals: watch::Sender::new(0) }
    }

    fn position_after(&self, revision: Revision) -> u64 {
        let entries = self.entries.lock();
        entries.first + entries.queue.partition_point(|event| event.revision <= revision) as u64
    }
}

/// How many entries a watcher takes over at once.
const BATCH: usize = 256;

/// Reads a range's events in the order of commit, each once.
pub struct Watcher {
    log: Arc<ResourceLog>,
    prefix: Prefix,
    /// Of the next entry to read.
    position: u64,
    arrivals: watch::Receiver<u64>,
    through: watch::Receiver<Revision>,
    delivered: Revision,
    buffer: VecDeque<Arc<Event>>,
}

impl Watcher {
    /// The next event. Waits for it; dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Event>, Lagged> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            if self.arrivals.changed().await.is_err() {
                // The store is gone, and with it everything that could come.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next event if it is there.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Lagged> {
        while self.buffer.is_empty() {
            self.arrivals.mark_unchanged();
            if !self.refill()? {
                return Ok(None);
            }
        }
        Ok(self.buffer.pop_front())
    }

    /// The revision up to which every event of the range was returned, for a bookmark. `None` while events wait.
    pub fn current_revision(&mut self) -> Result<Option<Revision>, Lagged> {
        while self.buffer.is_empty() && self.refill()? {}
        Ok(self.buffer.is_empty().then_some(self.delivered))
    }

    /// Takes over what came. Returns whether anything did, of this range or not.
    fn refill(&mut self) -> Result<bool, Lagged> {
        let through = *self.through.borrow();
        let entries = self.log.entries.lock();
        let skip = usize::try_from(self.position.checked_sub(entries.first).ok_or(Lagged)?).map_err(|_| Lagged)?;
        let mut read = 0;
        for event in entries.queue.iter().skip(skip).take(BATCH) {
            read += 1;
            if self.prefix.contains(&event.key) {
                self.buffer.push_back(event.clone());
            }
        }
        self.position += read;
        if read == 0 {
            self.delivered = self.delivered.max(through);
        }
        Ok(read > 0)
    }
}
