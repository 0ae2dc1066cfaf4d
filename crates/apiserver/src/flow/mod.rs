//! Priority and fairness: which requests run at once, and who waits for whom.
//!
//! FlowSchemas sort requests into priority levels; a level has seats, and queues that are fair among its flows. Levels
//! lend each other what they do not use. [`queues`] and [`allocate`] are pure; [`level`] puts the former behind a lock;
//! [`keep`] follows the objects. Start at [`FlowControl::admit`].

mod allocate;
mod borrow;
mod condition;
mod dealer;
mod demand;
mod dispatch;
pub mod dump;
pub mod keep;
mod level;
mod lingering;
mod metrics;
mod mix;
mod queues;
mod retry;
mod running;
mod schema;
mod tally;
mod timing;
mod watches;
mod width;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use apimachinery::object;
use arc_swap::ArcSwap;
use http::HeaderValue;
use parking_lot::Mutex;
use registry::flow_bootstrap::{CATCH_ALL, objects};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use level::{Level, Seat};
pub use watches::Watching;
pub use width::{ObjectStats, Stats as ResourceStats};

use crate::call::Call;
use level::Spec;
use metrics::FlowMetrics;
use mix::Mix;
use queues::{Asking, Discipline};
use schema::Schema;
use tally::Kind;
use watches::Watches;
use width::Width;

/// A FlowSchema and the level that it refers to.
pub struct Flow {
    pub schema_name: String,
    schema: Schema,
    pub level: Arc<Level>,
    /// Whether flows of the schema are told apart.
    sharded: bool,
    pub schema_uid: HeaderValue,
    pub level_uid: HeaderValue,
    metrics: Arc<FlowMetrics>,
    mix: Arc<Mix>,
}

/// What holds until an object changes.
#[derive(Default)]
pub struct Config {
    /// In the order in which they are tried.
    flows: Vec<Arc<Flow>>,
    levels: BTreeMap<String, Arc<Level>>,
}

pub struct FlowControl {
    config: ArcSwap<Config>,
    seats: u32,
    start: Instant,
    watches: Watches,
    pub stats: ArcSwap<ObjectStats>,
    /// Kept while the server runs, so that counters never fall.
    metrics: Mutex<BTreeMap<(String, String), Arc<FlowMetrics>>>,
    mix: Arc<Mix>,
    fair_fraction: Mutex<f64>,
    reap: Arc<Notify>,
}

/// A request that found no seat.
pub struct Refused {
    pub retry_after: u16,
}

impl FlowControl {
    /// With the mandatory levels and schemas alone, until objects are read.
    pub fn new(seats: usize) -> FlowControl {
        let start = Instant::now();
        let new = FlowControl {
            config: ArcSwap::default(),
            seats: u32::try_from(seats).unwrap_or(u32::MAX),
            start,
            watches: Watches::default(),
            stats: ArcSwap::default(),
            metrics: Mutex::default(),
            mix: Arc::new(Mix::new(start)),
            fair_fraction: Mutex::default(),
            reap: Arc::default(),
        };
        new.configure(&[], &[]);
        new
    }

    /// The flow of a request; the last schema takes whatever no other took.
    pub fn classify(&self, call: &Call) -> Option<Arc<Flow>> {
        let config = self.config.load();
        let found = config.flows.iter().find(|flow| flow.schema.matches(&call.user, &call.info));
        found.or_else(|| config.flows.iter().find(|flow| flow.schema_name == CATCH_ALL)).cloned()
    }

    /// A seat for a request, at once if one is free.
    pub async fn admit(&self, call: &Call, flow: &Arc<Flow>, deadline: Instant) -> Result<Seat, Refused> {
        let asking = self.asking(call, flow);
        let level = &flow.level;
        let seat = level.seat(asking, deadline).await;
        seat.map_err(|_| Refused { retry_after: level.refused(jiff::Timestamp::now().as_second()) })
    }

    fn asking(&self, call: &Call, flow: &Arc<Flow>) -> Asking<Flow> {
        let width = self.width(call, flow);
        flow.metrics.estimated(width);
        let hash = match flow.sharded {
            true => dealer::hash(&flow.schema_name, flow.schema.distinguisher(&call.user, &call.info)),
            false => 0,
        };
        let kind = Kind { watch: call.info.verb == "watch", mutating: call.info.is_mutating() };
        Asking { flow: flow.clone(), width, kind, hash, detail: dump::detail(call) }
    }

    fn width(&self, call: &Call, flow: &Flow) -> Width {
        let watchers = || {
            let count = self.watches.interested(&call.info);
            flow.metrics.watched(count);
            count
        };
        width::estimate(&call.info, &call.query, flow.level.request_max(), &self.stats.load(), watchers)
    }

