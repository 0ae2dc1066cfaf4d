//! A cron line, and when it is next due.
//!
//! Own code rather than a library's: what Kubernetes means by a line, by its stars, by `@every` and by an hour that a
//! clock skips or repeats, is what its users' schedules rely on.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, Timestamp, ToSpan, Unit, Zoned, ZonedRound};

/// A line that is never due is not looked at further ahead.
const YEARS_AHEAD: i16 = 5;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    Every(SignedDuration),
    Fields(Fields),
}

/// Bits of the values that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days must fit when one of them was left open; otherwise one is enough.
    day_is_open: bool,
    zone: TimeZone,
}

impl Schedule {
    pub fn parse(line: &str, zone: TimeZone) -> Result<Schedule, String> {
        if let Some(duration) = line.strip_prefix("@every ") {
            let every = seconds(duration).ok_or_else(|| format!("failed to parse duration {line}"))?;
            return Ok(Schedule::Every(SignedDuration::from_secs(every.max(1))));
        }
        let line = match line {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return Err(format!("unrecognized descriptor: {other}")),
            other => other,
        };
        Fields::parse(line, zone).map(Schedule::Fields)
    }

    /// The first time after `after`. `None`: never, as far as one looks.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let second = Timestamp::from_second(after.as_second()).ok()?;
        match self {
            Schedule::Every(every) => second.checked_add(*every).ok(),
            Schedule::Fields(fields) => fields.next(second),
        }
    }
}

impl Fields {
    fn parse(line: &str, zone: TimeZone) -> Result<Fields, String> {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: {parts:?}", parts.len()));
        };
        Ok(Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            // Seven is Sunday as well.
            weekdays: field(weekdays, 0, 7, &DAYS).map(|bits| bits | (bits >> 7))?,
            day_is_open: is_open(days) || is_open(weekdays),
            zone,
        })
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let minute = ZonedRound::new().smallest(Unit::Minute).mode(RoundMode::Trunc);
        let mut at = (after + SignedDuration::from_secs(60)).to_zoned(self.zone.clone()).round(minute).ok()?;
        let last_year = at.year().checked_add(YEARS_AHEAD)?;
        while at.year() <= last_year {
            at = match self.later(&at).ok()? {
                None => return Some(at.timestamp()),
                Some(later) => later,
            };
        }
        None
    }

    /// Where to look next. `None`: this is it. Hours and minutes are stepped through as they pass, so that an hour that
    /// the clock skips is skipped, and one that it repeats comes twice.
    fn later(&self, at: &Zoned) -> Result<Option<Zoned>, jiff::Error> {
        let has = |bits: u64, value: i8| bits & (1 << value) != 0;
        if !has(self.months, at.month()) {
            return at.first_of_month()?.checked_add(1.month())?.start_of_day().map(Some);
        }
        if !self.fits_day(at) {
            return at.tomorrow()?.start_of_day().map(Some);
        }
        if !has(self.hours, at.hour()) {
            let left = 60 - i64::from(at.minute());
            return at.checked_add(SignedDuration::from_mins(left)).map(Some);
        }
        if !has(self.minutes, at.minute()) {
            return at.checked_add(SignedDuration::from_mins(1)).map(Some);
        }
        Ok(None)
    }

    fn fits_day(&self, at: &Zoned) -> bool {
        let day = self.days & (1 << at.day()) != 0;
        let weekday = self.weekdays & (1 << Weekday::to_sunday_zero_offset(at.weekday())) != 0;
        if self.day_is_open { day && weekday } else { day || weekday }
    }
}

/// The whole seconds of a duration like `1h30m` or `1.5h`.
fn seconds(mut text: &str) -> Option<i64> {
    let mut total = 0.0;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(digits);
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        text = &rest[unit..];
    }
    SignedDuration::try_from_secs_f64(total).ok().map(|duration| duration.as_secs())
}

/// A star or a question mark, without a step.
fn is_open(field: &str) -> bool {
    field.split(',').any(|part| matches!(part, "*" | "?" | "*/1" | "?/1"))
}

fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<u64, String> {
    text.split(',').try_fold(0, |bits, part| Ok(bits | range(part, low, high, names)?))
}

fn range(part: &str, low: u32, high: u32, names: &[&str]) -> Result<u64, String> {
    let (span, step) = part.split_once('/').map_or((part, None), |(span, step)| (span, Some(step)));
    let number = |text: &str| number(text, names, low);
    let (from, to) = match (span, span.split_once('-')) {
        // Sunday is not to be named twice.
        ("*" | "?", _) => (low, if high == 7 { 6 } else { high }),
        (_, Some((from, to))) => (number(from)?, number(to)?),
        // A start with a step goes on to the end.
        (single, None) => (number(single)?, if step.is_some() { high } else { number(single)? }),
    };
    let step = step.map_or(Ok(1), number)?;
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if from < low || to > high || from > to {
        return Err(format!("range out of bounds ({low}-{high}): {part}"));
    }
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok((from..=to).step_by(step).fold(0, |bits, value| bits | (1 << value)))
}

