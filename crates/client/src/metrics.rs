//! What is counted of requests to an API server elsewhere, under upstream's names. One table for the process.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;
use rt::exposition::{Histogram, head};

const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// By host and method.
type Key = (String, String);

#[derive(Default)]
struct Table {
    /// By code; `<error>` where there was no answer.
    results: BTreeMap<Key, BTreeMap<String, u64>>,
    seconds: BTreeMap<Key, Histogram>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { results: BTreeMap::new(), seconds: BTreeMap::new() });

/// A request ended, with a code if it was answered.
pub(crate) fn count(host: &str, method: &str, code: Option<u16>, took: Duration) {
    let key = || (host.to_owned(), method.to_owned());
    let mut table = TABLE.lock();
    let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
    *table.results.entry(key()).or_default().entry(code).or_default() += 1;
    table.seconds.entry(key()).or_insert_with(|| Histogram::new(SECONDS)).observe(took.as_secs_f64());
}

/// The text of all families; nothing before the first request.
pub fn write_metrics(out: &mut String) {
    let table = TABLE.lock();
    if table.results.is_empty() {
        return;
    }
    let name = "rest_client_requests_total";
    head(out, name, "counter", "Number of HTTP requests, by status code, method and host.");
    for ((host, method), codes) in &table.results {
        for (code, count) in codes {
            let _ = writeln!(out, "{name}{{code=\"{code}\",host=\"{host}\",method=\"{method}\"}} {count}");
        }
    }
    let name = "rest_client_request_duration_seconds";
    head(out, name, "histogram", "Request latency in seconds, by verb and host.");
    for ((host, verb), seconds) in &table.seconds {
        seconds.write(name, &format!("host=\"{host}\",verb=\"{verb}\""), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_by_code_method_and_host() {
        count("example:6443", "GET", Some(200), Duration::from_millis(10));
        count("example:6443", "GET", None, Duration::from_millis(10));
        let mut text = String::new();
        write_metrics(&mut text);
        for line in [
            "rest_client_requests_total{code=\"200\",host=\"example:6443\",method=\"GET\"} 1",
            "rest_client_requests_total{code=\"<error>\",host=\"example:6443\",method=\"GET\"} 1",
            "rest_client_request_duration_seconds_count{host=\"example:6443\",verb=\"GET\"} 2",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}");
        }
    }
}
