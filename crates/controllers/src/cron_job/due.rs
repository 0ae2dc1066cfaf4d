//! Which start of a schedule is due, and when the next one is.

use std::time::Duration;

use api::batchv1::CronJob;
use jiff::{SignedDuration, Timestamp};

use super::schedule::Schedule;

/// More missed starts mean that something is wrong.
const MISSED_MAX: i64 = 100;
/// A little after the time, so that the clock has surely reached it.
const DELTA: SignedDuration = SignedDuration::from_millis(100);

/// The starts since the last one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The newest that is due.
    pub at: Option<Timestamp>,
    pub missed: bool,
    pub missed_many: bool,
}

/// From when on starts are looked at.
fn earliest(cron_job: &CronJob, deadline: Option<i64>, now: Timestamp) -> Timestamp {
    let created = cron_job.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let earliest = last.map_or(created, |time| time.0);
    let oldest = deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    oldest.map_or(earliest, |oldest| oldest.max(earliest))
}

pub(super) fn due(cron_job: &CronJob, schedule: &Schedule, now: Timestamp) -> Result<Due, &'static str> {
    let deadline = cron_job.spec.starting_deadline_seconds;
    since(earliest(cron_job, deadline, now), schedule, now)
}

fn since(earliest: Timestamp, schedule: &Schedule, now: Timestamp) -> Result<Due, &'static str> {
    let Some(first) = schedule.next(earliest).filter(|first| *first <= now) else { return Ok(Due::default()) };
    let Some(second) = schedule.next(first).filter(|second| *second <= now) else {
        return Ok(Due { at: Some(first), ..Due::default() });
    };
    let between = second.duration_since(first).as_secs();
    if between < 1 {
        return Err("time difference between two schedules is less than 1 second");
    }
    let missed = now.duration_since(first).as_secs() / between + 1;
    // Two steps back from what an even schedule would give, then step by step.
    let near = first + SignedDuration::from_secs((missed - 2) * between);
    let mut at = None;
    let mut next = schedule.next(near);
    while let Some(time) = next.filter(|time| *time <= now) {
        at = Some(time);
        next = schedule.next(time);
    }
    Ok(Due { at, missed: true, missed_many: missed > MISSED_MAX })
}

/// How long until the schedule is to be looked at again.
pub(super) fn wait(cron_job: &CronJob, schedule: &Schedule, now: Timestamp) -> Option<Duration> {
    let earliest = earliest(cron_job, None, now);
    let from = match since(earliest, schedule, now) {
        Ok(Due { at: Some(at), .. }) => at,
        Ok(Due { missed: false, .. }) => earliest,
        _ => now,
    };
    Some(Duration::try_from(schedule.next(from)? + DELTA - now).unwrap_or_default())
}
