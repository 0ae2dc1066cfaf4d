//! The store: reads from the published state, writes through the writer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use imbl::OrdMap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Engine, EngineError, Loaded, Record, Stored};
use crate::event_log::{EventLog, Retention};
use crate::recent::{Limits, Recent};
use crate::snapshot::Entry;
use crate::writer::{Companion, Operation, Write, Writer};
use crate::{Compacted, Draft, Event, Indexer, Key, Object, Prefix, Revision, Snapshot, Watcher, WriteError};

/// How much a store keeps and how much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Events that watchers can still be given, over all resources.
    pub history_events_max: usize,
    /// Bytes of the objects in those events.
    pub history_bytes_max: usize,
    /// Revisions of which a whole snapshot is kept, for the pages of long lists.
    pub snapshots_max: usize,
    /// Bytes of the objects that such snapshots keep, and of those that took their place.
    pub snapshots_bytes_max: usize,
    /// How long such a snapshot is kept after the next revision.
    pub snapshots_age_max: Duration,
    /// Writes that may wait for the writer; more wait at the door.
    pub queue_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_events_max: 20_000,
            history_bytes_max: 16 << 20,
            snapshots_max: 4096,
            snapshots_bytes_max: 128 << 20,
            // As often as upstream compacts: clients that page slowly are to learn of it here as there.
            snapshots_age_max: Duration::from_secs(300),
            queue_max: 1024,
        }
    }
}

impl From<Options> for Limits {
    fn from(options: Options) -> Self {
        let Options { snapshots_max: count_max, snapshots_bytes_max: bytes_max, snapshots_age_max: age_max, .. } =
            options;
        Self { count_max, bytes_max, age_max }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("load the stored state")]
    Load(#[source] EngineError),
    #[error("the stored object {key} is no JSON object")]
    Decode {
        key: Key,
        #[source]
        source: serde_json::Error,
    },
    #[error("start the writer")]
    Thread(#[source] std::io::Error),
}

/// What [`Store::guaranteed_update`] is to do.
pub enum Step {
    Put(Draft),
    /// With the last state that watchers are to see, if it differs from the stored one.
    Delete(Option<Draft>),
    /// Nothing.
    Keep,
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The decision was not to write.
    #[error("the update was refused")]
    Refused(E),
}

/// The published state: what readers and watchers see.
pub(crate) struct Published {
    current: ArcSwap<Snapshot>,
    recent: Recent,
    log: EventLog,
    failed: watch::Sender<bool>,
}

impl Published {
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.current.load())
    }

    /// Makes a committed batch visible, of whose states the last one and some others are given: first to readers, then
    /// to watchers, so that no watcher knows of a write that a read does not show yet.
    pub fn publish(&self, snapshots: VecDeque<Snapshot>, events: Vec<Arc<Event>>) {
        let Some(newest) = snapshots.back().cloned() else {
            return;
        };
        let revision = newest.revision;
        self.current.store(Arc::new(newest));
        self.recent.remember(snapshots, &events, Instant::now());
        self.log.append(events, revision);
    }

    pub fn floor(&self) -> Revision {
        self.log.floor()
    }

    pub fn fail(&self) {
        self.failed.send_replace(true);
    }
}

