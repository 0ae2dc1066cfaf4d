//! The seats of one priority level, and the queues before them: fair among flows by virtual time. Pure: the caller brings
//! the time, and is told who may go.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::dealer;
use super::demand::Integrator;
use super::dispatch::{Bounds, Dispatch};
use super::lingering::Lingering;
use super::running::{Running, Slots};
use super::tally::{Kind, Tally};
use super::timing::LevelTimings;
use super::width::{ESTIMATED_SERVICE, Width};

/// What happens to a request for which no seat is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// There is always a seat.
    Exempt,
    Reject,
    Queue {
        queues: usize,
        hand: usize,
        length_max: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    ConcurrencyLimit,
    QueueFull,
    TimeOut,
}

/// What became of a new request.
pub enum Started {
    Executing(usize),
    /// Under this number.
    Waiting(Place),
    Refused(Refusal),
}

/// Where a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue: usize,
    pub number: u64,
}

/// A request as the queues see it. `F` says whose it is; `W` wakes whoever waits with it.
pub struct Asking<F> {
    pub flow: Arc<F>,
    pub width: Width,
    pub kind: Kind,
    pub hash: u64,
    pub detail: Box<str>,
}

pub struct Waiting<F, W> {
    pub number: u64,
    pub flow: Arc<F>,
    pub width: Width,
    pub kind: Kind,
    pub detail: Box<str>,
    pub arrived: Duration,
    arrival_r: f64,
    waker: W,
}

pub struct Queue<F, W> {
    pub waiting: VecDeque<Waiting<F, W>>,
    pub executing: usize,
    pub seats_in_use: u32,
    /// When, in virtual time, the next request of the queue would begin.
    pub next_r: f64,
    pub work_waiting: f64,
    pub seats_waiting: u32,
}

impl<F: Tally, W> Queue<F, W> {
    fn new() -> Self {
        Queue {
            waiting: VecDeque::new(),
            executing: 0,
            seats_in_use: 0,
            next_r: 0.0,
            work_waiting: 0.0,
            seats_waiting: 0,
        }
    }

    fn is_active(&self) -> bool {
        self.executing > 0 || !self.waiting.is_empty()
    }

    /// No request begins, in virtual time, before it came: an idle queue saves nothing up.
    fn bound_next(&mut self) {
        if let Some(oldest) = self.waiting.front() {
            self.next_r = self.next_r.max(oldest.arrival_r);
        }
    }

