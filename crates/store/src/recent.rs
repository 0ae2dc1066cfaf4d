//! The states of recent revisions, for the pages of long lists and for exact reads.
//!
//! One state in [`SPACING`] is kept whole, the others as what changed: a whole state shares with the next one all but the way
//! to the object that was written, and that way is longer than most objects.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Compacted, Event, Revision, Snapshot};

/// How many commits lie between states that are kept whole: at most so many are undone for a read.
const SPACING: u64 = 64;

/// Whether the state of this revision is kept whole.
pub(crate) fn is_milestone(revision: Revision) -> bool {
    revision.0.is_multiple_of(SPACING)
}

/// How much is kept.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub count_max: usize,
    /// Of the objects before and after the commits.
    pub bytes_max: usize,
    /// How long a state outlives the one that follows it.
    pub age_max: Duration,
}

pub(crate) struct Recent {
    states: Mutex<States>,
    limits: Limits,
}

struct States {
    kept: VecDeque<Kept>,
    bytes: usize,
}

struct Kept {
    revision: Revision,
    /// The commit that made this state. Absent for the one that the store began with.
    event: Option<Arc<Event>>,
    /// The newest state has it, and milestones do.
    snapshot: Option<Snapshot>,
    since: Instant,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.bytes())
    }
}

impl States {
    /// Forgets what is too much or too old, but never the newest state.
    fn forget(&mut self, limits: Limits, now: Instant) {
        while let Some(next) = self.kept.get(1) {
            let old = now.saturating_duration_since(next.since) >= limits.age_max;
            if !old && self.kept.len() <= limits.count_max && self.bytes <= limits.bytes_max {
                return;
            }
            let gone = self.kept.pop_front();
            self.bytes -= gone.map_or(0, |gone| gone.bytes());
        }
    }
}

impl Recent {
    pub fn new(current: Snapshot, limits: Limits) -> Self {
        let first = Kept { revision: current.revision, event: None, snapshot: Some(current), since: Instant::now() };
        Self { states: Mutex::new(States { kept: VecDeque::from([first]), bytes: 0 }), limits }
    }

    /// `events` in order; `snapshots` of the last of them, and of the milestones among them.
    pub fn remember(&self, mut snapshots: VecDeque<Snapshot>, events: &[Arc<Event>], now: Instant) {
        let mut states = self.states.lock();
        if let Some(last) = states.kept.back_mut().filter(|last| !is_milestone(last.revision)) {
            last.snapshot = None;
        }
        for event in events {
            let snapshot = snapshots.pop_front_if(|next| next.revision == event.revision);
            states.bytes += event.bytes();
            let kept = Kept { revision: event.revision, event: Some(event.clone()), snapshot, since: now };
            states.kept.push_back(kept);
        }
        states.forget(self.limits, now);
    }

    /// The state that was the newest one at this revision.
    pub fn at(&self, revision: Revision, now: Instant) -> Result<Snapshot, Compacted> {
        let mut states = self.states.lock();
        states.forget(self.limits, now);
        let kept = &states.kept;
        let index = kept.partition_point(|one| one.revision <= revision);
        let oldest = kept.front().map_or(revision, |one| one.revision);
        let index = index.checked_sub(1).ok_or(Compacted { requested: revision, oldest })?;
        let (mut state, undone) = whole_from(kept, index).ok_or(Compacted { requested: revision, oldest })?;
        state.revision = kept[index].revision;
        drop(states);
        undone.iter().for_each(|event| state.revert(event));
        Ok(state)
    }
}

