//! How many seats a request takes, and for how long after its answer.

use std::collections::HashMap;
use std::time::Duration;

use store::{Key, Store};

use crate::catalog::Catalog;
use crate::query::Query;
use crate::request_info::RequestInfo;

/// What the fairness of queues assumes of a request before it ran.
pub const ESTIMATED_SERVICE: Duration = Duration::from_millis(3);

/// Seats while it runs, seats afterwards, and for how long those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    pub initial: u32,
    pub last: u32,
    pub linger: Duration,
}

impl Width {
    pub const ONE: Width = Width { initial: 1, last: 0, linger: Duration::ZERO };

    pub fn max(&self) -> u32 {
        self.initial.max(self.last)
    }

    /// In seat-seconds.
    pub fn work(&self) -> f64 {
        f64::from(self.initial) * ESTIMATED_SERVICE.as_secs_f64() + self.last_work()
    }

    fn last_work(&self) -> f64 {
        f64::from(self.last) * self.linger.as_secs_f64()
    }

    /// The same work afterwards on no more than so many seats.
    pub fn narrowed(self, seats: u32) -> Width {
        if self.last <= seats || seats == 0 {
            return self;
        }
        Width { last: seats, linger: Duration::from_secs_f64(self.last_work() / f64::from(seats)), ..self }
    }
}

/// Memory that a list takes at once for each seat, and the most that a streamed one takes.
const BYTES_PER_SEAT: u64 = 100_000;
const LIST_BYTES_MAX: u64 = 1_000_000;
const LIST_SEATS_MAX: u32 = 100;
const MUTATING_SEATS_MAX: u32 = 10;
const WATCHES_PER_SEAT: u32 = 10;
/// What the watchers of one change cost, for each seat.
const EVENT_DURATION: Duration = Duration::from_millis(5);

/// How many objects a resource has, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub objects: u64,
    pub bytes: u64,
}

/// Of all resources, at one moment: by group, then by name.
#[derive(Default)]
pub struct ObjectStats(HashMap<String, HashMap<String, Stats>>);

impl ObjectStats {
    pub fn of(store: &Store, catalog: &Catalog) -> ObjectStats {
        let snapshot = store.snapshot();
        let mut stats = ObjectStats::default();
        for resource in catalog.resources().filter(|resource| resource.storage.is_none()) {
            let prefix = Key::prefix(resource.group, resource.name, None);
            let counted = snapshot.range(&prefix, None).fold(Stats::default(), |sum, (_, object)| Stats {
                objects: sum.objects + 1,
                bytes: sum.bytes + object.json().len() as u64,
            });
            stats.put(resource.group, resource.name, counted);
        }
        stats
    }

    fn put(&mut self, group: &str, resource: &str, stats: Stats) {
        self.0.entry(group.to_string()).or_default().insert(resource.to_string(), stats);
    }

    pub fn get(&self, group: &str, resource: &str) -> Option<Stats> {
        self.0.get(group)?.get(resource).copied()
    }

    /// Group, resource, what it has.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Stats)> {
        self.0
            .iter()
            .flat_map(|(group, of)| of.iter().map(move |(name, stats)| (group.as_str(), name.as_str(), *stats)))
    }
}

/// The most seats that one request of a level may take; 0 where the level sets no bound.
fn bound(level_max: u32, own_max: u32) -> u32 {
    if level_max == 0 { own_max } else { level_max.min(own_max) }
}

/// `watchers` is asked only for changes.
pub fn estimate(
    info: &RequestInfo,
    query: &Query,
    level_max: u32,
    stats: &ObjectStats,
    watchers: impl FnOnce() -> u32,
) -> Width {
    match info.verb {
        "list" | "watch" => list(info, query, bound(level_max, LIST_SEATS_MAX), stats),
        "create" | "update" | "patch" | "delete" => mutating(info, bound(level_max, MUTATING_SEATS_MAX), watchers),
        _ => Width::ONE,
    }
}

