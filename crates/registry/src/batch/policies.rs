//! When a job has succeeded, and when a failure counts: validation of the two policies.

use apimachinery::field::{ErrorList, FieldError};
use apimachinery::validation::is_qualified_name;

use crate::at::At;

const RULES_MAX: usize = 20;

pub fn success(spec: &At<'_>, errors: &mut ErrorList) {
    let policy = spec.at("successPolicy");
    if !policy.present() {
        return;
    }
    if spec.at("completionMode").text() != "Indexed" {
        policy.invalid(errors, "requires indexed completion mode");
    }
    let rules = policy.at("rules");
    rules.required(errors, "at least one rules must be specified when the successPolicy is specified");
    if rules.items().len() > RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, rules.items().len(), RULES_MAX));
    }
    for rule in rules.items() {
        let count = rule.at("succeededCount");
        if !count.present() && !rule.at("succeededIndexes").present() {
            let detail = "at least one of succeededCount or succeededIndexes must be specified";
            errors.required(&rule.path, detail);
        }
        count.not_negative(errors);
        let completions = spec.at("completions").int();
        if count.int().zip(completions).is_some_and(|(count, all)| count > all) {
            let all = completions.unwrap_or_default();
            count
                .invalid(errors, &format!("must be less than or equal to {all} (the number of specified completions)"));
        }
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
    for pattern in conditions.items() {
        if pattern.at("type").required(errors, "") {
            pattern.at("type").follows(errors, is_qualified_name);
        }
        pattern.at("status").one_of(errors, &["False", "True", "Unknown"]);
    }
    match (codes.present(), !conditions.empty()) {
        (true, true) => rule.invalid(errors, "specifying both OnExitCodes and OnPodConditions is not supported"),
        (false, false) => rule.invalid(errors, "specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

fn exit_codes(codes: &At<'_>, errors: &mut ErrorList) {
    let values = codes.at("values");
    if values.empty() {
        values.invalid(errors, "at least one value is required");
    }
    let is_in = codes.at("operator").text() == "In";
    let mut before: Option<i64> = None;
    for value in values.items() {
        let number = value.int().unwrap_or_default();
        if is_in && number == 0 {
            value.invalid(errors, "must not be 0 for the In operator");
        }
        match before {
            Some(previous) if previous == number => errors.duplicate(&value.path, number),
            Some(previous) if previous > number => values.invalid(errors, "must be ordered"),
            _ => {}
        }
        before = Some(number);
    }
}
