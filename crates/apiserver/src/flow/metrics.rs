//! What is counted of each flow, under upstream's names.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::dispatch::Dispatch;
use super::queues::Refusal;
use super::tally::{Kind, Tally};
use super::timing::{LevelTimings, Timing};
use super::width::Width;
use super::{Config, Flow, FlowControl, Level};
use rt::exposition::Histogram;

const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
const LENGTHS: &[f64] = &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const WATCHERS: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

/// Of one FlowSchema at one priority level.
pub struct FlowMetrics {
    dispatched: AtomicU64,
    rejected: [AtomicU64; 3],
    in_queue: AtomicI64,
    seats_in_queue: AtomicI64,
    executing: AtomicI64,
    seats_executing: AtomicI64,
    unaccommodated: AtomicU64,
    waited: Histogram,
    /// Of requests that were refused at once.
    waited_in_vain: Histogram,
    execution: Histogram,
    /// Of watches, until their first events are there.
    watch_start: Histogram,
    queue_length: Histogram,
    seats: Histogram,
    watchers: Histogram,
}

impl Default for FlowMetrics {
    fn default() -> Self {
        FlowMetrics {
            dispatched: AtomicU64::default(),
            rejected: Default::default(),
            in_queue: AtomicI64::default(),
            seats_in_queue: AtomicI64::default(),
            executing: AtomicI64::default(),
            seats_executing: AtomicI64::default(),
            unaccommodated: AtomicU64::default(),
            waited: Histogram::new(SECONDS),
            waited_in_vain: Histogram::new(SECONDS),
            execution: Histogram::new(SECONDS),
            watch_start: Histogram::new(SECONDS),
            queue_length: Histogram::new(LENGTHS),
            seats: Histogram::new(SEATS),
            watchers: Histogram::new(WATCHERS),
        }
    }
}

impl Refusal {
    const ALL: [Refusal; 3] = [Refusal::ConcurrencyLimit, Refusal::QueueFull, Refusal::TimeOut];

    fn reason(self) -> &'static str {
        match self {
            Refusal::ConcurrencyLimit => "concurrency-limit",
            Refusal::QueueFull => "queue-full",
            Refusal::TimeOut => "time-out",
        }
    }
}

impl FlowMetrics {
    pub fn estimated(&self, width: Width) {
        self.seats.observe(f64::from(width.max()));
    }

    pub fn watched(&self, watchers: u32) {
        self.watchers.observe(f64::from(watchers));
    }

    pub fn waited(&self, time: Duration, executes: bool) {
        let of = if executes { &self.waited } else { &self.waited_in_vain };
        of.observe(time.as_secs_f64());
    }
}

impl Tally for Flow {
    fn lined_up(&self, length: usize) {
        #[expect(clippy::cast_precision_loss, reason = "queues are short")]
        self.metrics.queue_length.observe(length as f64);
    }

    fn entered_queue(&self, width: Width, kind: Kind) {
        self.metrics.in_queue.fetch_add(1, Relaxed);
        self.metrics.seats_in_queue.fetch_add(width.max().into(), Relaxed);
        self.mix.waiting(kind, 1);
    }

    fn left_queue(&self, width: Width, kind: Kind) {
        self.metrics.in_queue.fetch_sub(1, Relaxed);
        self.metrics.seats_in_queue.fetch_sub(width.max().into(), Relaxed);
        self.mix.waiting(kind, -1);
    }

    fn unaccommodated(&self) {
        self.metrics.unaccommodated.fetch_add(1, Relaxed);
    }

    fn rejected(&self, refusal: Refusal) {
        self.metrics.rejected[refusal as usize].fetch_add(1, Relaxed);
    }

    fn started(&self, width: Width, kind: Kind) {
        self.metrics.dispatched.fetch_add(1, Relaxed);
        self.metrics.executing.fetch_add(1, Relaxed);
        self.metrics.seats_executing.fetch_add(width.max().into(), Relaxed);
        self.mix.executing(kind, 1);
    }

    fn executed(&self, took: Duration, kind: Kind) {
        self.metrics.executing.fetch_sub(1, Relaxed);
        self.mix.executing(kind, -1);
        let of = if kind.watch { &self.metrics.watch_start } else { &self.metrics.execution };
        of.observe(took.as_secs_f64());
    }

    fn released(&self, seats: u32) {
        self.metrics.seats_executing.fetch_sub(seats.into(), Relaxed);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP apiserver_flowcontrol_{name} {help}\n# TYPE apiserver_flowcontrol_{name} {kind}");
}

type Flows<'a> = Vec<(String, &'a FlowMetrics)>;

