//! `/metrics`: what is counted of requests, of the store and of the process, in the text format 0.0.4 under upstream's names.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use http::{Response, StatusCode};
use parking_lot::Mutex;

use super::histogram::Histogram;
use super::process;
use crate::audit::Counts;
use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::server::Inner;

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

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
}

struct Series {
    by_code: Mutex<Vec<(u16, u64)>>,
    seconds: Histogram,
}

/// Requests that are being answered.
#[derive(Default)]
struct InFlight {
    mutating: AtomicI64,
    readonly: AtomicI64,
    long_running: AtomicI64,
}

#[derive(Default)]
pub struct Metrics {
    series: Mutex<HashMap<Labels, Arc<Series>>>,
    in_flight: Arc<InFlight>,
    terminated: AtomicU64,
}

/// Counted as long as it lives.
pub struct Counted {
    in_flight: Arc<InFlight>,
    pick: fn(&InFlight) -> &AtomicI64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.pick)(&self.in_flight).fetch_sub(1, Relaxed);
    }
}

fn labels(call: &Call) -> Labels {
    let info = &call.info;
    let known = call.catalog.find(&info.group, &info.version, &info.resource);
    let found = |sub: &&registry::Subresource| sub.name == info.subresource;
    let scope = match info.verb {
        _ if !info.is_resource => "",
        "get" | "update" | "patch" | "delete" => "resource",
        "create" if !info.subresource.is_empty() => "resource",
        _ if !info.namespace.is_empty() => "namespace",
        _ => "cluster",
    };
    Labels {
        verb: verb(call),
        group: known.map_or("", |resource| resource.group),
        version: known.map_or("", |resource| resource.version),
        resource: known.map_or("", |resource| resource.name),
        subresource: known.and_then(|of| of.subresources.iter().find(found)).map_or("", |sub| sub.name),
        scope,
        dry_run: if call.query.has("dryRun") { "All" } else { "" },
    }
}

fn verb(call: &Call) -> &'static str {
    match call.info.verb {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" if call.info.long_running() => "CONNECT",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" if call.header("content-type").starts_with("application/apply-patch") => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

impl Metrics {
    pub fn count(&self, call: &Call, code: StatusCode) {
        let labels = labels(call);
        let made = || Arc::new(Series { by_code: Mutex::default(), seconds: Histogram::new(SECONDS) });
        let series = self.series.lock().entry(labels).or_insert_with(made).clone();
        let mut codes = series.by_code.lock();
        match codes.iter_mut().find(|(own, _)| *own == code.as_u16()) {
            Some((_, count)) => *count += 1,
            None => codes.push((code.as_u16(), 1)),
        }
        drop(codes);
        if !call.info.long_running() {
            series.seconds.observe(call.received.elapsed().as_secs_f64());
        }
        if code == StatusCode::TOO_MANY_REQUESTS || code == StatusCode::GATEWAY_TIMEOUT {
            self.terminated.fetch_add(1, Relaxed);
        }
    }

    /// One more request in flight.
    pub fn begin(&self, call: &Call) -> Counted {
        let pick: fn(&InFlight) -> &AtomicI64 = match call.info.is_mutating() {
            _ if call.info.long_running() => |all| &all.long_running,
            true => |all| &all.mutating,
            false => |all| &all.readonly,
        };
        pick(&self.in_flight).fetch_add(1, Relaxed);
        Counted { in_flight: self.in_flight.clone(), pick }
    }

    pub fn response(&self, server: &Inner) -> Response<Body> {
        let mut text = String::new();
        self.requests(&mut text);
        self.gauges(&mut text);
        storage(server, &mut text);
        audit(server, &mut text);
        server.flow.write_metrics(&mut text);
        process::write(&mut text);
        encode::plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
    }

    fn requests(&self, out: &mut String) {
        let mut all: Vec<(Labels, Arc<Series>)> =
            self.series.lock().iter().map(|(labels, series)| (labels.clone(), series.clone())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        head(out, "apiserver_request_total", "counter", "Counter of apiserver requests broken out by labels.");
        for (labels, series) in &all {
            let text = labels.text();
            for (code, count) in &*series.by_code.lock() {
                let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{text}}} {count}");
            }
        }
        let name = "apiserver_request_duration_seconds";
        head(out, name, "histogram", "Response latency distribution in seconds.");
        for (labels, series) in &all {
            series.seconds.write(name, &labels.text(), out);
        }
    }

    fn gauges(&self, out: &mut String) {
        let InFlight { mutating, readonly, long_running } = &*self.in_flight;
        let name = "apiserver_current_inflight_requests";
        head(out, name, "gauge", "Number of requests that are being answered, by kind.");
        let (mutating, readonly) = (mutating.load(Relaxed), readonly.load(Relaxed));
        let _ = writeln!(out, "{name}{{request_kind=\"mutating\"}} {mutating}");
        let _ = writeln!(out, "{name}{{request_kind=\"readOnly\"}} {readonly}");
        let name = "apiserver_longrunning_requests";
        head(out, name, "gauge", "Number of requests that stay open.");
        let _ = writeln!(out, "{name} {}", long_running.load(Relaxed));
        let name = "apiserver_request_terminations_total";
        head(out, name, "counter", "Number of requests that the server refused or ended for its own sake.");
        let _ = writeln!(out, "{name} {}", self.terminated.load(Relaxed));
    }
}

impl Labels {
    fn text(&self) -> String {
        let Labels { verb, group, version, resource, subresource, scope, dry_run } = self;
        format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

pub fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Zeros where nothing is recorded.
fn audit(server: &Inner, out: &mut String) {
    match &server.auditor {
        Some(auditor) => auditor.counts().write(out),
        None => Counts::default().write(out),
    }
}

/// Counted once a minute.
fn storage(server: &Inner, out: &mut String) {
    let stats = server.flow.stats.load();
    let mut all: Vec<(String, u64)> = stats
        .iter()
        .map(|(group, resource, stats)| (format!("{resource}.{group}"), stats.objects))
        .map(|(name, objects)| (name.trim_end_matches('.').to_string(), objects))
        .collect();
    all.sort();
    let name = "apiserver_storage_objects";
    head(out, name, "gauge", "Number of stored objects at the time of last check split by kind.");
    for (resource, objects) in all {
        let _ = writeln!(out, "{name}{{resource=\"{resource}\"}} {objects}");
    }
}