fn number(text: &str, names: &[&str], first: u32) -> Result<u32, String> {
    let lower = text.to_lowercase();
    let named = names.iter().position(|name| *name == lower).and_then(|place| u32::try_from(place).ok());
    let named = named.map(|place| place + first);
    named.or_else(|| text.parse().ok()).ok_or_else(|| format!("failed to parse int from {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// The next three times after 2027-01-15 (a Friday), 08:00:30.
    fn check(line: &str, want: Expect) {
        check_in("UTC", line, "2027-01-15T08:00:30Z", want);
    }

    fn check_in(zone: &str, line: &str, after: &str, want: Expect) {
        let zone = TimeZone::get(zone).expect("a zone");
        let found = Schedule::parse(line, zone.clone()).map(|schedule| {
            let mut at = after.parse::<Timestamp>().expect("a time");
            let mut times = Vec::new();
            for _ in 0..3 {
                let Some(next) = schedule.next(at) else { break };
                times.push(next.to_zoned(zone.clone()).strftime("%a %F %T %:z").to_string());
                at = next;
            }
            times.join("\n")
        });
        want.assert_eq(&found.unwrap_or_else(|error| error));
    }

    #[test]
    fn lines_are_due_when_every_field_fits() {
        check(
            "*/20 * * * *",
            expect![[r#"
            Fri 2027-01-15 08:20:00 +00:00
            Fri 2027-01-15 08:40:00 +00:00
            Fri 2027-01-15 09:00:00 +00:00"#]],
        );
        check(
            "5,30-31 9 * jan-feb mon",
            expect![[r#"
            Mon 2027-01-18 09:05:00 +00:00
            Mon 2027-01-18 09:30:00 +00:00
            Mon 2027-01-18 09:31:00 +00:00"#]],
        );
        check(
            "0 0 29 2 *",
            expect!["Tue 2028-02-29 00:00:00 +00:00\nSun 2032-02-29 00:00:00 +00:00\nFri 2036-02-29 00:00:00 +00:00"],
        );
        check("0 0 31 2 *", expect![""]);
    }

    #[test]
    fn one_of_two_days_is_enough_unless_one_is_open() {
        check(
            "0 0 20 * 0",
            expect![[r#"
            Sun 2027-01-17 00:00:00 +00:00
            Wed 2027-01-20 00:00:00 +00:00
            Sun 2027-01-24 00:00:00 +00:00"#]],
        );
        check(
            "0 0 ? * 7",
            expect![[r#"
            Sun 2027-01-17 00:00:00 +00:00
            Sun 2027-01-24 00:00:00 +00:00
            Sun 2027-01-31 00:00:00 +00:00"#]],
        );
    }

    #[test]
    fn names_stand_for_lines_and_durations() {
        check(
            "@monthly",
            expect!["Mon 2027-02-01 00:00:00 +00:00\nMon 2027-03-01 00:00:00 +00:00\nThu 2027-04-01 00:00:00 +00:00"],
        );
        check(
            "@every 1h30m",
            expect!["Fri 2027-01-15 09:30:30 +00:00\nFri 2027-01-15 11:00:30 +00:00\nFri 2027-01-15 12:30:30 +00:00"],
        );
        check("@never", expect!["unrecognized descriptor: @never"]);
        check("* * *", expect![[r#"expected exactly 5 fields, found 3: ["*", "*", "*"]"#]]);
        check("60 * * * *", expect!["range out of bounds (0-59): 60"]);
    }

    #[test]
    fn an_hour_that_is_skipped_is_skipped_and_one_that_is_repeated_comes_twice() {
        check_in(
            "Europe/Berlin",
            "30 2 * * *",
            "2027-03-27T12:00:00Z",
            expect![[r#"
            Mon 2027-03-29 02:30:00 +02:00
            Tue 2027-03-30 02:30:00 +02:00
            Wed 2027-03-31 02:30:00 +02:00"#]],
        );
        check_in(
            "Europe/Berlin",
            "30 2 * * *",
            "2027-10-30T12:00:00Z",
            expect![[r#"
            Sun 2027-10-31 02:30:00 +02:00
            Sun 2027-10-31 02:30:00 +01:00
            Mon 2027-11-01 02:30:00 +01:00"#]],
        );
    }
}