fn labels(schema: &str, level: &str) -> String {
    format!("flow_schema=\"{schema}\",priority_level=\"{level}\"")
}

/// The text of all families. Progress never overflows here, so it never begins a new epoch, and none is counted.
pub fn write(control: &FlowControl, out: &mut String) {
    let config = &*control.config.load();
    let flows: Flows<'_> =
        config.flows.iter().map(|flow| (labels(&flow.schema_name, &flow.level.name), &*flow.metrics)).collect();
    counters(&flows, out);
    gauges(&flows, out);
    histograms(&flows, out);
    levels(config, out);
    targets(config, out);
    dispatches(config, out);
    timings(config, out);
    let name = "read_vs_write_current_requests";
    head(out, name, "histogram", "Requests as a part of their limit, over time in nanoseconds");
    control.mix.write(&format!("apiserver_flowcontrol_{name}"), out);
    head(out, "seat_fair_frac", "gauge", "The part of its target that an unbounded priority level gets");
    let _ = writeln!(out, "apiserver_flowcontrol_seat_fair_frac {}", *control.fair_fraction.lock());
}

fn counters(flows: &Flows<'_>, out: &mut String) {
    let help = "Number of requests executed by API Priority and Fairness subsystem";
    head(out, "dispatched_requests_total", "counter", help);
    for (labels, flow) in flows {
        let count = flow.dispatched.load(Relaxed);
        let _ = writeln!(out, "apiserver_flowcontrol_dispatched_requests_total{{{labels}}} {count}");
    }
    let help = "Number of requests rejected by API Priority and Fairness subsystem";
    head(out, "rejected_requests_total", "counter", help);
    for (labels, flow) in flows {
        for refusal in Refusal::ALL {
            let (reason, count) = (refusal.reason(), flow.rejected[refusal as usize].load(Relaxed));
            if count > 0 {
                let name = "apiserver_flowcontrol_rejected_requests_total";
                let _ = writeln!(out, "{name}{{{labels},reason=\"{reason}\"}} {count}");
            }
        }
    }
    let name = "request_dispatch_no_accommodation_total";
    head(out, name, "counter", "How often the next request in turn found too few seats");
    for (labels, flow) in flows {
        let count = flow.unaccommodated.load(Relaxed);
        if count > 0 {
            let _ = writeln!(out, "apiserver_flowcontrol_{name}{{{labels}}} {count}");
        }
    }
}

fn gauges(flows: &Flows<'_>, out: &mut String) {
    type Gauge = (&'static str, &'static str, fn(&FlowMetrics) -> &AtomicI64);
    let families: [Gauge; 4] = [
        ("current_inqueue_requests", "Number of requests currently pending in queues", |flow| &flow.in_queue),
        ("current_inqueue_seats", "Number of seats currently pending in queues", |flow| &flow.seats_in_queue),
        ("current_executing_requests", "Number of requests that are executing", |flow| &flow.executing),
        ("current_executing_seats", "Seats that executing requests occupy", |flow| &flow.seats_executing),
    ];
    for (name, help, pick) in families {
        head(out, name, "gauge", help);
        for (labels, flow) in flows {
            let _ = writeln!(out, "apiserver_flowcontrol_{name}{{{labels}}} {}", pick(flow).load(Relaxed));
        }
    }
}

