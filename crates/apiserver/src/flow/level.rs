//! A priority level that is in use: its queues behind a lock that no await ever sees, and who waits for a seat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Flow;
use super::demand::{Demand, Period};
use super::queues::{Asking, Discipline, Place, Queues, Refusal, Started};
use super::retry::Refusals;
use super::running::Running;

/// The spec of a PriorityLevelConfiguration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub discipline: Discipline,
    pub shares: u32,
    pub lendable_percent: u32,
    pub borrowing_percent: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    nominal_concurrency_shares: u32,
    lendable_percent: u32,
    borrowing_limit_percent: Option<u32>,
    limit_response: Response,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response {
    queuing: Option<Queuing>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Queuing {
    queues: usize,
    hand_size: usize,
    queue_length_limit: usize,
}

impl Spec {
    pub fn of(object: &Value) -> Spec {
        let limited = object.pointer("/spec/limited").filter(|limited| !limited.is_null());
        let body = limited.or_else(|| object.pointer("/spec/exempt"));
        let body = body.and_then(|body| Body::deserialize(body).ok()).unwrap_or_default();
        let discipline = match (limited, body.limit_response.queuing) {
            (None, _) => Discipline::Exempt,
            (_, Some(Queuing { queues, hand_size, queue_length_limit })) if queues > 0 && hand_size > 0 => {
                Discipline::Queue { queues, hand: hand_size, length_max: queue_length_limit }
            }
            _ => Discipline::Reject,
        };
        Spec {
            discipline,
            shares: body.nominal_concurrency_shares,
            lendable_percent: body.lendable_percent,
            borrowing_percent: body.borrowing_limit_percent,
        }
    }
}

/// How many seats a level may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub nominal: u32,
    pub min: u32,
    pub max: u32,
    pub current: u32,
}

pub struct Level {
    pub name: String,
    start: Instant,
    pub(super) queues: Mutex<Queues<Flow, oneshot::Sender<usize>>>,
    pub(super) spec: Mutex<Spec>,
    pub(super) limits: Mutex<Limits>,
    pub(super) request_max: AtomicU32,
    pub(super) demand: Mutex<Demand>,
    refusals: Mutex<Refusals>,
    /// Its object is gone; the level goes when its last request has.
    pub(super) quiescing: AtomicBool,
    reap: Arc<Notify>,
}

/// A seat. Given back when dropped.
pub struct Seat {
    level: Arc<Level>,
    slot: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.level.finish(self.slot);
    }
}

/// A request in a queue. Leaves it when dropped.
struct Waiter<'a> {
    level: &'a Arc<Level>,
    place: Place,
    seat: oneshot::Receiver<usize>,
    done: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.level.leave(self.place, &mut self.seat);
        }
    }
}

