//! What a CronJob needs, decided from what was seen.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::batchv1::{CronJob, CronJobSpec, CronJobStatus, Job};
use api::corev1::ObjectReference;
use api::metav1::{ObjectMeta, Time};
use client::Object;
use client::events::{EventType, reference as object_reference};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::due;
use super::schedule::Schedule;
use crate::job::finished;
use crate::ownership::reference;
use crate::pods::is_deleted;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// A snapshot of what concerns one CronJob.
pub(super) struct Observed<'a> {
    pub cron_job: &'a CronJob,
    /// Those it controls.
    pub jobs: &'a [Arc<Job>],
    /// UIDs of active Jobs that are gone.
    pub missing: HashSet<String>,
    pub now: Timestamp,
}

#[derive(Debug, PartialEq)]
pub(super) struct Note {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Default)]
pub(super) struct Plan {
    pub notes: Vec<Note>,
    /// Without the Job that is started now.
    pub status: CronJobStatus,
    /// Active Jobs that make room for the next one.
    pub replace: Vec<ObjectReference>,
    pub start: Option<Start>,
    /// Finished Jobs beyond the limits.
    pub forget: Vec<Arc<Job>>,
    pub check_again: Option<Duration>,
}

pub(super) struct Start {
    pub job: Box<Job>,
    pub at: Timestamp,
}

impl Plan {
    fn note(&mut self, kind: EventType, reason: &'static str, message: impl Into<String>) {
        self.notes.push(Note { kind, reason, message: message.into() });
    }

    fn warn(&mut self, reason: &'static str, message: impl Into<String>) {
        self.note(EventType::Warning, reason, message);
    }
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let status = observed.cron_job.status.clone().unwrap_or_default();
    let mut plan = Plan { status, ..Plan::default() };
    follow(observed, &mut plan);
    let spec = &observed.cron_job.spec;
    if !is_deleted(&observed.cron_job.metadata) && spec.suspend != Some(true) {
        start(observed, spec, &mut plan);
    }
    plan.forget = beyond_limits(spec, observed.jobs);
    plan
}

pub(super) fn is_active(status: &CronJobStatus, uid: &str) -> bool {
    status.active.iter().flatten().any(|active| active.uid.as_deref() == Some(uid))
}

/// Brings the list of active Jobs up to date.
fn follow(observed: &Observed<'_>, plan: &mut Plan) {
    for job in observed.jobs {
        let listed = is_active(&plan.status, job.uid());
        match finished(job) {
            None if !listed => {
                let message = format!("Saw a job that the controller did not create or forgot: {}", job.name());
                plan.warn("UnexpectedJob", message);
            }
            Some(condition) if listed => {
                let message = format!("Saw completed job: {}, condition: {}", job.name(), condition.type_);
                plan.note(EventType::Normal, "SawCompletedJob", message);
                drop_active(&mut plan.status, job.uid());
            }
            _ => {}
        }
        let success = finished(job).is_some_and(|condition| condition.type_ == "Complete");
        let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
        if success && completed > plan.status.last_successful_time {
            plan.status.last_successful_time = completed;
        }
    }
    for active in plan.status.active.clone().unwrap_or_default() {
        let uid = active.uid.unwrap_or_default();
        if observed.missing.contains(&uid) {
            let message = format!("Active job went missing: {}", active.name.unwrap_or_default());
            plan.note(EventType::Normal, "MissingJob", message);
            drop_active(&mut plan.status, &uid);
        }
    }
}

pub(super) fn drop_active(status: &mut CronJobStatus, uid: &str) {
    let active = status.active.get_or_insert_default();
    active.retain(|active| active.uid.as_deref() != Some(uid));
    status.active = status.active.take().filter(|active| !active.is_empty());
}

