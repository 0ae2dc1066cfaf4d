//! The states of recent revisions, for the pages of long lists and for exact reads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Compacted, Revision, Snapshot};

pub(crate) struct Recent {
    kept: Mutex<VecDeque<Kept>>,
    count_max: usize,
    /// How long a state outlives the one that follows it.
    age_max: Duration,
}

struct Kept {
    snapshot: Snapshot,
    since: Instant,
}

impl Recent {
    pub fn new(current: Snapshot, count_max: usize, age_max: Duration) -> Self {
        let kept = VecDeque::from([Kept { snapshot: current, since: Instant::now() }]);
        Self { kept: Mutex::new(kept), count_max, age_max }
    }

    pub fn remember(&self, snapshots: VecDeque<Snapshot>, now: Instant) {
        let mut kept = self.kept.lock();
        kept.extend(snapshots.into_iter().map(|snapshot| Kept { snapshot, since: now }));
        let surplus = kept.len().saturating_sub(self.count_max);
        kept.drain(..surplus);
        self.forget(&mut kept, now);
    }

    fn forget(&self, kept: &mut VecDeque<Kept>, now: Instant) {
        let old = |next: &Kept| now.saturating_duration_since(next.since) >= self.age_max;
        while kept.get(1).is_some_and(old) {
            kept.pop_front();
        }
    }

    /// The state that was the newest one at this revision.
    pub fn at(&self, revision: Revision, now: Instant) -> Result<Snapshot, Compacted> {
        let mut kept = self.kept.lock();
        self.forget(&mut kept, now);
        let index = kept.partition_point(|one| one.snapshot.revision <= revision);
        let found = index.checked_sub(1).and_then(|index| kept.get(index));
        let oldest = kept.front().map_or(revision, |one| one.snapshot.revision);
        found.map(|one| one.snapshot.clone()).ok_or(Compacted { requested: revision, oldest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(revision: u64) -> Snapshot {
        Snapshot { revision: Revision(revision), objects: imbl::OrdMap::new() }
    }

    #[test]
    fn a_state_goes_when_the_next_one_is_old_or_there_are_too_many() {
        let recent = Recent::new(snapshot(1), 3, Duration::from_secs(300));
        let start = Instant::now();
        let at = |revision, seconds| {
            let found = recent.at(Revision(revision), start + Duration::from_secs(seconds));
            found.map(|snapshot| snapshot.revision.0).map_err(|compacted| compacted.oldest.0)
        };
        recent.remember([snapshot(2)].into(), start + Duration::from_secs(10));
        assert_eq!((at(1, 309), at(2, 309)), (Ok(1), Ok(2)));
        assert_eq!((at(1, 310), at(2, 10_000)), (Err(2), Ok(2)), "the newest one stays");
        recent.remember([snapshot(3), snapshot(5), snapshot(6)].into(), start + Duration::from_secs(10_000));
        assert_eq!((at(2, 10_000), at(4, 10_000)), (Err(3), Ok(3)));
    }
}