    fn took_out(&mut self, waiting: &Waiting<F, W>) {
        self.work_waiting -= waiting.width.work();
        self.seats_waiting -= waiting.width.max();
        if self.waiting.is_empty() {
            // What rounding left.
            self.work_waiting = 0.0;
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub dispatched: u64,
    pub rejected: u64,
    pub timed_out: u64,
    pub cancelled: u64,
}

pub struct Queues<F, W> {
    discipline: Discipline,
    limit: u32,
    /// Virtual time: how much each active queue has been served, in seat-seconds.
    current_r: f64,
    last: Duration,
    pub queues: Vec<Queue<F, W>>,
    active: usize,
    robin: usize,
    enqueued: u64,
    pub waiting: usize,
    pub executing: usize,
    pub seats_in_use: u32,
    pub seats_waiting: u32,
    lingering: BinaryHeap<Reverse<Lingering<F>>>,
    pub demand: Integrator,
    pub timings: LevelTimings,
    pub last_dispatch: Option<Dispatch>,
    pub running: Slots<F>,
    pub counts: Counts,
}

impl<F: Tally, W> Queues<F, W> {
    pub fn new(discipline: Discipline, limit: u32) -> Self {
        let mut new = Queues {
            discipline: Discipline::Reject,
            limit,
            current_r: 0.0,
            last: Duration::ZERO,
            queues: Vec::new(),
            active: 0,
            robin: 0,
            enqueued: 0,
            waiting: 0,
            executing: 0,
            seats_in_use: 0,
            seats_waiting: 0,
            lingering: BinaryHeap::new(),
            demand: Integrator::default(),
            timings: LevelTimings::default(),
            last_dispatch: None,
            running: Slots::default(),
            counts: Counts::default(),
        };
        new.set_discipline(Duration::ZERO, discipline);
        new
    }

    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.executing == 0
    }

    pub fn current_r(&self) -> f64 {
        self.current_r
    }

    pub fn set_discipline(&mut self, now: Duration, discipline: Discipline) {
        self.discipline = discipline;
        self.timings.set_queues(now, discipline);
        if let Discipline::Queue { queues, .. } = discipline {
            while self.queues.len() < queues {
                self.queues.push(Queue::new());
            }
        }
        self.drop_idle_queues();
    }

    /// How many seats there are, and what their use is measured against. Returns who may go now.
    #[must_use]
    pub fn set_limit(&mut self, now: Duration, limit: u32, measure: u32) -> Vec<(W, usize)> {
        self.advance(now);
        self.limit = limit;
        self.timings.set_seats(now, measure);
        self.dispatch(now)
    }

    /// Queues beyond those that are configured go when their last request has gone.
    fn drop_idle_queues(&mut self) {
        let wanted = if let Discipline::Queue { queues, .. } = self.discipline { queues } else { 0 };
        while self.queues.len() > wanted {
            let Some(last) = self.queues.last() else { break };
            if last.is_active() || last.seats_in_use > 0 {
                break;
            }
            self.queues.pop();
        }
    }

    /// A request comes. `waker` is asked for one only if the request must wait.
    pub fn start(&mut self, now: Duration, asking: Asking<F>, waker: impl FnOnce() -> W) -> (Started, Vec<(W, usize)>) {
        self.advance(now);
        let Discipline::Queue { hand, length_max, queues } = self.discipline else {
            return (self.start_without_queue(now, asking), Vec::new());
        };
        let index = self.choose(asking.hash, queues, hand);
        if self.seats_in_use >= self.limit && self.queues[index].waiting.len() >= length_max {
            return (self.refuse(&asking, Refusal::QueueFull), Vec::new());
        }
        let was_active = self.queues[index].is_active();
        if !was_active {
            self.queues[index].next_r = self.current_r;
            self.active += 1;
        }
        if self.waiting == 0 && self.seats_in_use < self.limit && self.has_seats(asking.width.max()) {
            self.queues[index].next_r = self.queues[index].next_r.max(self.current_r);
            self.robin = index;
            asking.flow.lined_up(1);
            self.note_dispatch(index, [index]);
            return (Started::Executing(self.execute(now, now, Some(index), asking)), Vec::new());
        }
        let place = self.enqueue(now, index, asking, waker());
        (Started::Waiting(place), self.dispatch(now))
    }

    fn start_without_queue(&mut self, now: Duration, asking: Asking<F>) -> Started {
        if !self.has_seats(asking.width.max()) {
            return self.refuse(&asking, Refusal::ConcurrencyLimit);
        }
        Started::Executing(self.execute(now, now, None, asking))
    }

    fn refuse(&mut self, asking: &Asking<F>, refusal: Refusal) -> Started {
        self.counts.rejected += 1;
        asking.flow.rejected(refusal);
        Started::Refused(refusal)
    }

    /// The queue of the hand with the least work in it; hands are read from changing places, so that ties spread.
    fn choose(&mut self, hash: u64, queues: usize, hand: usize) -> usize {
        let hand = dealer::deal(hash, queues, hand);
        let cards = hand.cards();
        let offset = usize::try_from(self.enqueued % cards.len() as u64).unwrap_or(0);
        self.enqueued += 1;
        let turned = cards[offset..].iter().chain(&cards[..offset]).copied();
        let work = |index: &usize| self.queues[*index].work_waiting;
        turned.min_by(|a, b| work(a).total_cmp(&work(b))).unwrap_or(0)
    }

    fn enqueue(&mut self, now: Duration, index: usize, asking: Asking<F>, waker: W) -> Place {
        let number = self.enqueued;
        let Asking { flow, width, kind, detail, .. } = asking;
        flow.entered_queue(width, kind);
        let queue = &mut self.queues[index];
        flow.lined_up(queue.waiting.len() + 1);
        queue.work_waiting += width.work();
        queue.seats_waiting += width.max();
        let arrival_r = self.current_r;
        queue.waiting.push_back(Waiting { number, flow, width, kind, detail, arrived: now, arrival_r, waker });
        queue.bound_next();
        self.waiting += 1;
        self.seats_waiting += width.max();
        self.timings.waiting.add(now, 1);
        self.note_demand(now);
        Place { queue: index, number }
    }

    fn has_seats(&self, seats: u32) -> bool {
        match self.discipline {
            Discipline::Exempt => true,
            // Wider than the level: it goes when it is alone.
            _ if seats > self.limit => self.executing == 0,
            _ => self.seats_in_use + seats <= self.limit,
        }
    }

    fn dispatch(&mut self, now: Duration) -> Vec<(W, usize)> {
        let mut gone = Vec::new();
        while self.waiting > 0 && self.seats_in_use < self.limit {
            let Some(index) = self.next_queue() else { break };
            let Some(oldest) = self.queues[index].waiting.front() else { break };
            if !self.has_seats(oldest.width.max()) {
                oldest.flow.unaccommodated();
                break;
            }
            self.note_dispatch(index, 0..self.queues.len());
            gone.extend(self.dispatch_from(now, index));
        }
        gone
    }

    /// The queue whose oldest request would end first in virtual time.
    fn next_queue(&mut self) -> Option<usize> {
        let count = self.queues.len();
        let mut best: Option<(f64, usize)> = None;
        for step in 1..=count {
            let index = (self.robin + step) % count;
            let queue = &self.queues[index];
            let Some(oldest) = queue.waiting.front() else { continue };
            let finish = queue.next_r + oldest.width.work();
            if best.is_none_or(|(least, _)| finish < least) {
                best = Some((finish, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// Before the dispatch: the oldest requests of these queues are the next ones.
    fn note_dispatch(&mut self, index: usize, candidates: impl IntoIterator<Item = usize>) {
        let (mut next, mut next_discounted) = (Bounds::NONE, Bounds::NONE);
        for candidate in candidates {
            let queue = &self.queues[candidate];
            if candidate == index || !queue.waiting.is_empty() {
                next.see(queue.next_r);
                let in_progress = f64::from(queue.seats_in_use) * ESTIMATED_SERVICE.as_secs_f64();
                next_discounted.see(queue.next_r - in_progress);
            }
        }
        let start = self.queues[index].next_r;
        let dispatch = Dispatch { at: self.current_r, start, next: next.0, next_discounted: next_discounted.0 };
        self.last_dispatch = Some(dispatch);
    }

    fn dispatch_from(&mut self, now: Duration, index: usize) -> Option<(W, usize)> {
        let waiting = self.take_out(now, index, 0)?;
        self.robin = index;
        let Waiting { flow, width, kind, detail, arrived, waker, .. } = waiting;
        // Still active: it was counted when the request came.
        let asking = Asking { flow, width: width.narrowed(self.limit), kind, hash: 0, detail };
        let slot = self.execute(now, arrived, Some(index), asking);
        self.queues[index].bound_next();
        Some((waker, slot))
    }

    fn take_out(&mut self, now: Duration, index: usize, place: usize) -> Option<Waiting<F, W>> {
        let queue = self.queues.get_mut(index)?;
        let waiting = queue.waiting.remove(place)?;
        queue.took_out(&waiting);
        self.waiting -= 1;
        self.seats_waiting -= waiting.width.max();
        self.timings.waiting.add(now, -1);
        waiting.flow.left_queue(waiting.width, waiting.kind);
        Some(waiting)
    }

    fn execute(&mut self, now: Duration, arrived: Duration, queue: Option<usize>, asking: Asking<F>) -> usize {
        let Asking { flow, width, kind, detail, .. } = asking;
        self.executing += 1;
        self.seats_in_use += width.max();
        self.counts.dispatched += 1;
        flow.started(width, kind);
        self.timings.executing.add(now, 1);
        if let Some(queue) = queue.and_then(|index| self.queues.get_mut(index)) {
            queue.executing += 1;
            queue.seats_in_use += width.max();
            queue.next_r += width.work();
        }
        self.note_demand(now);
        self.running.put(Running { flow, width, kind, detail, queue, arrived, started: now })
    }

    /// A request has its answer. Returns who may go now.
    #[must_use]
    pub fn finish(&mut self, now: Duration, slot: usize) -> Vec<(W, usize)> {
        self.advance(now);
        let Some(running) = self.running.take(slot) else { return Vec::new() };
        self.executing -= 1;
        self.timings.executing.add(now, -1);
        let took = now.saturating_sub(running.started);
        running.flow.executed(took, running.kind);
        if let Some(queue) = running.queue.and_then(|index| self.queues.get_mut(index)) {
            queue.executing -= 1;
            let unused = ESTIMATED_SERVICE.as_secs_f64() - took.as_secs_f64();
            queue.next_r -= f64::from(running.width.initial) * unused;
            queue.bound_next();
            if !queue.is_active() {
                self.active -= 1;
            }
        }
        let Running { flow, width, queue, .. } = running;
        let held = Lingering { until: now + width.linger, seats: width.max(), queue, flow };
        if width.linger.is_zero() {
            self.release(now, &held);
        } else {
            self.lingering.push(Reverse(held));
        }
        self.dispatch(now)
    }

    fn release(&mut self, now: Duration, held: &Lingering<F>) {
        let seats = held.seats;
        self.seats_in_use -= seats;
        held.flow.released(seats);
        if let Some(queue) = held.queue.and_then(|index| self.queues.get_mut(index)) {
            queue.seats_in_use -= seats;
        }
        self.note_demand(now);
        self.drop_idle_queues();
    }

    /// A request waits no longer: its client has gone, or its time is over. None when it was dispatched already.
    pub fn leave(&mut self, now: Duration, place: Place) -> Option<Waiting<F, W>> {
        self.advance(now);
        let queue = self.queues.get(place.queue)?;
        let at = queue.waiting.iter().position(|waiting| waiting.number == place.number)?;
        let left = self.take_out(now, place.queue, at)?;
        left.flow.rejected(Refusal::TimeOut);
        self.counts.rejected += 1;
        self.counts.cancelled += 1;
        let queue = &mut self.queues[place.queue];
        queue.bound_next();
        if !queue.is_active() {
            self.active -= 1;
        }
        self.note_demand(now);
        Some(left)
    }

    /// Releases seats whose time has come. Returns who may go now.
    #[must_use]
    pub fn tick(&mut self, now: Duration) -> Vec<(W, usize)> {
        self.advance(now);
        self.dispatch(now)
    }

    /// When the next seats are released that a request holds after its answer.
    pub fn next_release(&self) -> Option<Duration> {
        self.lingering.peek().map(|Reverse(lingering)| lingering.until)
    }

    fn advance(&mut self, now: Duration) {
        while self.lingering.peek().is_some_and(|Reverse(next)| next.until <= now) {
            let Some(Reverse(over)) = self.lingering.pop() else { break };
            self.advance_virtual_time(over.until);
            self.release(over.until, &over);
        }
        self.advance_virtual_time(now);
    }

    fn advance_virtual_time(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.last).as_secs_f64();
        self.last = self.last.max(now);
        if self.active > 0 {
            let seats = (self.seats_in_use + self.seats_waiting).min(self.limit);
            self.current_r += passed * f64::from(seats) / self.active as f64;
        }
    }

    fn note_demand(&mut self, now: Duration) {
        let demand = f64::from(self.seats_in_use + self.seats_waiting);
        self.demand.set(now, demand);
        self.timings.demand.set(now, demand);
        self.timings.seats.set(now, f64::from(self.seats_in_use));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tally for char {}

    const QUEUE: Discipline = Discipline::Queue { queues: 4, hand: 2, length_max: 3 };

    /// Queues whose flows are letters.
    struct Bench {
        queues: Queues<char, char>,
        now: Duration,
        log: String,
    }

    impl Bench {
        fn new(discipline: Discipline, limit: u32) -> Bench {
            let mut queues = Queues::new(discipline, 0);
            assert!(queues.set_limit(Duration::ZERO, limit, limit).is_empty());
            Bench { queues, now: Duration::ZERO, log: String::new() }
        }

        fn ask(&mut self, flow: char, width: Width) -> Option<Place> {
            let hash = dealer::hash("schema", &flow.to_string());
            let asking = Asking { flow: Arc::new(flow), width, kind: Kind::default(), hash, detail: "".into() };
            let (started, gone) = self.queues.start(self.now, asking, || flow);
            self.note(gone);
            match started {
                Started::Executing(_) => self.log.push(flow),
                Started::Waiting(place) => return Some(place),
                Started::Refused(_) => self.log.push('!'),
            }
            None
        }

        fn one(&mut self, flow: char) -> Option<Place> {
            self.ask(flow, Width::ONE)
        }

        fn note(&mut self, gone: Vec<(char, usize)>) {
            gone.into_iter().for_each(|(flow, _)| self.log.push(flow));
        }

        /// Lets the first running request end after some time.
        fn end_one(&mut self) {
            self.now += Duration::from_millis(3);
            let slot = (0..).find(|slot| self.queues.running.get(*slot).is_some()).unwrap();
            let gone = self.queues.finish(self.now, slot);
            self.note(gone);
        }
    }

    #[test]
    fn an_elephant_does_not_keep_a_mouse_waiting() {
        let mut bench = Bench::new(Discipline::Queue { queues: 64, hand: 2, length_max: 50 }, 1);
        (0..10).for_each(|_| _ = bench.one('e'));
        bench.one('m');
        (0..10).for_each(|_| bench.end_one());
        let place = bench.log.find('m').unwrap();
        assert!(place <= 3, "{}", bench.log);
        assert_eq!(bench.log.len(), 11);
    }

    #[test]
    fn full_queues_refuse_and_levels_without_queues_at_once() {
        let mut bench = Bench::new(QUEUE, 1);
        (0..12).for_each(|_| _ = bench.one('a'));
        // One runs; both queues of the hand take three.
        assert_eq!(bench.log, "a!!!!!");
        let mut bench = Bench::new(Discipline::Reject, 2);
        "abc".chars().for_each(|flow| _ = bench.one(flow));
        assert_eq!(bench.log, "ab!");
        bench.end_one();
        bench.one('d');
        assert_eq!(bench.log, "ab!d");
    }

    #[test]
    fn exempt_is_never_refused_and_counts() {
        let mut bench = Bench::new(Discipline::Exempt, 0);
        "abc".chars().for_each(|flow| _ = bench.one(flow));
        assert_eq!((bench.log.as_str(), bench.queues.seats_in_use), ("abc", 3));
    }

    #[test]
    fn a_wide_request_waits_for_its_seats_and_one_wider_than_the_level_runs_alone() {
        let mut bench = Bench::new(QUEUE, 4);
        bench.one('a');
        bench.ask('w', Width { initial: 9, ..Width::ONE });
        bench.one('b');
        // The narrow one ends first in virtual time.
        assert_eq!(bench.log, "ab");
        bench.end_one();
        assert_eq!(bench.log, "ab");
        bench.end_one();
        assert_eq!(bench.log, "abw");
    }

    #[test]
    fn seats_that_linger_are_free_only_later() {
        let mut bench = Bench::new(QUEUE, 3);
        bench.ask('w', Width { initial: 1, last: 3, linger: Duration::from_millis(5) });
        bench.one('a');
        bench.end_one();
        assert_eq!((bench.log.as_str(), bench.queues.seats_in_use), ("w", 3));
        let release = bench.queues.next_release().unwrap();
        assert_eq!(release, Duration::from_millis(8));
        let gone = bench.queues.tick(release);
        bench.note(gone);
        assert_eq!(bench.log, "wa");
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let mut bench = Bench::new(QUEUE, 1);
        bench.one('a');
        let place = bench.one('b').unwrap();
        bench.one('c');
        assert!(bench.queues.leave(bench.now, place).is_some());
        assert!(bench.queues.leave(bench.now, place).is_none());
        bench.end_one();
        assert_eq!((bench.log.as_str(), bench.queues.waiting), ("ac", 0));
        bench.end_one();
        assert!(bench.queues.is_idle() && bench.queues.active == 0 && bench.queues.seats_waiting == 0);
    }

    #[test]
    fn queues_that_are_configured_away_are_emptied_first() {
        let mut bench = Bench::new(QUEUE, 1);
        "aaaabbbbccccdddd".chars().for_each(|flow| _ = bench.one(flow));
        let waiting = bench.queues.waiting;
        bench.queues.set_discipline(bench.now, Discipline::Reject);
        (0..=waiting).for_each(|_| bench.end_one());
        assert!(bench.queues.is_idle() && bench.queues.queues.is_empty());
    }
}
