//! Plans of CronJobs, printed.

use std::collections::HashSet;
use std::sync::Arc;

use client::Object;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// A Job in words: a name, `succeeded`, `failed`, and the minute of its start.
fn job(words: &str) -> Arc<Job> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let mut job = json!({"metadata": {"name": name, "namespace": "default", "uid": name}});
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("succeeded", minute) => {
                let time = format!("2027-01-15T07:{minute}:00Z");
                job["status"]["completionTime"] = json!(time);
                job["status"]["startTime"] = json!(time);
                job["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
            }
            ("failed", _) => job["status"]["conditions"] = json!([{"type": "Failed", "status": "True"}]),
            other => panic!("{other:?}"),
        }
    }
    Arc::new(serde_json::from_value(job).expect("a job"))
}

/// A CronJob that was made at 07:00 and last started at `last`; it is 08:00:10.
fn check(mut spec: Value, last: &str, active: &[&str], jobs: &[&str], want: Expect) {
    spec["jobTemplate"] = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"template": {}}});
    let active: Vec<_> = active.iter().map(|name| json!({"name": name, "uid": name})).collect();
    let mut cron_job = json!({
        "metadata": {"name": "c", "namespace": "default", "uid": "c", "creationTimestamp": "2027-01-15T07:00:00Z"},
        "spec": spec, "status": {"active": active},
    });
    if !last.is_empty() {
        cron_job["status"]["lastScheduleTime"] = json!(format!("2027-01-15T{last}:00Z"));
    }
    let cron_job: CronJob = serde_json::from_value(cron_job).expect("a cron job");
    let jobs: Vec<_> = jobs.iter().map(|words| job(words)).collect();
    let now = "2027-01-15T08:00:10Z".parse().expect("a time");
    let plan = plan::plan(&Observed { cron_job: &cron_job, jobs: &jobs, missing: HashSet::from(["gone".into()]), now });
    want.assert_eq(&print(&plan));
}

fn print(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.notes.iter().map(|note| format!("{}: {}", note.reason, note.message)).collect();
    lines.extend(plan.replace.iter().map(|job| format!("replace {}", job.name.as_deref().unwrap_or_default())));
    if let Some(start) = &plan.start {
        let annotations = start.job.metadata.annotations.clone().unwrap_or_default();
        lines.push(format!("start {} {:?}", start.job.name(), annotations.values().collect::<Vec<_>>()));
    }
    lines.extend(plan.forget.iter().map(|job| format!("forget {}", job.name())));
    let active: Vec<_> = plan.status.active.iter().flatten().filter_map(|job| job.name.clone()).collect();
    lines.push(format!("active {active:?}, again {:?}", plan.check_again));
    lines.join("\n")
}

#[test]
fn what_is_due_is_started_once() {
    let hourly = || json!({"schedule": "0 * * * *"});
    check(
        hourly(),
        "07:00",
        &[],
        &[],
        expect![[r#"
        start c-30000000 ["2027-01-15T08:00:00Z"]
        active [], again Some(3590.1s)"#]],
    );
    check(hourly(), "08:00", &[], &[], expect!["active [], again Some(3590.1s)"]);
    check(
        hourly(),
        "07:00",
        &["c-30000000"],
        &["c-30000000"],
        expect![[r#"active ["c-30000000"], again Some(3590.1s)"#]],
    );
    let suspended = json!({"schedule": "0 * * * *", "suspend": true});
    check(suspended, "07:00", &[], &[], expect!["active [], again None"]);
}

#[test]
fn the_time_is_written_in_the_zone_of_the_schedule() {
    let spec = json!({"schedule": "0 9 * * *", "timeZone": "Europe/Berlin"});
    check(
        spec,
        "",
        &[],
        &[],
        expect![[r#"
        start c-30000000 ["2027-01-15T09:00:00+01:00"]
        active [], again Some(86390.1s)"#]],
    );
    check(
        json!({"schedule": "0 9 * * *", "timeZone": "Mars/Base"}),
        "",
        &[],
        &[],
        expect![[r#"
        UnknownTimeZone: invalid timeZone: "Mars/Base": failed to find time zone `Mars/Base` in time zone database
        active [], again None"#]],
    );
}

#[test]
fn what_runs_forbids_or_is_replaced() {
    let spec = |policy: &str| json!({"schedule": "0 * * * *", "concurrencyPolicy": policy});
    check(
        spec("Forbid"),
        "07:00",
        &["old"],
        &["old"],
        expect![[r#"
        JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid
        active ["old"], again Some(3590.1s)"#]],
    );
    check(
        spec("Replace"),
        "07:00",
        &["old"],
        &["old"],
        expect![[r#"
        replace old
        start c-30000000 ["2027-01-15T08:00:00Z"]
        active ["old"], again Some(3590.1s)"#]],
    );
    check(
        spec("Allow"),
        "07:00",
        &["old"],
        &["old"],
        expect![[r#"
        start c-30000000 ["2027-01-15T08:00:00Z"]
        active ["old"], again Some(3590.1s)"#]],
    );
}

#[test]
fn missed_starts_are_not_caught_up_but_for_the_last() {
    check(
        json!({"schedule": "* * * * *"}),
        "",
        &[],
        &[],
        expect![[r#"
        start c-30000000 ["2027-01-15T08:00:00Z"]
        active [], again Some(50.1s)"#]],
    );
    check(
        json!({"schedule": "@every 30s"}),
        "",
        &[],
        &[],
        expect![[r#"
        TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew
        start c-30000000 ["2027-01-15T08:00:00Z"]
        active [], again Some(20.1s)"#]],
    );
    check(
        json!({"schedule": "0 * * * *", "startingDeadlineSeconds": 5}),
        "07:00",
        &[],
        &[],
        expect!["active [], again Some(3590.1s)"],
    );
}

#[test]
fn the_list_of_active_jobs_follows_the_jobs() {
    check(
        json!({"schedule": "0 0 * * *"}),
        "",
        &["done", "gone"],
        &["done succeeded=30", "other"],
        expect![[r#"
        SawCompletedJob: Saw completed job: done, condition: Complete
        UnexpectedJob: Saw a job that the controller did not create or forgot: other
        MissingJob: Active job went missing: gone
        active [], again Some(57590.1s)"#]],
    );
}

#[test]
fn the_oldest_finished_jobs_are_forgotten() {
    let spec = json!({"schedule": "0 0 * * *", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0});
    check(
        spec,
        "",
        &[],
        &["b succeeded=20", "a succeeded=30", "c failed", "d succeeded=10"],
        expect![[r#"
        forget d
        forget b
        forget c
        active [], again Some(57590.1s)"#]],
    );
}
