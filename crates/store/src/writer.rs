//! The one thread that commits: collects waiting writes, makes them durable with one fsync, publishes them.

use std::collections::VecDeque;
use std::sync::Arc;

use imbl::OrdMap;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Engine, EngineError, Record, Stored};
use crate::recent::is_milestone;
use crate::snapshot::Entry;
use crate::store::Published;
use crate::{Draft, Event, Key, Object, Revision, Snapshot};

/// Writes that share one fsync. More wait for the next.
const BATCH_MAX: usize = 512;

/// Why a write was not made. Nothing of it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the object exists already")]
    AlreadyExists(Arc<Object>),
    /// Somebody else was faster; `current` is the newest state, absent when the object is gone.
    #[error("the object has been modified")]
    Conflict { current: Option<Arc<Object>> },
    /// What was to be made with the object is there already.
    #[error("{0} exists already")]
    CompanionExists(Key),
    #[error("the write could not be made durable: {0}")]
    Storage(Arc<str>),
    #[error("the store has stopped")]
    Stopped,
}

pub(crate) enum Operation {
    Create(Draft),
    Update { expected: Revision, draft: Draft },
    Delete { expected: Revision, last: Option<Draft> },
}

/// What is written in the same commit as an object, or not at all.
#[derive(Clone, Debug)]
pub enum Companion {
    /// Made before the object. The object is not written when the key is taken.
    Create(Key, Draft),
    /// Taken away after the object, if it is there.
    Remove(Key),
}

pub(crate) struct Write {
    pub key: Key,
    pub operation: Operation,
    pub companions: Vec<Companion>,
    pub reply: oneshot::Sender<Result<Arc<Object>, WriteError>>,
}

type Reply = (oneshot::Sender<Result<Arc<Object>, WriteError>>, Result<Arc<Object>, WriteError>);

pub(crate) struct Writer {
    engine: Box<dyn Engine>,
    published: Arc<Published>,
    revision: Revision,
    objects: OrdMap<Key, Entry>,
}

/// What a batch of writes comes to.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    events: Vec<Arc<Event>>,
    snapshots: VecDeque<Snapshot>,
    replies: Vec<Reply>,
}

impl Writer {
    pub fn new(engine: Box<dyn Engine>, published: Arc<Published>) -> Self {
        let Snapshot { revision, objects } = published.snapshot();
        Self { engine, published, revision, objects }
    }