/// A revisioned key-value store with watch.
pub struct Store {
    published: Arc<Published>,
    /// None once the store is closed.
    writes: Mutex<Option<mpsc::Sender<Write>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Loads the state and starts the writer.
    pub fn open(
        mut engine: Box<dyn Engine>,
        indexer: &Arc<dyn Indexer>,
        options: Options,
    ) -> Result<Arc<Self>, OpenError> {
        let loaded = engine.load().map_err(OpenError::Load)?;
        let published = Arc::new(publish_loaded(loaded, indexer.as_ref(), options)?);
        let (writes, receiver) = mpsc::channel(options.queue_max);
        let writer = Writer::new(engine, published.clone());
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(receiver))
            .map_err(OpenError::Thread)?;
        Ok(Arc::new(Self { published, writes: Mutex::new(Some(writes)), writer: Mutex::new(Some(writer)) }))
    }

    /// The newest committed revision.
    pub fn revision(&self) -> Revision {
        self.published.current.load().revision
    }

    /// The object's newest state. Never stale.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.published.current.load().get(key).cloned()
    }

    pub fn snapshot(&self) -> Snapshot {
        self.published.snapshot()
    }

    /// The state at a past revision, for the pages of a list and for exact reads.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, Compacted> {
        let current = self.snapshot();
        if revision >= current.revision {
            return Ok(current);
        }
        self.published.recent.at(revision, Instant::now())
    }

    /// Every commit to the range after `from`, in order.
    pub fn watch(&self, prefix: Prefix, from: Revision) -> Result<Watcher, Compacted> {
        self.published.log.watch(prefix, from)
    }

    pub async fn create(&self, key: Key, draft: Draft) -> Result<Arc<Object>, WriteError> {
        self.create_with(key, draft, Vec::new()).await
    }

    /// The object and its companions in one commit.
    pub async fn create_with(
        &self,
        key: Key,
        draft: Draft,
        companions: Vec<Companion>,
    ) -> Result<Arc<Object>, WriteError> {
        self.write(key, Operation::Create(draft), companions).await
    }

    /// Replaces the state at `expected`.
    pub async fn update(&self, key: Key, expected: Revision, draft: Draft) -> Result<Arc<Object>, WriteError> {
        self.update_with(key, expected, draft, Vec::new()).await
    }

    /// The same, with companions in the same commit.
    pub async fn update_with(
        &self,
        key: Key,
        expected: Revision,
        draft: Draft,
        companions: Vec<Companion>,
    ) -> Result<Arc<Object>, WriteError> {
        self.write(key, Operation::Update { expected, draft }, companions).await
    }

    /// Removes the state at `expected`. Returns the last state under the deletion's revision: `last` where given.
    pub async fn delete(&self, key: Key, expected: Revision, last: Option<Draft>) -> Result<Arc<Object>, WriteError> {
        self.delete_with(key, expected, last, Vec::new()).await
    }

    /// The same, with companions in the same commit.
    pub async fn delete_with(
        &self,
        key: Key,
        expected: Revision,
        last: Option<Draft>,
        companions: Vec<Companion>,
    ) -> Result<Arc<Object>, WriteError> {
        self.write(key, Operation::Delete { expected, last }, companions).await
    }

    /// Decides on the newest state and writes, again until nobody was faster. `None` when there was nothing to do.
    pub async fn guaranteed_update<E, F>(&self, key: &Key, mut decide: F) -> Result<Option<Arc<Object>>, UpdateError<E>>
    where
        F: FnMut(Option<&Arc<Object>>) -> Result<Step, E>,
    {
        let mut current = self.get(key);
        loop {
            let expected = current.as_ref().map(|object| object.revision);
            let operation = match (decide(current.as_ref()).map_err(UpdateError::Refused)?, expected) {
                (Step::Put(draft), None) => Operation::Create(draft),
                (Step::Put(draft), Some(expected)) => Operation::Update { expected, draft },
                (Step::Delete(last), Some(expected)) => Operation::Delete { expected, last },
                (Step::Keep | Step::Delete(_), _) => return Ok(None),
            };
            match self.write(key.clone(), operation, Vec::new()).await {
                Ok(object) => return Ok(Some(object)),
                Err(WriteError::AlreadyExists(newer)) => current = Some(newer),
                Err(WriteError::Conflict { current: newer }) => current = newer,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends when the storage is lost: the process is to stop, and to recover by starting again.
    pub async fn failed(&self) {
        let mut failed = self.published.failed.subscribe();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending().await
        }
    }

    async fn write(
        &self,
        key: Key,
        operation: Operation,
        companions: Vec<Companion>,
    ) -> Result<Arc<Object>, WriteError> {
        let (reply, answer) = oneshot::channel();
        let writes = self.writes.lock().clone().ok_or(WriteError::Stopped)?;
        writes.send(Write { key, operation, companions, reply }).await.map_err(|_| WriteError::Stopped)?;
        answer.await.map_err(|_| WriteError::Stopped)?
    }

    /// Takes no more writes, and waits for the last commit: the file is free for the next owner, and the next start has
    /// nothing to repair.
    pub fn close(&self) {
        *self.writes.lock() = None;
        let writer = self.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

fn publish_loaded(loaded: Loaded, indexer: &dyn Indexer, options: Options) -> Result<Published, OpenError> {
    let mut objects = OrdMap::new();
    let load = |(key, stored)| load_object(&key, stored, indexer).map(|object| (key, object));
    for object in rt::map_parallel(loaded.objects, load) {
        let (key, object) = object?;
        objects.insert(key, Entry::new(object));
    }
    let retention = Retention { events_max: options.history_events_max, bytes_max: options.history_bytes_max };
    let log = EventLog::new(retention, loaded.floor);
    let events = rt::map_parallel(loaded.log, |record| load_event(record, &objects, indexer));
    log.append(events.into_iter().collect::<Result<_, _>>()?, loaded.revision);
    let current = Snapshot { revision: loaded.revision, objects };
    Ok(Published {
        recent: Recent::new(current.clone(), options.into()),
        current: ArcSwap::from_pointee(current),
        log,
        failed: watch::Sender::new(false),
    })
}

/// An event of the log. Shares the objects that are still the newest state.
fn load_event(record: Record, objects: &OrdMap<Key, Entry>, indexer: &dyn Indexer) -> Result<Arc<Event>, OpenError> {
    let Record { key, old, new, .. } = record;
    let old = old.map(|stored| load_object(&key, stored, indexer)).transpose()?;
    Ok(Arc::new(match new {
        Ok(stored) => {
            let newest = objects.get(&key).filter(|newest| newest.object.revision == stored.revision);
            let object =
                newest.map(|newest| newest.object.clone()).map_or_else(|| load_object(&key, stored, indexer), Ok)?;
            Event::put(key, old, object)
        }
        Err(stored) => {
            let object = load_object(&key, stored, indexer)?;
            Event::delete(key, old, object)
        }
    }))
}

fn load_object(key: &Key, stored: Stored, indexer: &dyn Indexer) -> Result<Arc<Object>, OpenError> {
    let value =
        serde_json::from_slice(&stored.json).map_err(|source| OpenError::Decode { key: key.clone(), source })?;
    let header = Arc::new(indexer.header(key, &value));
    Ok(Arc::new(Object::new(stored.revision, header, stored.json, stored.version_at)))
}
