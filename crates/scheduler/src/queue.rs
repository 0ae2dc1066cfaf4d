//! The pods that wait for a node.
//!
//! A pod is *active* (to be tried next), backs off after a try, or is *unschedulable* until an event may help it. While a
//! pod is tried or bound it is in flight and in none of these. Pure: times come in.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rt::CancellationToken;
use tokio::time::Instant;

use crate::event::ClusterEvent;
use crate::framework::Plugins;
use crate::pod_info::PodInfo;

const BACKOFF_INITIAL: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// After this time an unschedulable pod is tried again although nothing happened: the net under the hints.
const UNSCHEDULABLE_MAX: Duration = Duration::from_mins(5);

#[derive(Clone, Debug)]
pub struct QueuedPod {
    pub info: Arc<PodInfo>,
    /// The plugins that rejected it last. Without any, every event may help.
    pub rejected_by: BTreeSet<&'static str>,
    /// Cancelled when the last write about this pod has been answered: the next one is to come after it.
    pub last_write: Option<CancellationToken>,
    /// Whether that write is to delete other pods.
    preempts: bool,
    rejections: u32,
    failures: u32,
    since: Instant,
    number: u64,
}

impl QueuedPod {
    pub fn attempts(&self) -> u32 {
        self.rejections + self.failures
    }

    /// Whether the pods that are to make room for it are still being told to go.
    pub fn is_preempting(&self) -> bool {
        self.preempts && self.last_write.as_ref().is_some_and(|write| !write.is_cancelled())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    /// Rejected, then an event came. May be tried early when nothing else is to do.
    BackingOff(Instant),
    /// Something went wrong, as the binding. Waits until the time has come.
    BackingOffFromFailure(Instant),
    Unschedulable(Instant),
    Gated,
}

struct Entry {
    pod: QueuedPod,
    place: Place,
}

type Timed = BTreeSet<(Instant, u64, String)>;

#[derive(Default)]
pub struct SchedulingQueue {
    entries: HashMap<String, Entry>,
    active: BTreeSet<(Reverse<i32>, Instant, u64, String)>,
    backing_off: Timed,
    backing_off_from_failure: Timed,
    unschedulable: Timed,
    in_flight: HashMap<String, Arc<PodInfo>>,
    last_number: u64,
}

impl SchedulingQueue {
    /// A pod that was not known before.
    pub fn add(&mut self, info: Arc<PodInfo>, now: Instant) {
        if let Some(known) = self.in_flight.get_mut(&info.uid) {
            *known = info;
            return;
        }
        self.take(&info.uid.clone());
        let pod = QueuedPod {
            info,
            rejected_by: BTreeSet::new(),
            last_write: None,
            preempts: false,
            rejections: 0,
            failures: 0,
            since: now,
            number: 0,
        };
        let place = if pod.info.is_gated() { Place::Gated } else { Place::Active };
        self.put(pod, place);
    }

    /// The pod has changed. That may be what it waited for.
    pub fn update(&mut self, info: Arc<PodInfo>, now: Instant, plugins: &Plugins) {
        if let Some(known) = self.in_flight.get_mut(&info.uid) {
            *known = info;
            return;
        }
        let Some(Entry { mut pod, place }) = self.take(&info.uid) else { return self.add(info, now) };
        let old = std::mem::replace(&mut pod.info, info);
        let new = pod.info.clone();
        let event = ClusterEvent::PodUpdated { old: &old, new: &new };
        match place {
            _ if new.is_gated() => self.put(pod, Place::Gated),
            Place::Gated => {
                pod.since = now;
                self.put(pod, Place::Active);
            }
            Place::Unschedulable(_) if event.is_relevant() && may_help(&pod, &event, plugins) => {
                self.requeue(pod, now);
            }
            place => self.put(pod, place),
        }
    }

    /// The pod is gone, or has a node.
    pub fn remove(&mut self, uid: &str) {
        self.in_flight.remove(uid);
        self.take(uid);
    }

    pub fn contains(&self, uid: &str) -> bool {
        self.entries.contains_key(uid) || self.in_flight.contains_key(uid)
    }

    /// The next pod to be tried. It is in flight until it is given back or [`SchedulingQueue::remove`]d.
    pub fn pop(&mut self, now: Instant) -> Option<QueuedPod> {
        self.tick(now);
        let active = self.active.first().map(|(.., uid)| uid);
        let next = active.or_else(|| self.backing_off.first().map(|(.., uid)| uid))?.clone();
        let Entry { pod, .. } = self.take(&next)?;
        self.in_flight.insert(next, pod.info.clone());
        Some(pod)
    }

