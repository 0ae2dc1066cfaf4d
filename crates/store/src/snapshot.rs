//! The whole state at one revision.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::{Key, Object, Prefix, Revision};

/// The whole state at one revision. Cheap to clone, and it never changes: pages of a list read it without a copy.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) objects: OrdMap<Key, Arc<Object>>,
}

impl Snapshot {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// The objects of a range in the order of their keys, from behind `after`.
    pub fn range<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> + use<'a> {
        let start = match after {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(prefix.start()),
        };
        self.objects.range((start, Bound::Unbounded)).take_while(move |(key, _)| prefix.contains(key))
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
