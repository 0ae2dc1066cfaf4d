//! `/debug/api_priority_and_fairness/…`: what levels, queues and requests look like now, in columns.

use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, Response, StatusCode};

use super::width::Width;
use super::{Flow, FlowControl};
use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::query::Query;
use crate::request_info::RequestInfo;

/// Verb, user and path of a request in one text: enough to tell all else when somebody asks.
pub fn detail(call: &Call) -> Box<str> {
    let (verb, user, path) = (call.info.verb, call.user.name.as_str(), call.info.path.as_str());
    let mut text = String::with_capacity(verb.len() + user.len() + path.len() + 2);
    for part in [verb, "\0", user, "\0", path] {
        text.push_str(part);
    }
    text.into_boxed_str()
}

/// The dump that a path names.
pub fn run(flow: &FlowControl, call: &Call, name: &str) -> Option<Response<Body>> {
    let rows = match name {
        "dump_priority_levels" => priority_levels(flow),
        "dump_queues" => queues(flow),
        "dump_requests" => requests(flow, call.query.has("includeRequestDetails")),
        _ => return None,
    };
    Some(encode::plain(StatusCode::OK, "text/plain; charset=utf-8", table(&rows).into()))
}

type Row = Vec<String>;

fn row(cells: &[&dyn Display]) -> Row {
    cells.iter().map(|cell| cell.to_string()).collect()
}

fn texts(cells: &[&str]) -> Row {
    cells.iter().map(ToString::to_string).collect()
}

/// Cells end with a comma and stand in columns.
fn table(rows: &[Row]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len() + 2).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(8)).collect();
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            if index + 1 == row.len() {
                text += cell;
            } else {
                text += &format!("{:<1$}", format!("{cell},"), widths[index]);
            }
        }
        text.push('\n');
    }
    text
}

fn priority_levels(flow: &FlowControl) -> Vec<Row> {
    let mut rows = vec![texts(&[
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
        "DispatchedRequests",
        "RejectedRequests",
        "TimedoutRequests",
        "CancelledRequests",
    ])];
    for level in flow.config.load().levels.values() {
        let queues = level.queues.lock();
        let active = queues.queues.iter().filter(|queue| !queue.waiting.is_empty()).count();
        let quiescing = level.quiescing.load(Ordering::Relaxed);
        let counts = queues.counts;
        rows.push(row(&[
            &level.name,
            &active,
            &queues.is_idle(),
            &quiescing,
            &queues.waiting,
            &queues.executing,
            &counts.dispatched,
            &counts.rejected,
            &counts.timed_out,
            &counts.cancelled,
        ]));
    }
    rows
}

fn queues(flow: &FlowControl) -> Vec<Row> {
    let mut rows = vec![texts(&[
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "SeatsInUse",
        "NextDispatchR",
        "InitialSeatsSum",
        "MaxSeatsSum",
        "TotalWorkSum",
    ])];
    for level in flow.config.load().levels.values() {
        for (index, queue) in level.queues.lock().queues.iter().enumerate() {
            let initial: u32 = queue.waiting.iter().map(|waiting| waiting.width.initial).sum();
            rows.push(row(&[
                &level.name,
                &index,
                &queue.waiting.len(),
                &queue.executing,
                &queue.seats_in_use,
                &seat_seconds(queue.next_r),
                &initial,
                &queue.seats_waiting,
                &seat_seconds(queue.work_waiting),
            ]));
        }
    }
    rows
}

fn seat_seconds(value: f64) -> String {
    format!("{value:.8}ss")
}

const REQUEST_COLUMNS: &[&str] = &[
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAIL_COLUMNS: &[&str] =
    &["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

/// A request of the dump.
struct Line<'a> {
    flow: &'a Flow,
    queue: i64,
    place: i64,
    arrived: Duration,
    started: Option<Duration>,
    width: Width,
    detail: &'a str,
}

fn requests(flow: &FlowControl, details: bool) -> Vec<Row> {
    let mut columns = texts(REQUEST_COLUMNS);
    if details {
        columns.extend(texts(DETAIL_COLUMNS));
    }
    let mut rows = vec![columns];
    for level in flow.config.load().levels.values() {
        let began = jiff::Timestamp::now() - jiff::SignedDuration::try_from(level.now()).unwrap_or_default();
        let queues = level.queues.lock();
        for (index, queue) in queues.queues.iter().enumerate() {
            for (place, waiting) in queue.waiting.iter().enumerate() {
                let line = Line {
                    flow: &waiting.flow,
                    queue: number(index),
                    place: number(place),
                    arrived: waiting.arrived,
                    started: None,
                    width: waiting.width,
                    detail: &waiting.detail,
                };
                rows.push(line.row(began, details));
            }
        }
        for running in queues.running.iter() {
            let line = Line {
                flow: &running.flow,
                queue: running.queue.map_or(-1, number),
                place: -1,
                arrived: running.arrived,
                started: Some(running.started),
                width: running.width,
                detail: &running.detail,
            };
            rows.push(line.row(began, details));
        }
    }
    rows
}

fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(-1)
}

impl Line<'_> {
    fn row(&self, began: jiff::Timestamp, details: bool) -> Row {
        let mut parts = self.detail.splitn(3, '\0');
        let mut part = || parts.next().unwrap_or_default();
        let (verb, user, path) = (part(), part(), part());
        let info = RequestInfo::parse(&Method::GET, path, &Query::parse(""));
        let who = auth::UserInfo { name: user.to_string(), ..auth::UserInfo::default() };
        let time = |at: Duration| (began + jiff::SignedDuration::try_from(at).unwrap_or_default()).to_string();
        let mut row = row(&[
            &self.flow.level.name,
            &self.flow.schema_name,
            &self.queue,
            &self.place,
            &self.flow.schema.distinguisher(&who, &info),
            &time(self.arrived),
            &self.width.initial,
            &self.width.last,
            &format!("{:?}", self.width.linger),
            &self.started.map_or("0001-01-01T00:00:00Z".to_string(), time),
        ]);
        if details {
            let version = [info.group.as_str(), info.version.as_str()].join("/");
            let version = version.trim_start_matches('/');
            let RequestInfo { namespace, name, resource, subresource, .. } = &info;
            row.extend(texts(&[user, verb, path, namespace, name, version, resource, subresource]));
        }
        row
    }
}
