//! Validation of a job's status: what it says must fit together, and what ended stays so.
//!
//! Most rules are asked only of what a change touches, so that a status of old that breaks them can still be written.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::time;
use serde_json::Value;

use super::indexes;
use crate::at::At;
use crate::cells::{int, list, text};
use crate::counts;

pub fn validate(new: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let status = At::root(new).at("status");
    counts::not_negative(&status, &["active", "succeeded", "failed", "ready", "terminating"], &mut errors);
    uncounted(&status.at("uncountedTerminatedPods"), &mut errors);
    let change = Change { new, old, status };
    change.ends(&mut errors);
    change.times(&mut errors);
    change.pods(&mut errors);
    change.indexes(&mut errors);
    change.success(&mut errors);
    change.terminal(&mut errors);
    change.counters(&mut errors);
    errors
}

/// Whether the job has the condition.
pub fn is_true(job: &Value, kind: &str) -> bool {
    let conditions = list(job, "/status/conditions");
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn is_finished(job: &Value) -> bool {
    is_true(job, "Complete") || is_true(job, "Failed")
}

fn uncounted(pods: &At<'_>, errors: &mut ErrorList) {
    let mut seen = Vec::new();
    for uid in ["succeeded", "failed"].iter().flat_map(|name| pods.at(name).items()) {
        if uid.empty() {
            uid.invalid(errors, "must not be empty");
        } else if seen.contains(&uid.text()) {
            errors.duplicate(&uid.path, uid.text());
        } else {
            seen.push(uid.text());
        }
    }
}

struct Change<'a> {
    new: &'a Value,
    old: &'a Value,
    status: At<'a>,
}

