//! What a controller did and its cache does not show yet.
//!
//! A controller that acts on a stale cache would create pods twice. It notes what it made and removed, and acts again
//! only when the cache has caught up.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use apimachinery::ObjectKey;
use parking_lot::Mutex;
use tokio::time::Instant;

/// After this time a change that never showed is no longer waited for.
const FORGET_AFTER: Duration = Duration::from_mins(5);

#[derive(Default)]
struct Expected {
    /// Creations under way whose UID is not known yet.
    creating: usize,
    created: HashSet<String>,
    deleted: HashSet<String>,
    /// Creations seen while `creating` was not zero: their UIDs may be among those.
    early: HashSet<String>,
    since: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Expectations(Mutex<HashMap<ObjectKey, Expected>>);

impl Expectations {
    /// Whether everything done for `owner` shows in the cache.
    pub fn satisfied(&self, owner: &ObjectKey) -> bool {
        let mut all = self.0.lock();
        let Some(expected) = all.get(owner) else { return true };
        let old = expected.since.is_some_and(|since| since.elapsed() > FORGET_AFTER);
        let open = expected.creating > 0 || !expected.created.is_empty() || !expected.deleted.is_empty();
        if old || !open {
            all.remove(owner);
        }
        old || !open
    }

    /// `count` creations are about to be asked for.
    pub fn begin_creations(&self, owner: &ObjectKey, count: usize) {
        let mut all = self.0.lock();
        let expected = all.entry(owner.clone()).or_default();
        expected.creating += count;
        expected.since = Some(Instant::now());
    }

    /// One of them ended, with this UID or in an error.
    pub fn creation_ended(&self, owner: &ObjectKey, uid: Option<&str>) {
        let mut all = self.0.lock();
        let Some(expected) = all.get_mut(owner) else { return };
        expected.creating = expected.creating.saturating_sub(1);
        if let Some(uid) = uid
            && !expected.early.remove(uid)
        {
            expected.created.insert(uid.to_owned());
        }
        if expected.creating == 0 {
            expected.early.clear();
        }
    }

    pub fn begin_deletion(&self, owner: &ObjectKey, uid: &str) {
        let mut all = self.0.lock();
        let expected = all.entry(owner.clone()).or_default();
        expected.deleted.insert(uid.to_owned());
        expected.since = Some(Instant::now());
    }

    /// The cache shows the object.
    pub fn saw_creation(&self, owner: &ObjectKey, uid: &str) {
        let mut all = self.0.lock();
        let Some(expected) = all.get_mut(owner) else { return };
        if !expected.created.remove(uid) && expected.creating > 0 {
            expected.early.insert(uid.to_owned());
        }
    }

    /// The cache shows that the object is gone or going, or the deletion failed.
    pub fn saw_deletion(&self, owner: &ObjectKey, uid: &str) {
        if let Some(expected) = self.0.lock().get_mut(owner) {
            expected.deleted.remove(uid);
            expected.created.remove(uid);
        }
    }

    pub fn forget(&self, owner: &ObjectKey) {
        self.0.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_is_waited_for_in_either_order() {
        let expectations = Expectations::default();
        let owner = ObjectKey::new("default", "web");
        expectations.begin_creations(&owner, 2);
        expectations.saw_creation(&owner, "a");
        expectations.creation_ended(&owner, Some("a"));
        expectations.creation_ended(&owner, Some("b"));
        assert!(!expectations.satisfied(&owner));
        expectations.saw_creation(&owner, "b");
        assert!(expectations.satisfied(&owner));
    }

    #[test]
    fn a_failed_creation_is_not_waited_for() {
        let expectations = Expectations::default();
        let owner = ObjectKey::new("default", "web");
        expectations.begin_creations(&owner, 1);
        expectations.creation_ended(&owner, None);
        assert!(expectations.satisfied(&owner));
    }
}
