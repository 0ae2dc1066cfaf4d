//! What is counted of each flow, under upstream's names.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::queues::Refusal;
use super::width::Width;
use super::{Config, Level};
use crate::serve::histogram::Histogram;

const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
const WATCHERS: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

/// Of one FlowSchema at one priority level.
pub struct FlowMetrics {
    dispatched: AtomicU64,
    rejected: [AtomicU64; 3],
    in_queue: AtomicI64,
    seats_in_queue: AtomicI64,
    executing: AtomicI64,
    seats_executing: AtomicI64,
    waited: Histogram,
    gave_up: Histogram,
    execution: Histogram,
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
            waited: Histogram::new(SECONDS),
            gave_up: Histogram::new(SECONDS),
            execution: Histogram::new(SECONDS),
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

    pub fn refused(&self, refusal: Refusal) {
        self.rejected[refusal as usize].fetch_add(1, Relaxed);
    }

    pub fn entered_queue(&self, width: Width) {
        self.in_queue.fetch_add(1, Relaxed);
        self.seats_in_queue.fetch_add(width.max().into(), Relaxed);
    }

    pub fn left_queue(&self, width: Width) {
        self.in_queue.fetch_sub(1, Relaxed);
        self.seats_in_queue.fetch_sub(width.max().into(), Relaxed);
    }

    pub fn started(&self, waited: Duration, width: Width) {
        self.dispatched.fetch_add(1, Relaxed);
        self.waited.observe(waited.as_secs_f64());
        self.executing.fetch_add(1, Relaxed);
        self.seats_executing.fetch_add(width.max().into(), Relaxed);
    }

    pub fn gave_up(&self, waited: Duration) {
        self.gave_up.observe(waited.as_secs_f64());
    }

    pub fn executed(&self, took: Duration, width: Width) {
        self.executing.fetch_sub(1, Relaxed);
        self.seats_executing.fetch_sub(width.max().into(), Relaxed);
        self.execution.observe(took.as_secs_f64());
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP apiserver_flowcontrol_{name} {help}\n# TYPE apiserver_flowcontrol_{name} {kind}");
}

type Flows<'a> = Vec<(String, &'a FlowMetrics)>;

fn labels(schema: &str, level: &str) -> String {
    format!("flow_schema=\"{schema}\",priority_level=\"{level}\"")
}

/// The text of all families.
pub fn write(config: &Config, out: &mut String) {
    let flows: Flows<'_> =
        config.flows.iter().map(|flow| (labels(&flow.schema_name, &flow.level.name), &*flow.metrics)).collect();
    counters(&flows, out);
    gauges(&flows, out);
    histograms(&flows, out);
    levels(config, out);
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
    let families: [Family; 5] = [
        ("request_wait_duration_seconds", waited, ",execute=\"true\"", |flow| &flow.waited),
        ("request_wait_duration_seconds", "", ",execute=\"false\"", |flow| &flow.gave_up),
        ("request_execution_seconds", "Duration of request execution", ",type=\"regular\"", |flow| &flow.execution),
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
    let families: [Gauge; 10] = [
        ("nominal_limit_seats", "Nominal number of execution seats", |level| level.limits().nominal.into()),
        ("lower_limit_seats", "Lower bound on execution seats", |level| level.limits().min.into()),
        ("upper_limit_seats", "Upper bound on execution seats", |level| level.limits().max.into()),
        ("current_limit_seats", "Current number of execution seats", |level| level.limits().current.into()),
        ("request_concurrency_limit", "Nominal number of execution seats", |level| level.limits().nominal.into()),
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