fn histograms(flows: &Flows<'_>, out: &mut String) {
    type Family = (&'static str, &'static str, &'static str, fn(&FlowMetrics) -> &Histogram);
    let waited = "Length of time a request spent waiting in its queue";
    let length = "Length of its queue as each request found it, itself among it";
    let families: [Family; 7] = [
        ("request_wait_duration_seconds", waited, ",execute=\"true\"", |flow| &flow.waited),
        ("request_wait_duration_seconds", "", ",execute=\"false\"", |flow| &flow.waited_in_vain),
        ("request_execution_seconds", "Duration of request execution", ",type=\"regular\"", |flow| &flow.execution),
        ("request_execution_seconds", "", ",type=\"watch\"", |flow| &flow.watch_start),
        ("request_queue_length_after_enqueue", length, "", |flow| &flow.queue_length),
        ("work_estimated_seats", "Number of estimated seats of requests", "", |flow| &flow.seats),
        ("watch_count_samples", "Count of watchers for mutating requests", "", |flow| &flow.watchers),
    ];
    for (name, help, more, pick) in families {
        if !help.is_empty() {
            head(out, name, "histogram", help);
        }
        for (labels, flow) in flows {
            pick(flow).write(&format!("apiserver_flowcontrol_{name}"), &format!("{labels}{more}"), out);
        }
    }
}

fn levels(config: &Config, out: &mut String) {
    type Gauge = (&'static str, &'static str, fn(&Level) -> f64);
    let families: [Gauge; 9] = [
        ("nominal_limit_seats", "Nominal number of execution seats", |level| level.limits().nominal.into()),
        ("lower_limit_seats", "Lower bound on execution seats", |level| level.limits().min.into()),
        ("upper_limit_seats", "Upper bound on execution seats", |level| level.limits().max.into()),
        ("current_limit_seats", "Current number of execution seats", |level| level.limits().current.into()),
        ("demand_seats_high_watermark", "High watermark of demand", |level| level.demand().high_watermark),
        ("demand_seats_average", "Average of demand", |level| level.demand().last.average),
        ("demand_seats_stdev", "Standard deviation of demand", |level| level.demand().last.deviation),
        ("demand_seats_smoothed", "Smoothed seat demands", |level| level.demand().smoothed),
        ("current_r", "R(time of last change)", |level| level.queues.lock().current_r()),
    ];
    for (name, help, pick) in families {
        head(out, name, "gauge", help);
        for level in config.levels.values() {
            let value = pick(level);
            let _ = writeln!(out, "apiserver_flowcontrol_{name}{{priority_level=\"{}\"}} {value}", level.name);
        }
    }
}

/// Exempt levels take what they need: nothing is set as their target.
fn targets(config: &Config, out: &mut String) {
    head(out, "target_seats", "gauge", "What priority levels ask for when seats are divided");
    for level in config.levels.values().filter(|level| !level.is_exempt()) {
        let (name, target) = (&level.name, level.demand().target);
        let _ = writeln!(out, "apiserver_flowcontrol_target_seats{{priority_level=\"{name}\"}} {target}");
    }
}

/// Of levels with queues, from their first dispatch on.
fn dispatches(config: &Config, out: &mut String) {
    type Gauge = (&'static str, &'static str, &'static str, fn(&Dispatch) -> f64);
    const MIN: &str = "bound=\"min\",";
    const MAX: &str = "bound=\"max\",";
    let families: [Gauge; 6] = [
        ("dispatch_r", "R(time of last dispatch)", "", |dispatch| dispatch.at),
        ("latest_s", "S(most recently dispatched request)", "", |dispatch| dispatch.start),
        ("next_s_bounds", "Bounds of S(oldest waiting request) over queues", MIN, |dispatch| dispatch.next.0),
        ("next_s_bounds", "", MAX, |dispatch| dispatch.next.1),
        ("next_discounted_s_bounds", "The same less work in progress", MIN, |dispatch| dispatch.next_discounted.0),
        ("next_discounted_s_bounds", "", MAX, |dispatch| dispatch.next_discounted.1),
    ];
    let dispatches: Vec<(&str, Dispatch)> = config
        .levels
        .values()
        .filter_map(|level| Some((level.name.as_str(), level.queues.lock().last_dispatch?)))
        .collect();
    for (name, help, bound, pick) in families {
        if !help.is_empty() {
            head(out, name, "gauge", help);
        }
        for (level, dispatch) in &dispatches {
            let value = pick(dispatch);
            let _ = writeln!(out, "apiserver_flowcontrol_{name}{{{bound}priority_level=\"{level}\"}} {value}");
        }
    }
}

/// How full levels were, over time.
fn timings(config: &Config, out: &mut String) {
    type Family = (&'static str, &'static str, &'static str, fn(&mut LevelTimings) -> &mut Timing);
    const EXECUTING: &str = "phase=\"executing\",";
    const WAITING: &str = "phase=\"waiting\",";
    let seats = "Seats in use as a part of their limit, over time in nanoseconds";
    let requests = "Requests as a part of their limit, over time in nanoseconds";
    let demand = "Seats that a level could use as a part of its limit, over time in nanoseconds";
    let families: [Family; 4] = [
        ("priority_level_seat_utilization", seats, EXECUTING, |timings| &mut timings.seats),
        ("priority_level_request_utilization", requests, EXECUTING, |timings| &mut timings.executing),
        ("priority_level_request_utilization", "", WAITING, |timings| &mut timings.waiting),
        ("demand_seats", demand, "", |timings| &mut timings.demand),
    ];
    for (name, help, phase, pick) in families {
        if !help.is_empty() {
            head(out, name, "histogram", help);
        }
        let name = format!("apiserver_flowcontrol_{name}");
        for level in config.levels.values() {
            let labels = format!("{phase}priority_level=\"{}\"", level.name);
            let mut queues = level.queues.lock();
            pick(&mut queues.timings).write(level.now(), &name, &labels, out);
        }
    }
}