    /// Counts a watch while the answer is kept.
    pub fn register_watch(&self, call: &Call) -> Option<Watching> {
        self.watches.register(&call.info, &call.query)
    }

    /// Takes over all levels and schemas. Levels that are known keep their requests.
    pub fn configure(&self, levels: &[Value], schemas: &[Value]) {
        let current = self.config.load_full();
        let mut new: BTreeMap<String, Arc<Level>> = BTreeMap::new();
        let imagined = self.imagined("prioritylevelconfigurations", levels);
        for object in levels.iter().chain(&imagined) {
            let name = object::name(object);
            new.insert(name.to_string(), self.level(name, Spec::of(object), current.levels.get(name)));
        }
        let uids = levels.iter().map(|level| (object::name(level), uid(level))).collect();
        let imagined = self.imagined("flowschemas", schemas);
        let mut flows: Vec<Arc<Flow>> =
            schemas.iter().chain(&imagined).filter_map(|schema| self.flow(schema, &new, &uids)).collect();
        flows.sort_by(|a, b| {
            (a.schema.matching_precedence, &a.schema_name).cmp(&(b.schema.matching_precedence, &b.schema_name))
        });
        for (name, level) in &current.levels {
            if !new.contains_key(name) && !level.is_idle() {
                level.quiescing.store(true, Ordering::Relaxed);
                new.insert(name.clone(), level.clone());
            }
        }
        let config = Config { flows, levels: new };
        borrow::set_limits(&config, self.seats);
        *self.fair_fraction.lock() = borrow::adjust(&config, self.seats);
        self.mix.set_limits(places(&config), seats(&config));
        self.config.store(Arc::new(config));
    }

    /// Mandatory objects that are missing.
    fn imagined(&self, resource: &str, present: &[Value]) -> Vec<Value> {
        let missing = |name: &str| !present.iter().any(|object| object::name(object) == name);
        let own = objects().into_iter().filter(|own| own.mandatory && own.resource == resource && missing(own.name));
        own.map(|own| own.object()).collect()
    }

    fn level(&self, name: &str, spec: Spec, known: Option<&Arc<Level>>) -> Arc<Level> {
        let Some(known) = known else {
            return Arc::new(Level::new(name, spec, self.start, self.reap.clone()));
        };
        known.quiescing.store(false, Ordering::Relaxed);
        known.set_spec(spec);
        known.clone()
    }

    /// None when the schema refers to no level.
    fn flow(
        &self,
        object: &Value,
        levels: &BTreeMap<String, Arc<Level>>,
        uids: &BTreeMap<&str, HeaderValue>,
    ) -> Option<Arc<Flow>> {
        let schema = Schema::of(object);
        let level = levels.get(&schema.priority_level_configuration.name)?.clone();
        let name = object::name(object).to_string();
        let key = (level.name.clone(), name.clone());
        Some(Arc::new(Flow {
            sharded: level.queue_count() > 1,
            metrics: self.metrics.lock().entry(key).or_default().clone(),
            mix: self.mix.clone(),
            schema_uid: uid(object),
            level_uid: uids.get(level.name.as_str()).cloned().unwrap_or_else(|| HeaderValue::from_static("")),
            schema_name: name,
            schema,
            level,
        }))
    }

    /// Lets levels borrow anew, by what they could have used since the last time.
    pub fn adjust(&self) {
        *self.fair_fraction.lock() = borrow::adjust(&self.config.load(), self.seats);
    }

    /// The most that executed and that waited within the last whole second, by kind of request.
    pub fn maxima(&self) -> [(&'static str, i32, i32); 2] {
        self.mix.maxima()
    }

    pub fn write_metrics(&self, out: &mut String) {
        metrics::write(self, out);
    }
}

/// How many requests all queues together may hold.
fn places(config: &Config) -> f64 {
    let of = |level: &Arc<Level>| match level.spec.lock().discipline {
        #[expect(clippy::cast_precision_loss, reason = "queues are few and short")]
        Discipline::Queue { queues, length_max, .. } => (queues * length_max) as f64,
        _ => 0.0,
    };
    config.levels.values().map(of).sum()
}

/// The nominal seats of all levels.
fn seats(config: &Config) -> f64 {
    config.levels.values().map(|level| f64::from(level.limits().nominal)).sum()
}

fn uid(object: &Value) -> HeaderValue {
    HeaderValue::from_str(object::uid(object)).unwrap_or_else(|_| HeaderValue::from_static(""))
}
