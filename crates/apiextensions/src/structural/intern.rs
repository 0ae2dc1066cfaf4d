//! Names that are shared.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

/// Shares the names of one schema: `name`, `conditions` and their like stand in it many times.
#[derive(Default)]
pub struct Names(BTreeSet<Arc<str>>);

impl Names {
    pub fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let kept: Arc<str> = name.into();
        self.0.insert(kept.clone());
        kept
    }
}

static LIST_KEYS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// The name of a list's key, kept for the life of the process, once for each text.
pub fn list_key(name: &str) -> &'static str {
    let mut known = LIST_KEYS.lock();
    if let Some(kept) = known.get(name) {
        return kept;
    }
    let kept: &'static str = Box::leak(name.into());
    known.insert(kept);
    kept
}
