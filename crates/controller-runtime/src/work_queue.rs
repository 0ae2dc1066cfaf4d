//! Keys that wait to be reconciled.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::{self, Counts, Load, Measured};

const RETRY_INITIAL: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Holds each key at most once, and never hands a key to two workers: a key that is added while it is worked on comes
/// again afterwards. Cheap to clone.
pub struct WorkQueue<Key>(Arc<Queue<Key>>);

impl<Key> Clone for WorkQueue<Key> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Queue<Key> {
    state: Mutex<State<Key>>,
    changed: Notify,
}

struct State<Key> {
    ready: VecDeque<Key>,
    /// In `ready`, or to be put there when its worker is done; since when.
    dirty: HashMap<Key, Instant>,
    /// Since when.
    processing: HashMap<Key, Instant>,
    later: BinaryHeap<Reverse<(Instant, u64)>>,
    later_keys: HashMap<u64, Key>,
    sequence: u64,
    failures: HashMap<Key, u32>,
    counts: Counts,
}

impl<Key: Clone + Eq + Hash> Default for WorkQueue<Key> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Key: Clone + Eq + Hash> WorkQueue<Key> {
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashMap::new(),
            processing: HashMap::new(),
            later: BinaryHeap::new(),
            later_keys: HashMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            counts: Counts::default(),
        };
        Self(Arc::new(Queue { state: Mutex::new(state), changed: Notify::new() }))
    }

    pub fn add(&self, key: Key) {
        self.0.state.lock().add(key);
        self.0.changed.notify_one();
    }

    pub fn add_after(&self, key: Key, delay: Duration) {
        self.0.state.lock().counts.retries += 1;
        if delay.is_zero() {
            return self.add(key);
        }
        self.0.state.lock().add_at(key, Instant::now() + delay);
        self.0.changed.notify_one();
    }

    /// Comes again after a pause that doubles with each failure.
    pub fn add_rate_limited(&self, key: Key) {
        let delay = self.0.state.lock().fail(&key);
        self.add_after(key, delay);
    }

    /// The key's failures are over.
    pub fn forget(&self, key: &Key) {
        self.0.state.lock().failures.remove(key);
    }

    /// The next key. Its worker calls [`WorkQueue::done`] afterwards.
    pub async fn get(&self) -> Key {
        loop {
            let (next, wait) = self.0.state.lock().take(Instant::now());
            if let Some((key, more)) = next {
                if more {
                    self.0.changed.notify_one();
                }
                return key;
            }
            let changed = self.0.changed.notified();
            match wait {
                None => changed.await,
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
            }
        }
    }

    pub fn done(&self, key: &Key) {
        if self.0.state.lock().done(key) {
            self.0.changed.notify_one();
        }
    }

    /// Keys that are ready.
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<Key: Clone + Eq + Hash> State<Key> {
    fn add(&mut self, key: Key) {
        if self.dirty.contains_key(&key) {
            return;
        }
        self.counts.adds += 1;
        self.dirty.insert(key.clone(), Instant::now());
        if !self.processing.contains_key(&key) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: Key, at: Instant) {
        self.sequence += 1;
        self.later.push(Reverse((at, self.sequence)));
        self.later_keys.insert(self.sequence, key);
    }

    fn fail(&mut self, key: &Key) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = RETRY_INITIAL.saturating_mul(1 << (*failures).min(20));
        *failures += 1;
        delay.min(RETRY_MAX)
    }

    /// The next key and whether more are ready, or until when to wait.
    fn take(&mut self, now: Instant) -> (Option<(Key, bool)>, Option<Instant>) {
        while let Some(Reverse((at, sequence))) = self.later.peek().copied() {
            if at > now {
                break;
            }
            self.later.pop();
            if let Some(key) = self.later_keys.remove(&sequence) {
                self.add(key);
            }
        }
        let Some(key) = self.ready.pop_front() else {
            return (None, self.later.peek().map(|Reverse((at, _))| *at));
        };
        if let Some(added) = self.dirty.remove(&key) {
            self.counts.waited.observe(now.duration_since(added).as_secs_f64());
        }
        self.processing.insert(key.clone(), now);
        (Some((key, !self.ready.is_empty() || !self.later.is_empty())), None)
    }

    /// Returns whether the key is ready again.
    fn done(&mut self, key: &Key) -> bool {
        if let Some(started) = self.processing.remove(key) {
            self.counts.worked.observe(started.elapsed().as_secs_f64());
        }
        let again = self.dirty.contains_key(key);
        if again {
            self.ready.push_back(key.clone());
        }
        again
    }
}

impl<Key: Clone + Eq + Hash + Send + 'static> WorkQueue<Key> {
    /// Tells of this queue under a name, as long as there is one.
    pub fn measure(&self, name: &'static str) {
        let queue: Arc<dyn Measured> = self.0.clone();
        metrics::register(name, &queue);
    }
}

impl<Key: Eq + Hash + Send + 'static> Measured for Queue<Key> {
    fn read(&self, read: &mut dyn FnMut(&Counts, Load)) {
        let state = self.state.lock();
        let running = state.processing.values().map(Instant::elapsed);
        let load = Load {
            depth: state.dirty.len(),
            unfinished: running.clone().sum(),
            longest: running.max().unwrap_or_default(),
        };
        read(&state.counts, load);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_waits_once_and_comes_again_after_its_worker() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.get().await, "a");
        queue.add("a");
        assert_eq!(queue.get().await, "b");
        assert!(queue.is_empty(), "a is being worked on");
        queue.done(&"a");
        assert_eq!(queue.get().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_keys_come_in_the_order_of_their_times() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("late", Duration::from_secs(5));
        queue.add_after("early", Duration::from_secs(1));
        assert_eq!((queue.get().await, start.elapsed().as_secs()), ("early", 1));
        assert_eq!((queue.get().await, start.elapsed().as_secs()), ("late", 5));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_until_forgotten() {
        let queue = WorkQueue::new();
        let mut waits = Vec::new();
        for _ in 0..4 {
            let start = Instant::now();
            queue.add_rate_limited("a");
            queue.get().await;
            queue.done(&"a");
            waits.push(start.elapsed().as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40]);
        queue.forget(&"a");
        let start = Instant::now();
        queue.add_rate_limited("a");
        queue.get().await;
        assert_eq!(start.elapsed().as_millis(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_tells_how_it_gets_on() {
        let queue = WorkQueue::new();
        queue.measure("example");
        queue.add("a");
        queue.add("a");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.get().await, "a");
        queue.add("a");
        tokio::time::advance(Duration::from_secs(3)).await;
        let mut text = String::new();
        metrics::write(&mut text);
        let told = |text: &str, name: &str| {
            let start = format!("workqueue_{name}{{name=\"example\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_string)
        };
        let all = ["adds_total", "depth", "queue_duration_seconds_sum", "unfinished_work_seconds", "retries_total"];
        assert_eq!(all.map(|name| told(&text, name).unwrap()), ["2", "1", "2", "3", "0"]);
        assert_eq!(told(&text, "longest_running_processor_seconds").unwrap(), "3");
        drop(queue);
        text.clear();
        metrics::write(&mut text);
        assert_eq!(told(&text, "depth"), None);
    }

    #[tokio::test]
    async fn two_workers_share_the_keys() {
        let queue = WorkQueue::new();
        let (first, second) = (queue.clone(), queue.clone());
        let workers = futures::future::join(async move { first.get().await }, async move { second.get().await });
        let adds = async {
            queue.add(1);
            queue.add(2);
        };
        let ((one, two), ()) = futures::future::join(workers, adds).await;
        assert_eq!(one + two, 3);
    }
}
