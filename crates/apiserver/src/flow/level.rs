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
    flow: Arc<Flow>,
    arrived: Duration,
    place: Place,
    seat: oneshot::Receiver<usize>,
    done: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.level.abandon(self.place, &mut self.seat);
        }
        // Upstream says of whoever gave up in a queue, too, that it was executed.
        self.flow.metrics.waited(self.level.now().saturating_sub(self.arrived), true);
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
        self.queues.lock().set_discipline(self.now(), spec.discipline);
        *self.spec.lock() = spec;
    }

    /// Where a level has no seats, what it does is measured against `measure_min`.
    pub fn set_current(&self, seats: u32, measure_min: u32) {
        self.limits.lock().current = seats;
        let measure = if seats > 0 { seats } else { measure_min };
        let gone = self.queues.lock().set_limit(self.now(), seats, measure);
        self.wake(gone);
    }

    /// The demand of the period that ends now.
    pub fn take_period(&self) -> Period {
        self.tick();
        self.queues.lock().demand.reset(self.now())
    }

    /// A seat, at once or after a wait that ends at `deadline`.
    pub async fn seat(self: &Arc<Self>, asking: Asking<Flow>, deadline: Instant) -> Result<Seat, Refusal> {
        let flow = asking.flow.clone();
        let waiter = {
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
                    self.waited_not(&flow, true);
                    return Ok(Seat { level: self.clone(), slot });
                }
                (Started::Waiting(place), Some(seat)) => {
                    Waiter { level: self, flow, arrived, place, seat, done: false }
                }
                (Started::Refused(refusal), _) => {
                    self.waited_not(&flow, false);
                    return Err(refusal);
                }
                (Started::Waiting(_), None) => unreachable!("whoever waits was given a receiver"),
            }
        };
        waiter.wait(deadline).await.ok_or(Refusal::TimeOut)
    }

    /// Only a level that knows no limits knows no waiting.
    fn waited_not(&self, flow: &Flow, executes: bool) {
        if !self.is_exempt() {
            flow.metrics.waited(Duration::ZERO, executes);
        }
    }

    fn tick(&self) {
        let now = self.now();
        let gone = self.queues.lock().tick(now);
        self.wake(gone);
    }

    fn finish(&self, slot: usize) {
        let gone = self.queues.lock().finish(self.now(), slot);
        self.wake(gone);
        self.maybe_reap();
    }

    /// Whether the request was still in its queue, and is so no longer.
    fn leave(&self, place: Place) -> bool {
        let left = self.queues.lock().leave(self.now(), place).is_some();
        self.maybe_reap();
        left
    }

    /// Nobody waits for the request any longer; a seat that it was given meanwhile is given back.
    fn abandon(&self, place: Place, seat: &mut oneshot::Receiver<usize>) {
        // From here on a seat either lies in the channel or comes back to its sender.
        seat.close();
        if self.leave(place) {
            return;
        }
        if let Ok(slot) = seat.try_recv() {
            self.finish(slot);
        }
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
                slot = &mut self.seat => return self.take(slot.ok()),
                () = tokio::time::sleep_until(until) => {
                    if until >= deadline {
                        return self.end_wait().await;
                    }
                    self.level.tick();
                }
            }
        }
    }

    fn take(&mut self, slot: Option<usize>) -> Option<Seat> {
        self.done = true;
        Some(Seat { level: self.level.clone(), slot: slot? })
    }

    /// Either it leaves its queue, or it was dispatched a moment before and goes on.
    async fn end_wait(&mut self) -> Option<Seat> {
        if self.level.leave(self.place) {
            self.done = true;
            return None;
        }
        let slot = (&mut self.seat).await;
        self.take(slot.ok())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::super::{FlowControl, tally::Kind, width::Width};
    use super::*;

    /// One flow before one seat and one queue.
    fn flow() -> (FlowControl, Arc<Flow>) {
        let control = FlowControl::new(1);
        let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 9});
        let limited = json!({"nominalConcurrencyShares": 100, "limitResponse": {"type": "Queue", "queuing": queuing}});
        let level = json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": limited}});
        let reference = json!({"priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 1});
        let schema = json!({"metadata": {"name": "all"}, "spec": reference});
        control.configure(&[level], &[schema]);
        let flow = control.config.load().flows.iter().find(|flow| flow.schema_name == "all").unwrap().clone();
        (control, flow)
    }

    fn asking(flow: &Arc<Flow>) -> Asking<Flow> {
        Asking { flow: flow.clone(), width: Width::ONE, kind: Kind::default(), hash: 0, detail: "".into() }
    }

    /// The lines of a family that are about the flow, without the common prefix.
    fn told(control: &FlowControl, name: &str) -> Vec<String> {
        let mut text = String::new();
        control.write_metrics(&mut text);
        let prefix = format!("apiserver_flowcontrol_{name}{{flow_schema=\"all\",priority_level=\"narrow\"");
        text.lines().filter_map(|line| Some(line.strip_prefix(&prefix)?.to_string())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_in_a_queue_is_counted_and_leaves_nothing_behind() {
        let (control, flow) = flow();
        let later = Instant::now() + Duration::from_secs(7);
        let first = flow.level.seat(asking(&flow), later).await.unwrap();
        assert!(flow.level.seat(asking(&flow), later).await.is_err());
        // One whose client goes away while it waits, and one that had been given its seat a moment before.
        assert!(flow.level.seat(asking(&flow), later + Duration::from_secs(7)).now_or_never().is_none());
        let mut served = Box::pin(flow.level.seat(asking(&flow), later + Duration::from_secs(7)));
        assert!(served.as_mut().now_or_never().is_none());
        assert_eq!(told(&control, "current_inqueue_requests"), ["} 1"]);
        drop(first);
        drop(served);
        for gauge in ["inqueue_requests", "inqueue_seats", "executing_requests", "executing_seats"] {
            assert_eq!(told(&control, &format!("current_{gauge}")), ["} 0"], "{gauge}");
        }
        assert_eq!(told(&control, "rejected_requests_total"), [",reason=\"time-out\"} 2"]);
        assert_eq!(told(&control, "dispatched_requests_total"), ["} 2"]);
        assert_eq!(told(&control, "request_wait_duration_seconds_count"), [",execute=\"true\"} 4"]);
        assert_eq!(told(&control, "request_queue_length_after_enqueue_count"), ["} 4"]);
    }

    #[tokio::test(start_paused = true)]
    async fn seats_that_linger_are_told_as_taken() {
        let (control, flow) = flow();
        let width = Width { initial: 1, last: 1, linger: Duration::from_secs(1) };
        let asking = Asking { width, ..asking(&flow) };
        drop(flow.level.seat(asking, Instant::now()).await.unwrap());
        assert_eq!(told(&control, "current_executing_requests"), ["} 0"]);
        assert_eq!(told(&control, "current_executing_seats"), ["} 1"]);
        tokio::time::advance(Duration::from_secs(2)).await;
        flow.level.tick();
        assert_eq!(told(&control, "current_executing_seats"), ["} 0"]);
    }
}