/// The first whole state from here on, and what is to be undone in it, the newest commit first.
fn whole_from(kept: &VecDeque<Kept>, index: usize) -> Option<(Snapshot, Vec<Arc<Event>>)> {
    let mut undone = Vec::new();
    for one in kept.iter().skip(index) {
        if one.revision > kept[index].revision {
            undone.extend(one.event.clone());
        }
        if let Some(snapshot) = &one.snapshot {
            undone.reverse();
            return Some((snapshot.clone(), undone));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::snapshot::Entry;
    use crate::{Draft, Header, Key, Object};

    fn limits(count_max: usize) -> Limits {
        Limits { count_max, bytes_max: 1 << 20, age_max: Duration::from_secs(300) }
    }

    fn object(revision: u64) -> Arc<Object> {
        Arc::new(Draft::new(&serde_json::json!({"n": revision}), Header::default()).commit(Revision(revision)))
    }

    /// A state without objects, and a commit that is said to have made it.
    fn empty(revision: u64) -> (Snapshot, Arc<Event>) {
        let event = Event::put(Key::new("", "pods", "default", "a"), None, object(revision));
        (Snapshot { revision: Revision(revision), objects: imbl::OrdMap::new() }, Arc::new(event))
    }

    #[test]
    fn a_state_goes_when_the_next_one_is_old_or_there_are_too_many() {
        let recent = Recent::new(empty(1).0, limits(3));
        let start = Instant::now();
        let at = |revision, seconds| {
            let found = recent.at(Revision(revision), start + Duration::from_secs(seconds));
            found.map(|snapshot| snapshot.revision.0).map_err(|compacted| compacted.oldest.0)
        };
        let remember = |revisions: &[u64], seconds| {
            let (snapshots, events): (VecDeque<_>, Vec<_>) = revisions.iter().map(|revision| empty(*revision)).unzip();
            recent.remember(
                snapshots.into_iter().skip(events.len() - 1).collect(),
                &events,
                start + Duration::from_secs(seconds),
            );
        };
        remember(&[2], 10);
        assert_eq!((at(1, 309), at(2, 309)), (Ok(1), Ok(2)));
        assert_eq!((at(1, 310), at(2, 10_000)), (Err(2), Ok(2)), "the newest one stays");
        remember(&[3, 5, 6], 10_000);
        assert_eq!((at(2, 10_000), at(4, 10_000)), (Err(3), Ok(3)));
    }

    #[test]
    fn states_of_large_objects_are_fewer() {
        let bytes_max = 2 * empty(100).1.bytes();
        let recent = Recent::new(empty(99).0, Limits { bytes_max, ..limits(100) });
        for revision in 100..110 {
            let (snapshot, event) = empty(revision);
            recent.remember([snapshot].into(), &[event], Instant::now());
        }
        assert!(recent.at(Revision(107), Instant::now()).is_err());
        assert!(recent.at(Revision(108), Instant::now()).is_ok());
    }

    #[test]
    fn every_state_is_found_as_it_was() {
        let mut now = Snapshot::default();
        let recent = Recent::new(now.clone(), limits(10_000));
        let mut states = vec![BTreeMap::new()];
        let (mut events, mut snapshots) = (Vec::new(), VecDeque::new());
        for revision in 1..=5 * SPACING {
            let key = Key::new("", "pods", "default", &format!("p{}", revision * 7 % 13));
            let old = now.objects.get(&key).map(|entry| entry.object.clone());
            now.revision = Revision(revision);
            let event = match (revision % 3, old) {
                (0, Some(old)) => {
                    now.objects.remove(&key);
                    Event::delete(key, Some(old), object(revision))
                }
                (_, old) => {
                    now.objects.insert(key.clone(), Entry::new(object(revision)));
                    Event::put(key, old, object(revision))
                }
            };
            events.push(Arc::new(event));
            states.push(now.objects.iter().map(|(key, entry)| (key.clone(), entry.object.revision)).collect());
            let ends_batch = revision % 5 == 0;
            if ends_batch || is_milestone(now.revision) {
                snapshots.push_back(now.clone());
            }
            if ends_batch {
                recent.remember(std::mem::take(&mut snapshots), &std::mem::take(&mut events), Instant::now());
            }
        }
        for (revision, want) in states.iter().enumerate() {
            let state = recent.at(Revision(revision as u64), Instant::now()).expect("it is kept");
            let found = state.objects.iter().map(|(key, entry)| (key.clone(), entry.object.revision));
            assert_eq!((state.revision.0, &found.collect::<BTreeMap<_, _>>()), (revision as u64, want));
        }
        let whole = recent.states.lock().kept.iter().filter(|one| one.snapshot.is_some()).count();
        assert_eq!(whole, 6, "the first, the milestones");
    }
}