fn list(info: &RequestInfo, query: &Query, max: u32, stats: &ObjectStats) -> Width {
    if info.verb == "watch" && !starts_with_a_list(query) {
        return Width::ONE;
    }
    let Some(stats) = stats.get(&info.group, &info.resource).filter(|stats| stats.objects > 0) else {
        return Width::ONE;
    };
    let limit = query.text("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(u64::MAX);
    let objects = if info.name.is_empty() { stats.objects.min(limit) } else { 1 };
    let bytes = objects.saturating_mul(stats.bytes / stats.objects).min(LIST_BYTES_MAX);
    let seats = u32::try_from(bytes.div_ceil(BYTES_PER_SEAT)).unwrap_or(max);
    Width { initial: seats.min(max).max(1), ..Width::ONE }
}

fn starts_with_a_list(query: &Query) -> bool {
    query.is_true("sendInitialEvents") || matches!(query.text("resourceVersion"), "" | "0")
}

fn mutating(info: &RequestInfo, max: u32, watchers: impl FnOnce() -> u32) -> Width {
    // A token is nothing that a watcher sees.
    if info.resource == "serviceaccounts" && info.subresource == "token" {
        return Width::ONE;
    }
    let watchers = watchers();
    if watchers < WATCHES_PER_SEAT {
        return Width::ONE;
    }
    let last = watchers.div_ceil(WATCHES_PER_SEAT);
    Width { initial: 1, last, linger: EVENT_DURATION }.narrowed(max)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use http::Method;

    use super::*;

    fn check(method: Method, uri: &str, level_max: u32, watchers: u32, want: Expect) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = Query::parse(query);
        let info = RequestInfo::parse(&method, path, &query);
        let mut stats = ObjectStats::default();
        stats.put("", "pods", Stats { objects: 200, bytes: 200 * 4_000 });
        let Width { initial, last, linger } = estimate(&info, &query, level_max, &stats, || watchers);
        want.assert_eq(&format!("{initial} then {last} for {linger:?}"));
    }

    #[test]
    fn lists_are_as_wide_as_what_they_hold_in_memory() {
        check(Method::GET, "/api/v1/pods", 0, 0, expect!["8 then 0 for 0ns"]);
        check(Method::GET, "/api/v1/pods", 5, 0, expect!["5 then 0 for 0ns"]);
        check(Method::GET, "/api/v1/pods?limit=30", 0, 0, expect!["2 then 0 for 0ns"]);
        check(Method::GET, "/api/v1/pods?fieldSelector=metadata.name%3Dx", 0, 0, expect!["1 then 0 for 0ns"]);
        check(Method::GET, "/api/v1/nodes", 0, 0, expect!["1 then 0 for 0ns"]);
        check(Method::GET, "/api/v1/namespaces/a/pods/x", 0, 0, expect!["1 then 0 for 0ns"]);
    }

    #[test]
    fn a_watch_costs_a_list_if_it_begins_with_one() {
        check(Method::GET, "/api/v1/pods?watch=1", 0, 0, expect!["8 then 0 for 0ns"]);
        check(Method::GET, "/api/v1/pods?watch=1&resourceVersion=7", 0, 0, expect!["1 then 0 for 0ns"]);
        let from = "/api/v1/pods?watch=1&resourceVersion=7&sendInitialEvents=true";
        check(Method::GET, from, 0, 0, expect!["8 then 0 for 0ns"]);
    }

    #[test]
    fn changes_that_many_watch_hold_seats_afterwards() {
        let pods = "/api/v1/namespaces/a/pods";
        check(Method::POST, pods, 0, 9, expect!["1 then 0 for 0ns"]);
        check(Method::POST, pods, 0, 25, expect!["1 then 3 for 5ms"]);
        check(Method::POST, pods, 0, 200, expect!["1 then 10 for 10ms"]);
        check(Method::POST, "/api/v1/namespaces/a/serviceaccounts/x/token", 0, 200, expect!["1 then 0 for 0ns"]);
    }
}
