//! Keeps commits in memory: for tests and throw-away control planes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Engine, EngineError, Loaded, Record, Stored};
use crate::{Key, Revision};

/// Keeps commits in memory. A clone sees the same state, so a store can be "restarted" on it.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    floor: Revision,
    objects: BTreeMap<Key, Stored>,
    log: BTreeMap<Revision, Record>,
    fail_next: bool,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next commit fails as a full disk would make it fail.
    pub fn fail_next_commit(&self) {
        self.0.lock().fail_next = true;
    }
}

impl Engine for Memory {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        let state = self.0.lock();
        Ok(Loaded {
            revision: state.revision,
            floor: state.floor,
            objects: state.objects.iter().map(|(key, stored)| (key.clone(), stored.clone())).collect(),
            log: state.log.values().cloned().collect(),
        })
    }

    fn commit(&mut self, records: &[Record], floor: Revision) -> Result<(), EngineError> {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.fail_next) {
            return Err(EngineError::Database {
                operation: "commit to",
                path: "(memory)".into(),
                source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            });
        }
        for record in records {
            match &record.new {
                Ok(stored) => state.objects.insert(record.key.clone(), stored.clone()),
                Err(_) => state.objects.remove(&record.key),
            };
            state.revision = record.revision;
            state.log.insert(record.revision, record.clone());
        }
        state.floor = state.floor.max(floor);
        state.log = state.log.split_off(&Revision(floor.0 + 1));
        Ok(())
    }

    fn recover(&mut self) -> Result<Revision, EngineError> {
        Ok(self.0.lock().revision)
    }
}
