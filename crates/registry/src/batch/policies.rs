//! When a job has succeeded, and when a failure counts: validation of the two policies.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use super::indexes;
use crate::at::At;

const RULES_MAX: usize = 20;
const PATTERNS_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const INDEXES_LEN_MAX: usize = 64 * 1024;

pub fn success(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("successPolicy");
    if !policy.present() {
        return;
    }
    if spec.at("completionMode").text() != "Indexed" {
        return policy.invalid(errors, "requires indexed completion mode");
    }
    let rules = policy.at("rules");
    rules.required(errors, "at least one rules must be specified when the successPolicy is specified");
    if rules.items().len() > RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, rules.items().len(), RULES_MAX));
    }
    for rule in rules.items() {
        success_rule(&rule, spec.at("completions").int().unwrap_or_default(), errors);
    }
}

fn success_rule(rule: &At<'_>, completions: i64, errors: &mut ErrorList) {
    let (count, indexes) = (rule.at("succeededCount"), rule.at("succeededIndexes"));
    if !count.present() && !indexes.present() {
        errors.required(&rule.path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    if indexes.text().len() > INDEXES_LEN_MAX {
        errors.push(FieldError::too_long(&indexes.path, INDEXES_LEN_MAX));
    }
    let named = indexes::parse(indexes.text(), completions);
    if let Err(why) = &named {
        indexes.invalid(errors, &format!("error parsing succeededIndexes: {why}"));
    }
    count.not_negative(errors);
    let named = named.unwrap_or_default().iter().map(|(first, last)| last - first + 1).sum();
    let over = |limit: i64| count.int().is_some_and(|count| count > limit);
    if over(completions) {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        count.invalid(errors, &detail);
    }
    if indexes.present() && over(named) {
        let what = "the number of indexes in the specified succeededIndexes field";
        count.invalid(errors, &format!("must be less than or equal to {named} ({what})"));
    }
}

pub fn failure(spec: &At<'_>, errors: &mut ErrorList) {
    let rules = spec.to("podFailurePolicy.rules");
    if rules.items().len() > RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, rules.items().len(), RULES_MAX));
    }
    let names: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.to("template.spec").at(list).items())
        .map(|container| container.at("name").text())
        .collect();
    for rule in rules.items() {
        failure_rule(spec, &rule, &names, errors);
    }
}

fn failure_rule(spec: &At<'_>, rule: &At<'_>, names: &[&str], errors: &mut ErrorList) {
    let action = rule.at("action");
    action.required_one_of(errors, &["Count", "FailIndex", "FailJob", "Ignore"]);
    if action.text() == "FailIndex" && !spec.at("backoffLimitPerIndex").present() {
        action.invalid(errors, "requires the backoffLimitPerIndex to be set");
    }
    let (codes, conditions) = (rule.at("onExitCodes"), rule.at("onPodConditions"));
    if codes.present() {
        codes.at("operator").required_one_of(errors, &["In", "NotIn"]);
        let container = codes.at("containerName");
        if container.present() && !names.contains(&container.text()) {
            container.invalid(errors, "must be one of the container or initContainer names in the pod template");
        }
        exit_codes(&codes, errors);
    }
    if conditions.items().len() > PATTERNS_MAX {
        errors.push(FieldError::too_many(&conditions.path, conditions.items().len(), PATTERNS_MAX));
    }
    for pattern in conditions.items() {
        pattern.at("type").follows(errors, is_qualified_name);
        pattern.at("status").required_one_of(errors, &["False", "True", "Unknown"]);
    }
    match (codes.present(), !conditions.empty()) {
        (true, true) => whole(rule, errors, "specifying both OnExitCodes and OnPodConditions is not supported"),
        (false, false) => whole(rule, errors, "specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

/// A complaint about the rule as such, which is not shown.
fn whole(rule: &At<'_>, errors: &mut ErrorList, detail: &str) {
    errors.push(FieldError::invalid(&rule.path, Value::Null, detail).hiding_value());
}

fn exit_codes(codes: &At<'_>, errors: &mut ErrorList) {
    let values = codes.at("values");
    if values.empty() {
        values.invalid(errors, "at least one value is required");
    }
    if values.items().len() > EXIT_CODES_MAX {
        errors.push(FieldError::too_many(&values.path, values.items().len(), EXIT_CODES_MAX));
    }
    let is_in = codes.at("operator").text() == "In";
    let mut seen: Vec<i64> = Vec::new();
    for value in values.items() {
        let number = value.int().unwrap_or_default();
        if is_in && number == 0 {
            value.invalid(errors, "must not be 0 for the In operator");
        }
        if seen.contains(&number) {
            errors.duplicate(&value.path, number);
        }
        seen.push(number);
    }
    if !seen.is_sorted() {
        values.invalid(errors, "must be ordered");
    }
}
