//! CronJobs.

use apimachinery::field::{ErrorList, Path};
use apimachinery::{object, table};
use serde_json::Value;

use super::job;
use crate::at::At;
use crate::cells::{containers, count, name, or, text};
use crate::defaults::{object as child, present, set};
use crate::strategy::{Column, Strategy};

pub struct CronJob;

const NAME_LEN_MAX: usize = 52;

impl Strategy for CronJob {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::pod_spec::workload_warnings(&crate::at::At::root(new), old, "spec.jobTemplate.spec.template", true)
    }

    fn default(&self, cron_job: &mut Value) {
        let Some(spec) = child(cron_job, "spec") else { return };
        set(spec, "concurrencyPolicy", "Allow");
        set(spec, "suspend", false);
        set(spec, "successfulJobsHistoryLimit", 3);
        set(spec, "failedJobsHistoryLimit", 1);
        if let Some(template) =
            present(spec, "jobTemplate").and_then(|t| present(t, "spec")).and_then(|s| present(s, "template"))
        {
            crate::pod_spec::default_template(template);
        }
    }

    fn validate(&self, cron_job: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        rules(&At::root(cron_job).at("spec"), &Value::Null, &mut errors);
        let name = object::name(cron_job);
        if name.len() > NAME_LEN_MAX {
            errors.invalid(
                &Path::new("metadata.name"),
                name,
                format!("must be no more than {NAME_LEN_MAX} characters"),
            );
        }
        errors
    }

    /// A name that is too long was let in by an older server.
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        rules(&At::root(new).at("spec"), &old["spec"], &mut errors);
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                Column::NAME,
                Column::text("Schedule"),
                Column::text("Timezone"),
                Column::of("Suspend", "boolean"),
                Column::of("Active", "integer"),
                Column::text("Last Schedule"),
                Column::AGE,
                Column::wide("Containers"),
                Column::wide("Images"),
                Column::wide("Selector"),
            ]
        }
    }

    fn row(&self, cron_job: &Value, now: i64) -> Vec<Value> {
        let (names, images) = containers(cron_job, "/spec/jobTemplate/spec/template/spec");
        let suspended = cron_job.pointer("/spec/suspend") == Some(&Value::Bool(true));
        let last = cron_job.pointer("/status/lastScheduleTime").filter(|time| !time.is_null());
        vec![
            name(cron_job),
            text(cron_job, "/spec/schedule").into(),
            or(text(cron_job, "/spec/timeZone"), "<none>").into(),
            if suspended { "True" } else { "False" }.into(),
            count(cron_job, "/status/active"),
            last.map_or_else(|| "<none>".into(), |last| table::since(Some(last), now)),
            table::age(cron_job, now),
            names.into(),
            images.into(),
            crate::cells::selector(cron_job.pointer("/spec/jobTemplate/spec/selector")).into(),
        ]
    }
}

/// `old` is the spec as it was, null for a new object.
fn rules(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    schedule(spec, old, errors);
    spec.at("startingDeadlineSeconds").not_negative(errors);
    if old.is_null() || *spec.at("timeZone").value != old["timeZone"] {
        time_zone(&spec.at("timeZone"), errors);
    }
    spec.at("concurrencyPolicy").required_one_of(errors, &["Allow", "Forbid", "Replace"]);
    let template = spec.to("jobTemplate.spec");
    job::validate_spec(&template, errors);
    if template.at("selector").present() {
        template.at("selector").invalid(errors, "`selector` will be auto-generated");
    }
    if template.at("manualSelector").is_true() {
        errors.not_supported(&template.path.child("manualSelector"), true, &["nil", "false"]);
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.at(field).not_negative(errors);
    }
}

/// A zone in the schedule itself is left to those who had one.
fn schedule(spec: &At<'_>, old: &Value, errors: &mut ErrorList) {
    let (at, zone) = (spec.at("schedule"), spec.at("timeZone"));
    if !at.required(errors, "") {
        return;
    }
    let names_zone = at.text().contains("TZ");
    let line = at.text().split_once(' ').filter(|(first, _)| first.contains("TZ=")).map_or(at.text(), |(_, rest)| rest);
    if let Some(why) = cron_problem(line) {
        at.invalid(errors, &why);
    }
    let named_zone = old["schedule"].as_str().is_some_and(|line| line.contains("TZ"));
    if names_zone && !named_zone {
        at.invalid(errors, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if names_zone && zone.present() {
        at.invalid(errors, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
}

fn time_zone(zone: &At<'_>, errors: &mut ErrorList) {
    if zone.present() && (zone.empty() || zone.text().eq_ignore_ascii_case("local")) {
        zone.invalid(errors, "timeZone must be nil or non-empty string");
    } else if zone.present() && !is_time_zone(zone.text()) {
        errors.invalid(&zone.path, zone.text(), format!("unknown time zone {}", zone.text()));
    }
}

/// Upstream finds zones by the names of files, where case matters.
fn is_time_zone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok_and(|zone| {
        let known = zone.iana_name().unwrap_or(name);
        known == name || !known.eq_ignore_ascii_case(name)
    })
}

/// What is wrong with a standard cron line: five fields, or a descriptor.
fn cron_problem(line: &str) -> Option<String> {
    if line.starts_with('@') {
        let plain = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
        let every = line.strip_prefix("@every ").is_some_and(|duration| duration.ends_with(['h', 'm', 's']));
        return (!plain.contains(&line) && !every).then(|| format!("unrecognized descriptor: {line}"));
    }
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let wrong = |(field, range): &(&&str, &CronRange)| {
        !field.split(',').filter(|part| !part.is_empty()).all(|part| cron_part(part, range))
    };
    let bad = fields.iter().zip(&CRON_RANGES).find(wrong);
    bad.map(|(field, _)| format!("failed to parse field {field}"))
}

/// What a field of a cron line may say: the smallest number, the largest, and names of the numbers from the smallest on.
type CronRange = (u32, u32, &'static [&'static str]);

const CRON_RANGES: [CronRange; 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &MONTHS), (0, 6, &DAYS)];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn cron_part(part: &str, (low, high, names): &CronRange) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    if step.is_some_and(|step| step.parse::<u32>().is_ok_and(|step| step == 0) || step.parse::<u32>().is_err()) {
        return false;
    }
    if range == "*" || range == "?" {
        return true;
    }
    let number = |text: &str| {
        let named =
            names.iter().zip(*low..).find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| number);
        text.parse().ok().or(named).filter(|number| (low..=high).contains(&number))
    };
    match range.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => number(range).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_upstreams_library_reads_them() {
        for good in ["0 0 * * sun", "*/5 1-3,7 1 jan-DEC ?", "5/15 0 1, 1 6", "@hourly", "@every 1h30m"] {
            assert_eq!(cron_problem(good), None, "{good}");
        }
        for bad in ["0 0 * * 7", "sun 0 * * *", "60 * * * *", "*/0 * * * *", "3-1 * * * *", "@reboot", "* * * * * *"] {
            assert!(cron_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn names_of_zones_are_told_by_their_case() {
        assert!(is_time_zone("Europe/Berlin") && is_time_zone("UTC"));
        assert!(!is_time_zone("europe/berlin") && !is_time_zone("Mars/Base"));
    }
}
