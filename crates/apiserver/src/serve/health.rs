//! `/healthz`, `/livez`, `/readyz`.

use apimachinery::Status;
use http::{Response, StatusCode};

use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::server::Inner;

struct Check {
    name: &'static str,
    passes: fn(&Inner) -> bool,
}

const CHECKS: &[Check] = &[
    Check { name: "ping", passes: |_| true },
    Check { name: "log", passes: |_| true },
    Check { name: "store", passes: |server| server.store.revision().0 > 0 },
    Check { name: "shutdown", passes: |server| !server.tasks.token().is_cancelled() },
];

pub fn run(server: &Inner, call: &Call) -> Result<Response<Body>, Status> {
    let mut segments = call.info.path.split('/').filter(|segment| !segment.is_empty());
    let endpoint = segments.next().unwrap_or_default();
    let only = segments.next();
    let excluded: Vec<&str> = call.query.all("exclude").collect();
    let chosen: Vec<&Check> = CHECKS.iter().filter(|check| only.is_none_or(|name| name == check.name)).collect();
    if chosen.is_empty() {
        return Err(Status::path_not_found());
    }
    let mut report = String::new();
    let mut healthy = true;
    for check in chosen {
        if excluded.contains(&check.name) {
            report += &format!("[+]{} excluded: ok\n", check.name);
        } else if (check.passes)(server) {
            report += &format!("[+]{} ok\n", check.name);
        } else {
            healthy = false;
            report += &format!("[-]{} failed: reason withheld\n", check.name);
        }
    }
    let verbose = call.query.has("verbose");
    Ok(match (healthy, verbose) {
        (true, false) => text(StatusCode::OK, "ok".into()),
        (true, true) => text(StatusCode::OK, format!("{report}{endpoint} check passed\n")),
        (false, _) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{endpoint} check failed\n")),
    })
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    encode::plain(code, "text/plain; charset=utf-8", text.into())
}
