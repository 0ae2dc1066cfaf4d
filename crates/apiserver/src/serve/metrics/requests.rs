//! What is counted of requests. As upstream does, only those that reached what answers them: whoever is turned away
//! before is counted by what turned him away.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use http::{Method, Response, StatusCode, header};
use hyper::body::Body as _;
use parking_lot::Mutex;
use registry::names::intern;
use tokio::time::Instant;

use crate::body::{self, Body};
use crate::call::Call;
use rt::exposition::Histogram;
use rt::exposition::head;

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const SLI_SECONDS: &[f64] =
    &[0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const COMPONENT: &str = "apiserver";
const AGGREGATOR: &str = "aggregator";

/// Only names of the catalog become labels: callers cannot fill the table with names of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Labels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    dry_run: &'static str,
    component: &'static str,
}

struct Series {
    codes: Mutex<Vec<(u16, u64)>>,
    terminations: Mutex<Vec<(u16, u64)>>,
    seconds: Histogram,
    /// Without what webhooks and queues took.
    sli_seconds: Histogram,
    bytes: Histogram,
    open: AtomicI64,
}

impl Series {
    fn new() -> Series {
        Series {
            codes: Mutex::default(),
            terminations: Mutex::default(),
            seconds: Histogram::new(SECONDS),
            sli_seconds: Histogram::new(SLI_SECONDS),
            bytes: Histogram::new(BYTES),
            open: AtomicI64::new(0),
        }
    }

    fn count(&self, code: u16, took: Duration, elsewhere: Option<Duration>) {
        add(&self.codes, code);
        self.seconds.observe(took.as_secs_f64());
        if let Some(elsewhere) = elsewhere {
            self.sli_seconds.observe(took.saturating_sub(elsewhere).as_secs_f64());
        }
    }
}

fn add(codes: &Mutex<Vec<(u16, u64)>>, code: u16) {
    let mut codes = codes.lock();
    match codes.iter_mut().find(|(own, _)| *own == code) {
        Some((_, count)) => *count += 1,
        None => codes.push((code, 1)),
    }
}

/// A request that stays open: it is counted when it ends.
pub struct Open {
    series: Arc<Series>,
    received: Instant,
    elsewhere: Option<Duration>,
    code: AtomicU16,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.series.open.fetch_sub(1, Relaxed);
        self.series.count(self.code.load(Relaxed), self.received.elapsed(), self.elsewhere);
    }
}

#[derive(Default)]
pub struct Requests(Mutex<HashMap<Labels, Arc<Series>>>);

impl Requests {
    fn series(&self, labels: Labels) -> Arc<Series> {
        self.0.lock().entry(labels).or_insert_with(|| Arc::new(Series::new())).clone()
    }

    /// A request comes to what answers it.
    pub fn open(&self, call: &Call) -> Option<Arc<Open>> {
        if !call.info.long_running() {
            return None;
        }
        let (series, elsewhere) = (self.series(labels(call)), elsewhere(call));
        series.open.fetch_add(1, Relaxed);
        let unknown = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        Some(Arc::new(Open { series, received: call.received, elsewhere, code: AtomicU16::new(unknown) }))
    }

    /// A request has its answer. What stays open is counted when that ends.
    pub fn answered(&self, call: &mut Call, response: Response<Body>) -> Response<Body> {
        let code = response.status().as_u16();
        if let Some(open) = call.open.take() {
            open.code.store(code, Relaxed);
            return response.map(|body| body::with(body, open));
        }
        let Some(labels) = answered_labels(call, &response) else { return response };
        let sized = matches!(labels.verb, "GET" | "LIST") && labels.component == COMPONENT;
        let series = self.series(labels);
        series.count(code, call.received.elapsed(), elsewhere(call));
        if let Some(bytes) = response.body().size_hint().exact().filter(|_| sized) {
            #[expect(clippy::cast_precision_loss, reason = "buckets are wide")]
            series.bytes.observe(bytes as f64);
        }
        response
    }

    /// The server refused or ended a request for its own sake.
    pub fn terminated(&self, call: &Call, code: StatusCode) {
        let series = self.series(Labels { scope: own_scope(call), dry_run: "", ..labels(call) });
        add(&series.terminations, code.as_u16());
    }

    /// The same of a request for a server behind this one.
    pub fn terminated_behind(&self, call: &Call, group: &str, version: &str, code: StatusCode) {
        let place = (intern(group), intern(version));
        let own = Labels { scope: own_scope(call), dry_run: "", component: AGGREGATOR, ..labels(call) };
        let series = self.series(Labels { group: place.0, version: place.1, ..own });
        add(&series.terminations, code.as_u16());
    }

    /// No seat was found: counted although nothing answered it.
    pub fn dropped(&self, call: &Call) {
        let code = StatusCode::TOO_MANY_REQUESTS;
        add(&self.series(Labels { scope: own_scope(call), ..labels(call) }).codes, code.as_u16());
        self.terminated(call, code);
    }

