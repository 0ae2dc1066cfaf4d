//! Timestamps and durations, with Go's notation of durations.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::Answer;
use crate::errors::EvalError;
use crate::value::Value;

/// From year 1 to year 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

pub fn from_seconds(seconds: i64) -> Option<Timestamp> {
    SECONDS.contains(&seconds).then(|| Timestamp::from_second(seconds).ok()).flatten()
}

pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let shape = text.len() >= 20 && text.as_bytes()[10] == b'T' && !text.contains('[');
    shape.then(|| text.parse().ok()).flatten().filter(|at: &Timestamp| SECONDS.contains(&at.as_second()))
}

/// A date, or a date with a time, as schemas have them.
pub fn parse_date_or_time(text: &str) -> Option<Timestamp> {
    let date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    if text.len() == 10 { date() } else { parse_timestamp(text) }
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// In nanoseconds: `1h30m`, `-1.5s`, `0`.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let (nanos, after) = duration_part(rest)?;
        total = total.checked_add(nanos)?;
        rest = after;
        if rest.is_empty() {
            return i64::try_from(sign * total).ok();
        }
    }
}

fn duration_part(text: &str) -> Option<(i128, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let fraction: String = fraction.chars().take(18).collect();
    let divisor = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let nanos = parse(whole)?.checked_mul(i128::from(*scale))? + parse(&fraction)? * i128::from(*scale) / divisor;
    Some((nanos, after))
}

/// As schemas have durations: Go's notation, or a number and a unit in words.
pub fn parse_long_duration(text: &str) -> Option<i64> {
    parse_duration(text).or_else(|| {
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = text[..split].parse().ok()?;
        let scale = match text[split..].trim() {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
            "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000_000_000,
            "d" | "day" | "days" => 86_400_000_000_000,
            "w" | "week" | "weeks" => 604_800_000_000_000,
            _ => return None,
        };
        number.checked_mul(scale)
    })
}

pub fn timestamp_text(at: Timestamp) -> String {
    at.to_string()
}

/// In seconds, as `string(duration)` prints it.
pub fn duration_text(nanos: i64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).abs());
    if rest == 0 {
        return format!("{seconds}s");
    }
    let sign = if nanos < 0 && seconds == 0 { "-" } else { "" };
    format!("{sign}{seconds}.{}s", format!("{rest:09}").trim_end_matches('0'))
}

pub fn arithmetic<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    match (function, args) {
        ("_+_", [Value::Duration(a), Value::Duration(b)]) => Some(duration(a.checked_add(*b))),
        ("_-_", [Value::Duration(a), Value::Duration(b)]) => Some(duration(a.checked_sub(*b))),
        ("_+_", [Value::Timestamp(at), Value::Duration(by)] | [Value::Duration(by), Value::Timestamp(at)]) => {
            Some(shifted(*at, SignedDuration::from_nanos(*by)))
        }
        ("_-_", [Value::Timestamp(at), Value::Duration(by)]) => Some(shifted(*at, -SignedDuration::from_nanos(*by))),
        ("_-_", [Value::Timestamp(a), Value::Timestamp(b)]) => {
            let nanos = a.as_nanosecond() - b.as_nanosecond();
            Some(duration(i64::try_from(nanos).ok()))
        }
        _ => None,
    }
}

fn duration<'a>(nanos: Option<i64>) -> Result<Value<'a>, EvalError> {
    nanos.map(Value::Duration).ok_or(EvalError::DurationOverflow)
}

fn shifted<'a>(at: Timestamp, by: SignedDuration) -> Result<Value<'a>, EvalError> {
    let moved = at.checked_add(by).ok().filter(|at| SECONDS.contains(&at.as_second()));
    moved.map(Value::Timestamp).ok_or(EvalError::TimestampOverflow)
}

pub fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    let (at, zone) = match args {
        [Value::Duration(nanos)] => return of_duration(function, *nanos),
        [Value::Timestamp(at)] => (*at, TimeZone::UTC),
        [Value::Timestamp(at), Value::String(name)] => match zone(name) {
            Some(zone) => (*at, zone),
            None => return Some(Err(EvalError::message(format!("unknown time zone {}", &**name)))),
        },
        _ => return None,
    };
    of_timestamp(function, &at.to_zoned(zone)).map(|number| Ok(Value::Int(number)))
}

/// A name of the time zone database, or an offset such as `-02:00`.
fn zone(name: &str) -> Option<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return if name.is_empty() { Some(TimeZone::UTC) } else { TimeZone::get(name).ok() };
    };
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    let seconds = hours.trim_start_matches(['-', '+']).parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Offset::from_seconds(sign * seconds).ok().map(TimeZone::fixed)
}

fn of_duration<'a>(function: &str, nanos: i64) -> Answer<'a> {
    Some(Ok(Value::Int(match function {
        "getHours" => nanos / 3_600_000_000_000,
        "getMinutes" => nanos / 60_000_000_000,
        "getSeconds" => nanos / 1_000_000_000,
        "getMilliseconds" => nanos / 1_000_000 % 1000,
        _ => return None,
    })))
}

/// Months, days and days of the year count from 0; `getDate` counts from 1; a week starts on Sunday.
fn of_timestamp(function: &str, at: &Zoned) -> Option<i64> {
    Some(match function {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return None,
    })
}