    /// Commits until nobody can write any more, or the storage is lost.
    pub fn run(mut self, mut writes: mpsc::Receiver<Write>) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        while writes.blocking_recv_many(&mut waiting, BATCH_MAX) > 0 {
            if let Err(error) = self.commit(std::mem::take(&mut waiting)) {
                tracing::error!(error = &error as &dyn std::error::Error, "the storage is lost; no more writes");
                self.published.fail();
                return;
            }
        }
    }

    /// One batch. An error is final; a commit that failed but left the storage usable is none.
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        for write in writes {
            let result = self.decide(&write.key, write.operation, write.companions, &mut batch);
            batch.replies.push((write.reply, result));
        }
        if !batch.records.is_empty() {
            self.note_last(&mut batch);
            if let Err(error) = self.engine.commit(&batch.records, self.published.floor()) {
                return self.abandon(batch, error);
            }
            self.published.publish(batch.snapshots, batch.events);
        }
        for (reply, result) in batch.replies {
            // Who asked may have gone; the write is made all the same.
            let _ = reply.send(result);
        }
        Ok(())
    }

    /// Goes back to the published state after a commit that failed, and tells all who wait.
    fn abandon(&mut self, batch: Batch, error: EngineError) -> Result<(), EngineError> {
        let Snapshot { revision, objects } = self.published.snapshot();
        (self.revision, self.objects) = (revision, objects);
        let reason = describe(&error);
        tracing::error!(reason = %reason, "commit failed");
        for (reply, _) in batch.replies {
            let _ = reply.send(Err(WriteError::Storage(reason.clone())));
        }
        if self.engine.recover()? == revision { Ok(()) } else { Err(error) }
    }

    fn decide(
        &mut self,
        key: &Key,
        operation: Operation,
        companions: Vec<Companion>,
        batch: &mut Batch,
    ) -> Result<Arc<Object>, WriteError> {
        let current = self.objects.get(key).map(|entry| entry.object.clone());
        match (&operation, &current) {
            (Operation::Create(_), Some(current)) => return Err(WriteError::AlreadyExists(current.clone())),
            (Operation::Create(_), None) => {}
            (Operation::Update { expected, .. } | Operation::Delete { expected, .. }, current) => {
                if current.as_ref().is_none_or(|current| current.revision != *expected) {
                    return Err(WriteError::Conflict { current: current.clone() });
                }
            }
        }
        self.make_companions(&companions, batch)?;
        let written = match (operation, current) {
            (Operation::Delete { last, .. }, Some(current)) => self.remove(key, current, last, batch),
            (Operation::Create(draft) | Operation::Update { draft, .. }, current) => {
                self.put(key, current, &draft, batch)
            }
            (Operation::Delete { .. }, None) => return Err(WriteError::Conflict { current: None }),
        };
        self.remove_companions(&companions, batch);
        Ok(written)
    }

    /// All of them or none.
    fn make_companions(&mut self, companions: &[Companion], batch: &mut Batch) -> Result<(), WriteError> {
        let made = || {
            companions.iter().filter_map(|companion| match companion {
                Companion::Create(key, draft) => Some((key, draft)),
                Companion::Remove(_) => None,
            })
        };
        if let Some((taken, _)) = made().find(|(key, _)| self.objects.contains_key(*key)) {
            return Err(WriteError::CompanionExists(taken.clone()));
        }
        for (key, draft) in made() {
            self.put(key, None, draft, batch);
        }
        Ok(())
    }

    fn remove_companions(&mut self, companions: &[Companion], batch: &mut Batch) {
        for companion in companions {
            let Companion::Remove(key) = companion else { continue };
            if let Some(current) = self.objects.get(key).map(|entry| entry.object.clone()) {
                self.remove(key, current, None, batch);
            }
        }
    }

    fn put(&mut self, key: &Key, old: Option<Arc<Object>>, draft: &Draft, batch: &mut Batch) -> Arc<Object> {
        let new = Arc::new(draft.commit(self.next_revision()));
        self.objects.insert(key.clone(), Entry::new(new.clone()));
        batch.records.push(record(key, old.as_deref(), Ok(&new)));
        batch.events.push(Arc::new(Event::put(key.clone(), old, new.clone())));
        self.note_milestone(batch);
        new
    }

    fn remove(&mut self, key: &Key, old: Arc<Object>, last: Option<Draft>, batch: &mut Batch) -> Arc<Object> {
        let revision = self.next_revision();
        let last = Arc::new(match last {
            Some(draft) => draft.commit(revision),
            None => old.at_revision(revision),
        });
        self.objects.remove(key);
        batch.records.push(record(key, Some(&old), Err(&last)));
        batch.events.push(Arc::new(Event::delete(key.clone(), Some(old), last.clone())));
        self.note_milestone(batch);
        last
    }

    fn next_revision(&mut self) -> Revision {
        self.revision.0 += 1;
        self.revision
    }

    /// The states that others are found from are kept whole. What is not kept is changed in place.
    fn note_milestone(&self, batch: &mut Batch) {
        if is_milestone(self.revision) {
            batch.snapshots.push_back(self.snapshot());
        }
    }

    /// So is the last one: it is what is read from now on.
    fn note_last(&self, batch: &mut Batch) {
        if batch.snapshots.back().is_none_or(|last| last.revision != self.revision) {
            batch.snapshots.push_back(self.snapshot());
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision, objects: self.objects.clone() }
    }
}

fn record(key: &Key, old: Option<&Object>, new: Result<&Arc<Object>, &Arc<Object>>) -> Record {
    let (Ok(object) | Err(object)) = new;
    Record {
        revision: object.revision,
        key: key.clone(),
        old: old.map(stored),
        new: new.map(|object| stored(object)).map_err(|object| stored(object)),
    }
}

fn stored(object: &Object) -> Stored {
    Stored { revision: object.revision, json: object.json(), version_at: object.version_at() }
}

/// The error and what caused it, in one line.
fn describe(error: &dyn std::error::Error) -> Arc<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.into()
}
