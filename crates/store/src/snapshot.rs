//! The whole state at one revision.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::labels::LabelSet;
use crate::{Event, Key, Object, Prefix, Revision};

/// What stands at a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub object: Arc<Object>,
    labels: LabelSet,
}

impl Entry {
    pub fn new(object: Arc<Object>) -> Self {
        let labels = object.header.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        Self { object, labels }
    }
}

/// The whole state at one revision. Cheap to clone, and it never changes: pages of a list read it without a copy.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) objects: OrdMap<Key, Entry>,
}

impl Snapshot {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key).map(|entry| &entry.object)
    }

    /// The objects of a range in the order of their keys, from behind `after`.
    pub fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> + use<'a> {
        self.entries(prefix, after).map(|(key, entry)| (key, &entry.object))
    }

    /// The objects of a range that may have all these labels, and certainly those that do. Others are passed over
    /// without being looked at.
    pub fn range_labelled<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&Key>,
        labels: &[(&str, &str)],
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> + use<'a> {
        let wanted: LabelSet = labels.iter().copied().collect();
        let entries = self.entries(prefix, after).filter(move |(_, entry)| entry.labels.may_contain(wanted));
        entries.map(|(key, entry)| (key, &entry.object))
    }

    /// No key is looked at but to find the range's ends.
    fn entries<'a>(
        &'a self,
        prefix: &Prefix,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Entry)> + use<'a> {
        let start = match after.filter(|key| **key >= prefix.start()) {
            Some(key) => prefix.contains(key).then(|| Bound::Excluded(key.clone())),
            None => Some(Bound::Included(prefix.start())),
        };
        let end = prefix.end();
        start.map(|start| self.objects.range((start, end))).into_iter().flatten()
    }

    /// Undoes a commit: the state before it.
    pub(crate) fn revert(&mut self, event: &Event) {
        match &event.old {
            Some(old) => self.objects.insert(event.key.clone(), Entry::new(old.clone())),
            None => self.objects.remove(&event.key),
        };
    }

    pub fn count(&self, prefix: &Prefix) -> usize {
        self.range(prefix, None).count()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}
