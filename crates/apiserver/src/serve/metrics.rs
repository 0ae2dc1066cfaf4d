//! `/metrics`: requests by verb, resource and code, in the text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

use http::{Response, StatusCode};
use parking_lot::Mutex;

use crate::body::Body;
use crate::call::Call;
use crate::encode;
use crate::server::Inner;

/// Verb, resource, group, code.
type Labels = (&'static str, String, String, u16);

#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Labels, u64>>,
}

impl Metrics {
    pub fn count(&self, call: &Call, code: StatusCode) {
        let known = call.catalog.find(&call.info.group, &call.info.version, &call.info.resource);
        // Only names of the catalog become labels: callers cannot fill the table with names of their own.
        let (resource, group) = known.map_or(("", ""), |resource| (resource.name, resource.group));
        let key = (call.info.verb, resource.to_string(), group.to_string(), code.as_u16());
        *self.requests.lock().entry(key).or_default() += 1;
    }

    pub fn response(&self, server: &Inner) -> Response<Body> {
        let mut text = String::from(
            "# HELP apiserver_request_total Requests by verb, resource and code.\n# TYPE apiserver_request_total counter\n",
        );
        for ((verb, resource, group, code), count) in self.requests.lock().iter() {
            let verb = verb.to_uppercase();
            let written = writeln!(
                text,
                "apiserver_request_total{{code=\"{code}\",group=\"{group}\",resource=\"{resource}\",verb=\"{verb}\"}} {count}"
            );
            written.expect("memory does not fail");
        }
        server.flow.write_metrics(&mut text);
        encode::plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
    }
}