impl Change<'_> {
    fn has(&self, kind: &str) -> bool {
        is_true(self.new, kind)
    }

    fn had(&self, kind: &str) -> bool {
        is_true(self.old, kind)
    }

    /// Whether one of the conditions came or went.
    fn turned(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| self.has(kind) != self.had(kind))
    }

    fn finished_turned(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }

    fn changed(&self, field: &str) -> bool {
        let zero = |value: &Value| value.is_null() || *value == 0 || *value == "";
        let (new, old) = (&self.new["status"][field], &self.old["status"][field]);
        new != old && !(zero(new) && zero(old))
    }

    fn conditions(&self, errors: &mut ErrorList, detail: &str) {
        errors.push(FieldError::invalid(&self.status.path.child("conditions"), Value::Null, detail).hiding_value());
    }

    /// Which conditions exclude or need each other.
    fn ends(&self, errors: &mut ErrorList) {
        let complete = self.has("Complete");
        if self.turned(&["Complete", "Failed"]) && complete && self.has("Failed") {
            self.conditions(errors, "cannot set Complete=True and Failed=true conditions");
        }
        if self.turned(&["Complete", "FailureTarget"]) && complete && self.has("FailureTarget") {
            self.conditions(errors, "cannot set Complete=True and FailureTarget=true conditions");
        }
        if self.turned(&["Failed", "FailureTarget"]) && self.has("Failed") && !self.has("FailureTarget") {
            self.conditions(errors, "cannot set Failed=True condition without the FailureTarget=true condition");
        }
        if self.turned(&["Complete", "SuccessCriteriaMet"]) && complete && !self.has("SuccessCriteriaMet") {
            self.conditions(errors, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
        }
    }

    fn times(&self, errors: &mut ErrorList) {
        let (start, end) = (self.status.at("startTime"), self.status.at("completionTime"));
        if self.turned(&["Complete"]) || self.changed("completionTime") {
            if end.present() && !self.has("Complete") {
                end.invalid(errors, "cannot set completionTime when there is no Complete=True condition");
            } else if !end.present() && self.has("Complete") {
                errors.required(&end.path, "completionTime is required for Complete jobs");
            }
        }
        let order = time::seconds(end.value).zip(time::seconds(start.value));
        if (self.changed("startTime") || self.changed("completionTime"))
            && order.is_some_and(|(end, start)| end < start)
        {
            end.invalid(errors, "must be equal to or after `startTime`");
        }
        let idle = self.new["spec"]["suspend"] == true && self.new["spec"]["completions"] == 0;
        let asked = (self.finished_turned() || self.changed("startTime")) && !idle;
        if asked && is_finished(self.new) && !start.present() {
            errors.required(&start.path, "startTime is required for finished job");
        }
    }

    /// A job that has finished has no pods left.
    fn pods(&self, errors: &mut ErrorList) {
        let finished = is_finished(self.new);
        let asked = |field: &str| finished && (self.finished_turned() || self.changed(field));
        for field in ["active", "terminating"].iter().filter(|field| asked(field)) {
            let at = self.status.at(field);
            if at.int().is_some_and(|count| count > 0) {
                at.invalid(errors, &format!("{field}>0 is invalid for finished job"));
            }
        }
        let uncounted = self.status.at("uncountedTerminatedPods");
        let left = ["succeeded", "failed"].iter().any(|name| !uncounted.at(name).empty());
        if asked("uncountedTerminatedPods") && left {
            uncounted.invalid(errors, "must be empty for finished job");
        }
        let ready = self.status.at("ready");
        let active = self.status.at("active").int().unwrap_or_default();
        if (self.changed("ready") || self.changed("active")) && ready.int().is_some_and(|count| count > active) {
            ready.invalid(errors, "cannot set more ready pods than active");
        }
    }

    fn indexes(&self, errors: &mut ErrorList) {
        let (completed, failed) = (self.status.at("completedIndexes"), self.status.at("failedIndexes"));
        let (completed_changed, failed_changed) = (self.changed("completedIndexes"), self.changed("failedIndexes"));
        let spec = &self.new["spec"];
        let (completions, per_index) = (spec["completions"].as_i64(), !spec["backoffLimitPerIndex"].is_null());
        let wrong = |at: &At<'_>, all: i64, errors: &mut ErrorList| {
            if let Err(why) = indexes::parse(at.text(), all) {
                let name = at.path.as_str().rsplit('.').next().unwrap_or_default().to_owned();
                at.invalid(errors, &format!("error parsing {name}: {why}"));
            }
        };
        if let Some(all) = completions.filter(|_| completed_changed) {
            wrong(&completed, all, errors);
        }
        if let Some(all) = completions.filter(|_| failed_changed && per_index && failed.present()) {
            wrong(&failed, all, errors);
        }
        if completed_changed && !completed.empty() && spec["completionMode"] != "Indexed" {
            completed.invalid(errors, "cannot set non-empty completedIndexes when non-indexed completion mode");
        }
        if failed_changed && failed.present() && !per_index {
            failed.invalid(errors, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
        }
        let both = completions.filter(|_| (completed_changed || failed_changed) && failed.present());
        if let Some(index) = both.and_then(|all| indexes::overlap(completed.text(), failed.text(), all)) {
            failed.invalid(errors, &format!("failedIndexes and completedIndexes overlap at index: {index}"));
        }
    }

    fn success(&self, errors: &mut ErrorList) {
        let met = self.has("SuccessCriteriaMet");
        if met && self.has("Failed") {
            self.conditions(errors, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
        }
        if met && self.has("FailureTarget") {
            self.conditions(errors, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
        }
        if !self.new["spec"]["successPolicy"].is_null() && !met && self.has("Complete") {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            self.conditions(errors, detail);
        }
        if self.had("SuccessCriteriaMet") && !met {
            self.conditions(errors, "cannot disable the SuccessCriteriaMet=True condition");
        }
        if self.had("Complete") && !self.had("SuccessCriteriaMet") && met {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            self.conditions(errors, detail);
        }
    }

    fn terminal(&self, errors: &mut ErrorList) {
        for kind in ["Failed", "Complete", "FailureTarget"].iter().filter(|kind| self.had(kind) && !self.has(kind)) {
            self.conditions(errors, &format!("cannot disable the terminal {kind}=True condition"));
        }
    }

    /// What only grows, and what is said once.
    fn counters(&self, errors: &mut ErrorList) {
        let spec = &self.new["spec"];
        let elastic = spec["completionMode"] == "Indexed" && spec["completions"] == spec["parallelism"];
        for (field, asked) in [("failed", true), ("succeeded", !elastic)] {
            let (now, before) =
                (int(self.new, &format!("/status/{field}")), int(self.old, &format!("/status/{field}")));
            if asked && now < before {
                errors.invalid(&self.status.path.child(field), now, format!("cannot decrease the {field} counter"));
            }
        }
        let both = |field: &str| !text(self.old, &format!("/status/{field}")).is_empty() && self.changed(field);
        let end = self.status.at("completionTime");
        if both("completionTime") && end.present() {
            end.invalid(errors, "field is immutable");
        }
        if both("startTime") && spec["suspend"] != true {
            self.status.at("startTime").invalid(errors, "field is immutable for unsuspended job once set");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn causes(new: Value, old: Value) -> Vec<String> {
        let job = |status: Value| json!({"spec": {"completions": 3, "parallelism": 1}, "status": status});
        let errors = validate(&job(new), &job(old));
        errors.iter().map(|error| format!("{} {}", error.field, error.kind.reason())).collect()
    }

    fn conditions(kinds: &[&str]) -> Value {
        kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
    }

    #[test]
    fn a_job_completes_with_its_times_and_without_pods() {
        let done = |more: &[(&str, Value)]| {
            let mut status = json!({
                "conditions": conditions(&["SuccessCriteriaMet", "Complete"]), "succeeded": 3,
                "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z",
            });
            more.iter().for_each(|(name, value)| status[*name] = value.clone());
            causes(status, json!({"startTime": "2026-01-01T00:00:00Z"}))
        };
        assert_eq!(done(&[]), [""; 0]);
        assert_eq!(done(&[("completionTime", Value::Null)]), ["status.completionTime FieldValueRequired"]);
        assert_eq!(done(&[("active", 1.into())]), ["status.active FieldValueInvalid"]);
        assert_eq!(done(&[("conditions", conditions(&["Complete"]))]), ["status.conditions FieldValueInvalid"]);
    }

    #[test]
    fn what_ended_stays_ended_and_counters_only_grow() {
        let old = json!({"conditions": conditions(&["FailureTarget", "Failed"]), "failed": 2, "startTime": "2026-01-01T00:00:00Z"});
        assert_eq!(
            causes(json!({"startTime": "2026-01-01T00:00:00Z"}), old.clone()),
            [
                "status.conditions FieldValueInvalid",
                "status.conditions FieldValueInvalid",
                "status.failed FieldValueInvalid",
            ]
        );
        assert_eq!(causes(old.clone(), old), [""; 0]);
    }

    #[test]
    fn indexes_are_for_indexed_jobs() {
        let wrong = causes(json!({"completedIndexes": "0,9"}), json!({}));
        assert_eq!(wrong, ["status.completedIndexes FieldValueInvalid"; 2]);
    }
}