    /// No node was found.
    pub fn give_back_rejected(&mut self, mut pod: QueuedPod, rejected_by: BTreeSet<&'static str>, now: Instant) {
        let Some(newest) = self.in_flight.remove(&pod.info.uid) else { return };
        pod.info = newest;
        pod.rejected_by = rejected_by;
        pod.rejections += 1;
        pod.failures = 0;
        pod.since = now;
        self.put(pod, Place::Unschedulable(now + UNSCHEDULABLE_MAX));
    }

    /// It had a node, but something went wrong.
    pub fn give_back_failed(&mut self, mut pod: QueuedPod, now: Instant) {
        let Some(newest) = self.in_flight.remove(&pod.info.uid) else { return };
        pod.info = newest;
        pod.rejected_by.clear();
        pod.failures += 1;
        pod.since = now;
        let until = now + backoff(pod.failures);
        self.put(pod, Place::BackingOffFromFailure(until));
    }

    /// A write about the pod begins.
    pub fn note_write(&mut self, uid: &str, write: &CancellationToken, preempts: bool) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.pod.preempts = preempts;
            entry.pod.last_write = Some(write.clone());
        }
    }

    /// Moves the pods that the event may help. Says whether there are any.
    pub fn on_event(&mut self, event: &ClusterEvent, now: Instant, plugins: &Plugins) -> bool {
        if self.unschedulable.is_empty() || !event.is_relevant() {
            return false;
        }
        let helped = |uid: &String| self.entries.get(uid).is_some_and(|entry| may_help(&entry.pod, event, plugins));
        let helped: Vec<String> =
            self.unschedulable.iter().map(|(.., uid)| uid).filter(|uid| helped(uid)).cloned().collect();
        for uid in &helped {
            if let Some(Entry { pod, .. }) = self.take(uid) {
                self.requeue(pod, now);
            }
        }
        !helped.is_empty()
    }

    /// When something is to be done although nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let timed = [&self.backing_off, &self.backing_off_from_failure, &self.unschedulable];
        timed.iter().filter_map(|timed| timed.first()).map(|(until, ..)| *until).min()
    }

    fn tick(&mut self, now: Instant) {
        for pick in [Self::first_backing_off, Self::first_unschedulable] {
            while let Some(uid) = pick(self, now) {
                let Some(Entry { mut pod, .. }) = self.take(&uid) else { break };
                pod.since = now;
                self.put(pod, Place::Active);
            }
        }
    }

    fn first_backing_off(&self, now: Instant) -> Option<String> {
        due(&self.backing_off, now).or_else(|| due(&self.backing_off_from_failure, now))
    }

    fn first_unschedulable(&self, now: Instant) -> Option<String> {
        due(&self.unschedulable, now)
    }

    fn requeue(&mut self, mut pod: QueuedPod, now: Instant) {
        let until = pod.since + backoff(pod.rejections);
        if until <= now {
            pod.since = now;
            self.put(pod, Place::Active);
        } else {
            self.put(pod, Place::BackingOff(until));
        }
    }

    fn put(&mut self, mut pod: QueuedPod, place: Place) {
        self.last_number += 1;
        pod.number = self.last_number;
        let (uid, number) = (pod.info.uid.clone(), pod.number);
        match place {
            Place::Active => drop(self.active.insert((Reverse(pod.info.priority), pod.since, number, uid.clone()))),
            Place::BackingOff(until) => drop(self.backing_off.insert((until, number, uid.clone()))),
            Place::BackingOffFromFailure(until) => {
                self.backing_off_from_failure.insert((until, number, uid.clone()));
            }
            Place::Unschedulable(until) => drop(self.unschedulable.insert((until, number, uid.clone()))),
            Place::Gated => {}
        }
        self.entries.insert(uid, Entry { pod, place });
    }

    fn take(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.entries.remove(uid)?;
        let (number, uid) = (entry.pod.number, uid.to_owned());
        match entry.place {
            Place::Active => {
                self.active.remove(&(Reverse(entry.pod.info.priority), entry.pod.since, number, uid));
            }
            Place::BackingOff(until) => drop(self.backing_off.remove(&(until, number, uid))),
            Place::BackingOffFromFailure(until) => {
                self.backing_off_from_failure.remove(&(until, number, uid));
            }
            Place::Unschedulable(until) => drop(self.unschedulable.remove(&(until, number, uid))),
            Place::Gated => {}
        }
        Some(entry)
    }
}

fn due(timed: &Timed, now: Instant) -> Option<String> {
    timed.first().filter(|(until, ..)| *until <= now).map(|(.., uid)| uid.clone())
}

fn may_help(pod: &QueuedPod, event: &ClusterEvent, plugins: &Plugins) -> bool {
    pod.rejected_by.is_empty() || pod.rejected_by.iter().any(|name| plugins.hint(name, &pod.info, event))
}

/// 1 s, 2 s, 4 s, … 10 s.
fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(10);
    (BACKOFF_INITIAL * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}
