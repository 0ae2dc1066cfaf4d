//! `/healthz`, `/livez`, `/readyz`: each with its checks, and each check under a path of its own.

use std::collections::BTreeMap;
use std::fmt::Write;

use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use rt::exposition::head;

use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::server::Inner;

struct Check {
    /// Upstream's names: tools ask for them.
    name: &'static str,
    /// The endpoints that have it.
    at: &'static [&'static str],
    passes: fn(&Inner) -> bool,
}

const EVERYWHERE: &[&str] = &["healthz", "livez", "readyz"];

/// A server listens only when all that its start writes is written: what upstream does after the start has been done.
const CHECKS: &[Check] = &[
    Check { name: "ping", at: EVERYWHERE, passes: |_| true },
    Check { name: "log", at: EVERYWHERE, passes: |_| true },
    // Upstream asks its store for readiness under the other name.
    Check { name: "etcd", at: &["healthz", "livez"], passes: |server| server.store.revision().0 > 0 },
    Check { name: "etcd-readiness", at: &["readyz"], passes: |server| server.store.revision().0 > 0 },
    Check { name: "informer-sync", at: &["readyz"], passes: |_| true },
    Check { name: "poststarthook/rbac/bootstrap-roles", at: EVERYWHERE, passes: |_| true },
    Check { name: "poststarthook/scheduling/bootstrap-system-priority-classes", at: EVERYWHERE, passes: |_| true },
    Check { name: "poststarthook/priority-and-fairness-config-producer", at: EVERYWHERE, passes: |_| true },
    Check { name: "poststarthook/priority-and-fairness-config-consumer", at: EVERYWHERE, passes: |_| true },
    Check { name: "shutdown", at: &["readyz"], passes: |server| !server.tasks.token().is_cancelled() },
];

/// What checks came to, whenever they were asked for: `/metrics/slis`.
#[derive(Default)]
pub struct Results(Mutex<BTreeMap<(&'static str, &'static str), Outcome>>);

#[derive(Clone, Copy, Default)]
struct Outcome {
    passed: u64,
    failed: u64,
    last: bool,
}

impl Results {
    /// Counts one, and gives it back.
    fn note(&self, check: &Check, endpoint: &str, passes: bool) -> bool {
        let Some(endpoint) = check.at.iter().find(|at| **at == endpoint) else { return passes };
        let mut results = self.0.lock();
        let result = results.entry((check.name, endpoint)).or_default();
        result.last = passes;
        *(if passes { &mut result.passed } else { &mut result.failed }) += 1;
        passes
    }

    pub fn response(&self) -> Response<Body> {
        let (mut out, results) = (String::new(), self.0.lock().clone());
        let name = "kubernetes_healthcheck";
        head(&mut out, name, "gauge", "What each check came to when it was last asked for.");
        for ((check, endpoint), result) in &results {
            let _ = writeln!(out, "{name}{{name=\"{check}\",type=\"{endpoint}\"}} {}", u8::from(result.last));
        }
        let name = "kubernetes_healthchecks_total";
        head(&mut out, name, "counter", "How often each check passed and failed.");
        for ((check, endpoint), result) in &results {
            for (status, count) in [("success", result.passed), ("error", result.failed)] {
                if count > 0 {
                    let labels = format!("name=\"{check}\",status=\"{status}\",type=\"{endpoint}\"");
                    let _ = writeln!(out, "{name}{{{labels}}} {count}");
                }
            }
        }
        encode::plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", out.into())
    }
}

/// Nothing for a check that is not there.
pub fn run(server: &Inner, call: &Call) -> Option<Response<Body>> {
    let path = call.info.path.trim_matches('/');
    let (endpoint, only) = path.split_once('/').unwrap_or((path, ""));
    let mut chosen = CHECKS.iter().filter(|check| check.at.contains(&endpoint));
    if only.is_empty() {
        return Some(all(server, call, endpoint, &chosen.collect::<Vec<_>>()));
    }
    let check = chosen.find(|check| check.name == only)?;
    Some(match server.metrics.health.note(check, endpoint, (check.passes)(server)) {
        true => text(StatusCode::OK, "ok".into()),
        false => text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: not healthy\n".into()),
    })
}

fn all(server: &Inner, call: &Call, endpoint: &str, checks: &[&Check]) -> Response<Body> {
    let excluded: Vec<&str> = call.query.all("exclude").collect();
    let (mut report, mut healthy) = (String::new(), true);
    for check in checks {
        let name = check.name;
        if excluded.contains(&name) {
            report += &format!("[+]{name} excluded: ok\n");
        } else if server.metrics.health.note(check, endpoint, (check.passes)(server)) {
            report += &format!("[+]{name} ok\n");
        } else {
            healthy = false;
            report += &format!("[-]{name} failed: reason withheld\n");
        }
    }
    let known = |name: &&&str| !checks.iter().any(|check| check.name == **name);
    let unknown: Vec<String> = excluded.iter().filter(known).map(|name| format!("{name:?}")).collect();
    if !unknown.is_empty() {
        let names = unknown.join(",");
        report += &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
    }
    match (healthy, call.query.has("verbose")) {
        (true, false) => text(StatusCode::OK, "ok".into()),
        (true, true) => text(StatusCode::OK, format!("{report}{endpoint} check passed\n")),
        (false, _) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{endpoint} check failed\n")),
    }
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    let mut response = encode::plain(code, "text/plain; charset=utf-8", text.into());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