impl Level {
    pub fn new(name: &str, spec: Spec, start: Instant, reap: Arc<Notify>) -> Level {
        Level {
            name: name.to_string(),
            start,
            queues: Mutex::new(Queues::new(spec.discipline, 0)),
            spec: Mutex::new(spec),
            limits: Mutex::default(),
            request_max: AtomicU32::new(0),
            demand: Mutex::default(),
            refusals: Mutex::default(),
            quiescing: AtomicBool::new(false),
            reap,
        }
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn is_exempt(&self) -> bool {
        self.spec.lock().discipline == Discipline::Exempt
    }

    pub fn queue_count(&self) -> usize {
        match self.spec.lock().discipline {
            Discipline::Queue { queues, .. } => queues,
            _ => 0,
        }
    }

    pub fn is_quiescing(&self) -> bool {
        self.quiescing.load(Ordering::Relaxed)
    }

    /// What one request may take; 0 for no bound.
    pub fn request_max(&self) -> u32 {
        self.request_max.load(Ordering::Relaxed)
    }

    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    pub fn demand(&self) -> Demand {
        *self.demand.lock()
    }

    pub fn is_idle(&self) -> bool {
        self.queues.lock().is_idle()
    }

    pub fn set_spec(&self, spec: Spec) {
        self.queues.lock().set_discipline(spec.discipline);
        *self.spec.lock() = spec;
    }

    pub fn set_current(&self, seats: u32) {
        self.limits.lock().current = seats;
        let gone = self.queues.lock().set_limit(self.now(), seats);
        self.wake(gone);
    }

    /// The demand of the period that ends now.
    pub fn take_period(&self) -> Period {
        self.tick();
        self.queues.lock().demand.reset(self.now())
    }

    /// A seat, at once or after a wait that ends at `deadline`.
    pub async fn seat(self: &Arc<Self>, asking: Asking<Flow>, deadline: Instant) -> Result<Seat, Refusal> {
        let (flow, width) = (asking.flow.clone(), asking.width);
        let (waiter, arrived) = {
            let arrived = self.now();
            let mut receiver = None;
            let (started, gone) = self.queues.lock().start(arrived, asking, || {
                let (sender, own) = oneshot::channel();
                receiver = Some(own);
                sender
            });
            self.wake(gone);
            match (started, receiver) {
                (Started::Executing(slot), _) => {
                    flow.metrics.started(Duration::ZERO, width);
                    return Ok(Seat { level: self.clone(), slot });
                }
                (Started::Waiting(place), Some(seat)) => {
                    flow.metrics.entered_queue(width);
                    (Waiter { level: self, place, seat, done: false }, arrived)
                }
                (Started::Refused(refusal), _) => return Err(refusal),
                (Started::Waiting(_), None) => unreachable!("whoever waits was given a receiver"),
            }
        };
        let seat = waiter.wait(deadline).await;
        let waited = self.now().saturating_sub(arrived);
        if seat.is_some() {
            flow.metrics.left_queue(width);
            flow.metrics.started(waited, width);
        } else {
            flow.metrics.gave_up(waited);
        }
        seat.ok_or(Refusal::TimeOut)
    }

    fn tick(&self) {
        let now = self.now();
        let gone = self.queues.lock().tick(now);
        self.wake(gone);
    }

    fn finish(&self, slot: usize) {
        let now = self.now();
        let (running, gone) = self.queues.lock().finish(now, slot);
        self.wake(gone);
        if let Some(Running { flow, width, started, .. }) = running {
            flow.metrics.executed(now.saturating_sub(started), width);
        }
        self.maybe_reap();
    }

    /// The request is not to wait longer; a seat that it was given meanwhile is given back.
    fn leave(&self, place: Place, seat: &mut oneshot::Receiver<usize>) {
        // From here on a seat either lies in the channel or comes back to its sender.
        seat.close();
        let now = self.now();
        let left = self.queues.lock().leave(now, place);
        if let Some(left) = left {
            left.flow.metrics.left_queue(left.width);
        } else if let Ok(slot) = seat.try_recv() {
            self.finish(slot);
        }
        self.maybe_reap();
    }

    fn maybe_reap(&self) {
        if self.quiescing.load(Ordering::Relaxed) && self.is_idle() {
            self.reap.notify_one();
        }
    }

    fn next_release(&self) -> Option<Instant> {
        Some(self.start + self.queues.lock().next_release()?)
    }

    /// Tells those who may go. A seat for somebody who has left meanwhile is given back.
    fn wake(&self, gone: Vec<(oneshot::Sender<usize>, usize)>) {
        for (waker, slot) in gone {
            if let Err(slot) = waker.send(slot) {
                self.finish(slot);
            }
        }
    }

    /// Counts a refusal; after how many seconds the client may come again.
    pub fn refused(&self, unix_seconds: i64) -> u16 {
        self.refusals.lock().record(unix_seconds)
    }
}

impl Waiter<'_> {
    /// Waits for the dispatch; wakes itself when seats that linger are due.
    async fn wait(mut self, deadline: Instant) -> Option<Seat> {
        loop {
            let until = self.level.next_release().map_or(deadline, |release| release.min(deadline));
            tokio::select! {
                biased;
                slot = &mut self.seat => {
                    self.done = true;
                    return Some(Seat { level: self.level.clone(), slot: slot.ok()? });
                }
                () = tokio::time::sleep_until(until) => {
                    if until >= deadline {
                        return None;
                    }
                    self.level.tick();
                }
            }
        }
    }
}
