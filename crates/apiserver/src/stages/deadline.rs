//! How long a request may take.

use std::time::Duration;

use apimachinery::Status;

use crate::call::Call;
use crate::query::Query;

/// Upstream's `--request-timeout`.
pub const LIMIT_MAX: Duration = Duration::from_secs(60);

/// What the query asks for, at most the server's own limit; none when it cannot be read.
pub fn limit(query: &Query) -> Option<Duration> {
    let text = query.text("timeout");
    if text.is_empty() {
        return Some(LIMIT_MAX);
    }
    let asked = parse(text)?;
    Some(if asked.is_zero() { LIMIT_MAX } else { asked.min(LIMIT_MAX) })
}

/// Refuses a limit that cannot be read.
pub fn check(call: &Call) -> Result<(), Status> {
    if call.info.long_running() || limit(&call.query).is_some() {
        return Ok(());
    }
    let text = call.query.text("timeout");
    Err(Status::bad_request(format!("invalid timeout specified in the request URL: {text}")))
}

/// A duration as Go writes it: `1h15m30.5s`, `300ms`, `0`. Not a negative one.
fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text.strip_prefix('+').unwrap_or(text), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        sum += number * unit(&rest[..end])?;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(sum).ok()
}

fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "ns" => 1e-9,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_go_durations_within_the_servers() {
        let limit = |text: &str| limit(&Query::parse(text)).map(|limit| limit.as_secs_f64());
        assert_eq!(limit(""), Some(60.0));
        assert_eq!(limit("timeout=0"), Some(60.0));
        assert_eq!(limit("timeout=0s"), Some(60.0));
        assert_eq!(limit("timeout=1m30s"), Some(60.0));
        assert_eq!(limit("timeout=1.5s"), Some(1.5));
        assert_eq!(limit("timeout=300ms"), Some(0.3));
        assert_eq!(limit("timeout=30"), None);
        assert_eq!(limit("timeout=-1s"), None);
        assert_eq!(limit("timeout=s"), None);
    }
}
