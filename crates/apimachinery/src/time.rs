//! Times as they stand in objects.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// `Time`: whole seconds.
pub fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `MicroTime`: always six digits.
pub fn format_micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Either of the two.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Seconds since the epoch of the time that lies there.
pub fn seconds(value: &Value) -> Option<i64> {
    Some(parse(value.as_str()?)?.as_second())
}

/// The time that `duration` later will be.
pub fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_micros_have_six_digits() {
        let time: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
        assert_eq!(format(time), "2026-01-02T03:04:05Z");
        assert_eq!(format_micro(time), "2026-01-02T03:04:05.600000Z");
        assert_eq!(parse("2026-01-02T05:04:05+02:00").map(format), Some("2026-01-02T03:04:05Z".into()));
    }
}
