//! Throughput by `wrk`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use e2e::cluster::succeeded;

/// Of each load of a throughput.
const LOAD_SECONDS: u64 = 5;

pub const CREATE: &str = r#"
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"generateName":"load-"},"data":{"key":"value"}}'
"#;

/// Requests per second, of which every one went well.
pub fn wrk(url: &str, token: &str, script: Option<&Path>) -> Result<String> {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        "-c32",
        &format!("-d{LOAD_SECONDS}s"),
        "--latency",
        "-H",
        &format!("Authorization: Bearer {token}"),
    ]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let text = succeeded("wrk", &command.arg(url).output()?)?;
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim).unwrap_or("?");
    ensure!(!text.contains("Non-2xx"), "requests to {url} failed:\n{text}");
    if text.contains("Socket errors") {
        eprintln!("note: {url}: {}", value("Socket errors:"));
    }
    Ok(format!("{} /s (p50 {}, p99 {})", value("Requests/sec:"), value("50%"), value("99%")))
}