    pub fn write(&self, out: &mut String) {
        let mut all: Vec<(Labels, Arc<Series>)> =
            self.0.lock().iter().map(|(labels, series)| (labels.clone(), series.clone())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        head(out, "apiserver_request_total", "counter", "Counter of apiserver requests broken out by labels.");
        for (labels, series) in &all {
            write_codes("apiserver_request_total", &series.codes, &labels.with_dry_run(), out);
        }
        let name = "apiserver_request_duration_seconds";
        head(out, name, "histogram", "Response latency distribution in seconds.");
        for (labels, series) in &all {
            series.seconds.write(name, &labels.with_dry_run(), out);
        }
        let name = "apiserver_request_sli_duration_seconds";
        head(out, name, "histogram", "Response latency without the time of webhooks and of waiting for a seat.");
        for (labels, series) in &all {
            series.sli_seconds.write(name, &labels.text(), out);
        }
        write_rest(&all, out);
    }
}

fn write_rest(all: &[(Labels, Arc<Series>)], out: &mut String) {
    let name = "apiserver_response_sizes";
    head(out, name, "histogram", "Response size distribution in bytes.");
    for (labels, series) in all.iter().filter(|(labels, _)| labels.dry_run.is_empty()) {
        series.bytes.write(name, &labels.text(), out);
    }
    let name = "apiserver_longrunning_requests";
    head(out, name, "gauge", "Number of requests that stay open.");
    for (labels, series) in all.iter().filter(|(labels, _)| matches!(labels.verb, "WATCH" | "CONNECT")) {
        let _ = writeln!(out, "{name}{{{}}} {}", labels.text(), series.open.load(Relaxed));
    }
    let name = "apiserver_request_terminations_total";
    head(out, name, "counter", "Number of requests that the server refused or ended for its own sake.");
    for (labels, series) in all.iter().filter(|(labels, _)| labels.dry_run.is_empty()) {
        write_codes(name, &series.terminations, &labels.text(), out);
    }
}

fn write_codes(name: &str, codes: &Mutex<Vec<(u16, u64)>>, labels: &str, out: &mut String) {
    for (code, count) in &*codes.lock() {
        let _ = writeln!(out, "{name}{{code=\"{code}\",{labels}}} {count}");
    }
}

impl Labels {
    fn text(&self) -> String {
        let Labels { verb, group, version, resource, subresource, scope, component, .. } = self;
        format!(
            "component=\"{component}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }

    fn with_dry_run(&self) -> String {
        let rest = self.text();
        let (component, rest) = rest.split_once(',').expect("there is more than one label");
        format!("{component},dry_run=\"{}\",{rest}", self.dry_run)
    }
}

/// Of a request that was answered; none for one that is not counted.
fn answered_labels(call: &Call, response: &Response<Body>) -> Option<Labels> {
    if !call.is_handled {
        return None;
    }
    let labels = labels(call);
    if call.info.is_resource {
        return Some(labels);
    }
    let content = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let component = match labels.subresource {
        "" => return None,
        "/api" | "/apis" if !content.unwrap_or_default().contains("as=APIGroupDiscoveryList") => return None,
        "/api" | "/apis" => COMPONENT,
        _ => "",
    };
    Some(Labels { verb: if labels.verb == "other" { "other" } else { "GET" }, component, ..labels })
}

fn labels(call: &Call) -> Labels {
    let info = &call.info;
    let known = call.catalog.find(&info.group, &info.version, &info.resource);
    let found = |sub: &&registry::Subresource| sub.name == info.subresource;
    let subresource = match info.is_resource {
        true => known.and_then(|of| of.subresources.iter().find(found)).map_or("", |sub| sub.name),
        false => path(call),
    };
    let scope = route_scope(call);
    Labels {
        verb: verb(call, scope),
        group: known.map_or("", |resource| resource.group),
        version: known.map_or("", |resource| resource.version),
        resource: known.map_or("", |resource| resource.name),
        subresource,
        scope,
        dry_run: dry_run(call),
        component: COMPONENT,
    }
}

/// The paths that are counted beside resources.
fn path(call: &Call) -> &'static str {
    let known = ["/api", "/apis", "/healthz", "/livez", "/readyz"];
    known.into_iter().find(|known| call.info.path.trim_end_matches('/') == *known).unwrap_or_default()
}

fn dry_run(call: &Call) -> &'static str {
    match call.query.has("dryRun") {
        false => "",
        true if call.query.all("dryRun").all(|value| value == "All") => "All",
        true => "invalid",
    }
}

/// As the route says that answers.
fn route_scope(call: &Call) -> &'static str {
    let info = &call.info;
    match info.verb {
        _ if !info.is_resource => "",
        "list" | "watch" | "deletecollection" if !info.namespace.is_empty() => "namespace",
        "list" | "watch" | "deletecollection" => "cluster",
        _ => "resource",
    }
}

/// As the request says: a list that a selector narrows to one name is about that one.
fn own_scope(call: &Call) -> &'static str {
    let info = &call.info;
    match route_scope(call) {
        "namespace" | "cluster" if !info.name.is_empty() => "resource",
        scope => scope,
    }
}

fn verb(call: &Call, scope: &str) -> &'static str {
    let connects = ["log", "exec", "portforward", "attach", "proxy"];
    if call.info.is_resource && connects.contains(&call.info.subresource.as_str()) {
        return "CONNECT";
    }
    let watches = || call.info.verb == "watch" || call.query.is_true("watch");
    match call.method {
        Method::GET if watches() => "WATCH",
        Method::GET | Method::HEAD if matches!(scope, "namespace" | "cluster") => "LIST",
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH if call.header("content-type") == "application/apply-patch+yaml" => "APPLY",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        _ => "other",
    }
}

/// The time that was spent in webhooks and in a queue; none for what is not measured without it.
fn elsewhere(call: &Call) -> Option<Duration> {
    (!call.query.has("dryRun")).then(|| call.queue_wait + call.webhook_time.total())
}
