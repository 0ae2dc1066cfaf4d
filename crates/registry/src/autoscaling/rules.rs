//! Validation of metrics and of how fast they may act.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::validation::{is_path_segment_name, label_selector};

use crate::at::At;

const SOURCES: [&str; 5] = ["Object", "Pods", "Resource", "ContainerResource", "External"];
const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;

/// What is scaled.
pub fn target(target: &At<'_>, errors: &mut ErrorList) {
    for field in ["kind", "name"] {
        if target.at(field).required(errors, "") {
            target.at(field).follows(errors, is_path_segment_name);
        }
    }
    let version = target.at("apiVersion");
    if version.text().split('/').count() > 2 {
        version.invalid(errors, "unexpected GroupVersion string");
    } else if version.empty() && target.at("kind").empty() {
        errors.invalid(&version.path, "", "must specify API group");
    }
}

fn field_of(kind: &str) -> String {
    format!("{}{}", kind[..1].to_lowercase(), &kind[1..])
}

pub fn metric(metric: &At<'_>, errors: &mut ErrorList) {
    let kind = metric.at("type");
    if !kind.required(errors, "must specify a metric source type") {
        return;
    }
    if !SOURCES.contains(&kind.text()) {
        // Upstream complains of the type, and again of the source that the type should name.
        errors.not_supported(&kind.path, kind.text(), &SOURCES);
        errors.not_supported(&kind.path, kind.text(), &SOURCES);
        return;
    }
    let wanted = field_of(kind.text());
    let given: Vec<String> = SOURCES.map(field_of).into_iter().filter(|field| metric.at(field).present()).collect();
    if let Some(first) = given.first() {
        source(first, &metric.at(first), errors);
    }
    if !given.contains(&wanted) {
        errors.required(&metric.path.child(&wanted), "must populate information for the given metric source");
    }
    if given.len() > 1 {
        for other in given.iter().filter(|field| **field != wanted) {
            errors.forbidden(&metric.path.child(other), "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &At<'_>, errors: &mut ErrorList) {
    let goal = source.at("target");
    let [value, average, utilization] = ["value", "averageValue", "averageUtilization"].map(|field| goal.at(field));
    match kind {
        "object" => {
            target(&source.at("describedObject"), errors);
            identifier(&source.at("metric"), errors);
            amounts(&goal, errors);
            if !value.present() && !average.present() {
                let detail = "must set either a target value for metric or a per-pod target";
                errors.required(&average.path, detail);
            }
        }
        "pods" => {
            identifier(&source.at("metric"), errors);
            amounts(&goal, errors);
            if average.quantity().is_none_or(|quantity| quantity <= Quantity::ZERO) {
                errors.required(&average.path, "must specify a positive target averageValue");
            }
        }
        "external" => {
            identifier(&source.at("metric"), errors);
            amounts(&goal, errors);
            if !value.present() && !average.present() {
                let detail = "must set either a target value for metric or a per-pod target";
                errors.required(&average.path, detail);
            }
            if value.present() && average.present() {
                let detail = "may not set both a target value for metric and a per-pod target";
                errors.forbidden(&value.path, detail);
            }
        }
        _ => {
            source.at("name").required(errors, "must specify a resource name");
            if kind == "containerResource" {
                source.at("container").required(errors, "must specify a container");
            }
            amounts(&goal, errors);
            if !utilization.present() && !average.present() {
                let detail = "must set either a target raw value or a target utilization";
                errors.required(&utilization.path, detail);
            }
            if utilization.present() && average.present() {
                let detail = "may not set both a target raw value and a target utilization";
                errors.forbidden(&average.path, detail);
            }
        }
    }
}

fn identifier(metric: &At<'_>, errors: &mut ErrorList) {
    let name = metric.at("name");
    if name.required(errors, "must specify a metric name") {
        name.follows(errors, is_path_segment_name);
    }
    errors.append(label_selector(metric.at("selector").value, &metric.path.child("selector")));
}

fn amounts(goal: &At<'_>, errors: &mut ErrorList) {
    let kind = goal.at("type");
    if kind.required(errors, "must specify a metric target type")
        && !["Utilization", "Value", "AverageValue"].contains(&kind.text())
    {
        kind.invalid(errors, "must be either Utilization, Value, or AverageValue");
    }
    for at in ["value", "averageValue"].map(|field| goal.at(field)) {
        if at.quantity().is_some_and(|quantity| quantity <= Quantity::ZERO) {
            at.invalid(errors, "must be positive");
        }
    }
    let utilization = goal.at("averageUtilization");
    if utilization.int().is_some_and(|percent| percent < 1) {
        utilization.invalid(errors, "must be greater than 0");
    }
}

/// How fast it may go in each direction.
pub fn behavior(behavior: &At<'_>, errors: &mut ErrorList) {
    for rules in ["scaleUp", "scaleDown"].map(|direction| behavior.at(direction)) {
        if rules.present() {
            scaling_rules(&rules, errors);
        }
    }
}

fn scaling_rules(rules: &At<'_>, errors: &mut ErrorList) {
    let window = rules.at("stabilizationWindowSeconds");
    if window.int().is_some_and(|seconds| seconds < 0) {
        window.invalid(errors, "must be greater than or equal to zero");
    }
    if window.int().is_some_and(|seconds| seconds > WINDOW_MAX) {
        window.invalid(errors, &format!("must be less than or equal to {WINDOW_MAX}"));
    }
    rules.at("selectPolicy").one_of(errors, &["Disabled", "Max", "Min"]);
    rules.at("policies").required(errors, "must specify at least one Policy");
    for policy in rules.at("policies").items() {
        scaling_policy(&policy, errors);
    }
    let tolerance = rules.at("tolerance");
    if tolerance.quantity().is_some_and(Quantity::is_negative) {
        tolerance.invalid(errors, "must be greater than or equal to 0");
    }
}

fn scaling_policy(policy: &At<'_>, errors: &mut ErrorList) {
    let kind = policy.at("type");
    if !["Percent", "Pods"].contains(&kind.text()) {
        errors.not_supported(&kind.path, kind.text(), &["Percent", "Pods"]);
    }
    for at in ["value", "periodSeconds"].map(|field| policy.at(field)) {
        if at.int().unwrap_or_default() <= 0 {
            errors.invalid(&at.path, at.int().unwrap_or_default(), "must be greater than zero");
        }
    }
    let period = policy.at("periodSeconds");
    if period.int().is_some_and(|seconds| seconds > PERIOD_MAX) {
        period.invalid(errors, &format!("must be less than or equal to {PERIOD_MAX}"));
    }
}