fn start(observed: &Observed<'_>, spec: &CronJobSpec, plan: &mut Plan) {
    let (cron_job, now) = (observed.cron_job, observed.now);
    let Some((zone, schedule)) = schedule(spec, plan) else { return };
    let due = match due::due(cron_job, &schedule, now) {
        Ok(due) => due,
        Err(error) => return plan.warn("InvalidSchedule", format!("invalid schedule: {} : {error}", spec.schedule)),
    };
    plan.check_again = due::wait(cron_job, &schedule, now);
    if due.missed_many {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.warn("TooManyMissedTimes", message);
    }
    let Some(at) = due.at else { return };
    let deadline = spec.starting_deadline_seconds.map(|seconds| at + SignedDuration::from_secs(seconds));
    if deadline.is_some_and(|deadline| deadline < now) {
        let time = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
        return plan.warn("MissSchedule", format!("Missed scheduled time to start a job: {time}"));
    }
    if !is_started(&plan.status, &job_name(cron_job, at), at) && may_start(spec, plan) {
        plan.start = Some(Start { job: Box::new(new_job(cron_job, spec, at, zone)), at });
    }
}

/// The schedule in its zone, or a warning.
fn schedule(spec: &CronJobSpec, plan: &mut Plan) -> Option<(TimeZone, Schedule)> {
    let zone = match spec.time_zone.as_deref() {
        None => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|error| (name, error)),
    };
    let zone = match zone {
        Ok(zone) => zone,
        Err((name, error)) => {
            plan.warn("UnknownTimeZone", format!("invalid timeZone: {name:?}: {error}"));
            return None;
        }
    };
    match Schedule::parse(&spec.schedule, zone.clone()) {
        Ok(schedule) => Some((zone, schedule)),
        Err(error) => {
            plan.warn("UnparseableSchedule", format!("unparseable schedule: {:?} : {error}", spec.schedule));
            None
        }
    }
}

fn is_started(status: &CronJobStatus, name: &str, at: Timestamp) -> bool {
    let listed = status.active.iter().flatten().any(|active| active.name.as_deref() == Some(name));
    listed || status.last_schedule_time.as_ref().is_some_and(|time| time.0 == at)
}

fn may_start(spec: &CronJobSpec, plan: &mut Plan) -> bool {
    let active = plan.status.active.clone().unwrap_or_default();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.note(EventType::Normal, "JobAlreadyActive", message);
            return false;
        }
        Some("Replace") => plan.replace = active,
        _ => {}
    }
    true
}

/// The same for every attempt at one start: a second one finds the first one's Job.
fn job_name(cron_job: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron_job.name(), at.as_second() / 60)
}

fn new_job(cron_job: &CronJob, spec: &CronJobSpec, at: Timestamp, zone: TimeZone) -> Job {
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = template.annotations.unwrap_or_default();
    let local = at.to_zoned(zone);
    let offset = if local.offset().is_zero() { "Z".into() } else { local.strftime("%:z").to_string() };
    annotations.insert(SCHEDULED.into(), format!("{}{offset}", local.strftime("%FT%T")));
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron_job, at)),
            namespace: cron_job.metadata.namespace.clone(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![reference(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

/// The status once the Job is started.
pub(super) fn started(mut status: CronJobStatus, job: &Job, at: Timestamp) -> CronJobStatus {
    if !is_active(&status, job.uid()) {
        status.active.get_or_insert_default().push(object_reference(job));
    }
    status.last_schedule_time = Some(Time(at));
    status
}

/// Finished Jobs beyond the limits of the history, oldest first.
fn beyond_limits(spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    let mut forget = Vec::new();
    for (kind, limit) in limits {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
        let of_kind = |job: &&Arc<Job>| {
            !is_deleted(&job.metadata) && finished(job).is_some_and(|condition| condition.type_ == kind)
        };
        let mut old: Vec<_> = jobs.iter().filter(of_kind).cloned().collect();
        old.sort_by_key(|job| {
            let start = job.status.as_ref().and_then(|status| status.start_time.clone());
            (start.is_none(), start, job.name().to_owned())
        });
        let surplus = old.len().saturating_sub(limit);
        forget.extend(old.into_iter().take(surplus));
    }
    forget
}
