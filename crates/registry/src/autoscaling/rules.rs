//! Validation of metrics and of how fast they may act.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::validation::{is_dns1123_label, is_path_segment_name};
use serde_json::Value;

use crate::at::At;
use crate::pod_spec::container_resource_name;

/// In the order in which they are looked at.
const SOURCES: [&str; 5] = ["Object", "External", "Pods", "Resource", "ContainerResource"];
const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;

/// What is scaled. A version is judged where it or the kind is new.
pub fn target(target: &At<'_>, old: &Value, errors: &mut ErrorList) {
    named(target, errors);
    let same = |field: &str| !old.is_null() && target.at(field).text() == old[field].as_str().unwrap_or_default();
    if !(same("apiVersion") && same("kind")) {
        let core = target.at("kind").text() == "ReplicationController";
        version(&target.at("apiVersion"), core, errors);
    }
}

fn named(target: &At<'_>, errors: &mut ErrorList) {
    for field in ["kind", "name"] {
        if target.at(field).required(errors, "") {
            target.at(field).follows(errors, is_path_segment_name);
        }
    }
}

fn version(version: &At<'_>, core: bool, errors: &mut ErrorList) {
    if version.text().split('/').count() > 2 {
        errors.invalid(&version.path, version.text(), format!("unexpected GroupVersion string: {}", version.text()));
    } else if !core && version.text().split_once('/').is_none_or(|(group, _)| group.is_empty()) {
        errors.invalid(&version.path, version.text(), "apiVersion must specify API group");
    }
}

/// Whether a metric of old describes its object by a version that is none.
pub fn is_odd(metric: &Value) -> bool {
    let version = metric.pointer("/object/describedObject/apiVersion").and_then(Value::as_str).unwrap_or_default();
    metric["type"] == "Object" && version.split('/').count() > 2
}

fn field_of(kind: &str) -> String {
    format!("{}{}", kind[..1].to_lowercase(), &kind[1..])
}

/// `lenient`: versions of described objects are not judged.
pub fn metric(metric: &At<'_>, lenient: bool, errors: &mut ErrorList) {
    let kind = metric.at("type");
    let known = SOURCES.contains(&kind.text());
    kind.required(errors, "must specify a metric source type");
    if !known {
        errors.not_supported(&kind.path, kind.text(), &SOURCES);
    }
    let given: Vec<String> = SOURCES.map(field_of).into_iter().filter(|field| metric.at(field).present()).collect();
    if let Some(first) = given.first() {
        source(first, &metric.at(first), lenient, errors);
    }
    if !known {
        // Upstream complains of the type again, in place of the source that it should name.
        errors.not_supported(&kind.path, kind.text(), &SOURCES);
    }
    let wanted = if known { field_of(kind.text()) } else { String::new() };
    if known && !given.contains(&wanted) {
        errors.required(&metric.path.child(&wanted), "must populate information for the given metric source");
    }
    if given.len() > 1 {
        for other in given.iter().filter(|field| **field != wanted) {
            errors.forbidden(&metric.path.child(other), "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &At<'_>, lenient: bool, errors: &mut ErrorList) {
    let goal = source.at("target");
    let [value, average, utilization] = ["value", "averageValue", "averageUtilization"].map(|field| goal.at(field));
    match kind {
        "object" => {
            let described = source.at("describedObject");
            named(&described, errors);
            if !lenient {
                version(&described.at("apiVersion"), true, errors);
            }
            identifier(&source.at("metric"), errors);
            amounts(&goal, errors);
            if !value.present() && !average.present() {
                errors.required(&average.path, "must set either a target value or averageValue");
            }
        }
        "pods" => {
            identifier(&source.at("metric"), errors);
            amounts(&goal, errors);
            if !average.present() {
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
            let (name, container) = (source.at("name"), source.at("container"));
            let named = name.required(errors, "must specify a resource name");
            if kind == "containerResource" {
                if named {
                    container_resource_name(name.text(), &name, errors);
                }
                if container.required(errors, "must specify a container") {
                    container.follows(errors, is_dns1123_label);
                }
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
}

fn amounts(goal: &At<'_>, errors: &mut ErrorList) {
    let kind = goal.at("type");
    kind.required(errors, "must specify a metric target type");
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        errors.invalid(&kind.path, kind.text(), "must be either Utilization, Value, or AverageValue");
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::autoscaling::HorizontalPodAutoscaler;
    use crate::strategy::Strategy;

    fn autoscaler(more: &[(&str, Value)]) -> Value {
        let mut object = json!({"spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        }});
        more.iter().for_each(|(name, value)| object["spec"][*name] = value.clone());
        HorizontalPodAutoscaler.default(&mut object);
        object
    }

    fn causes(errors: &ErrorList) -> Vec<String> {
        let reason =
            |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        errors.iter().map(|error| format!("{} {}", error.field, reason(error))).collect()
    }

    fn check(more: &[(&str, Value)], expected: &[&str]) {
        assert_eq!(causes(&HorizontalPodAutoscaler.validate(&autoscaler(more))), expected);
    }

    #[test]
    fn the_target_names_its_group() {
        let target = |version: &str, kind: &str| {
            [("scaleTargetRef", json!({"apiVersion": version, "kind": kind, "name": "web"}))]
        };
        check(&target("v1", "ReplicationController"), &[]);
        check(&target("v1", "Deployment"), &["spec.scaleTargetRef.apiVersion Invalid"]);
        let old = autoscaler(&target("", "Deployment"));
        assert_eq!(causes(&HorizontalPodAutoscaler.validate_update(&old, &old)), [""; 0]);
    }

    #[test]
    fn bounds_are_judged_each_for_itself() {
        check(&[("maxReplicas", (-1).into())], &["spec.maxReplicas Invalid", "spec.maxReplicas Invalid"]);
        let zero = [("minReplicas", 0.into())];
        check(&zero, &["spec.minReplicas Invalid", "spec.metrics Forbidden"]);
        let old = autoscaler(&zero);
        assert_eq!(causes(&HorizontalPodAutoscaler.validate_update(&old, &old)), ["spec.metrics Forbidden"]);
    }

    #[test]
    fn a_metric_has_the_source_that_its_type_names() {
        let metrics = |metric: Value| [("metrics", json!([metric]))];
        let kind = "spec.metrics[0].type";
        check(
            &metrics(json!({})),
            &[&format!("{kind} Required"), &format!("{kind} NotSupported"), &format!("{kind} NotSupported")],
        );
        let container = json!({"name": "cpu", "container": "A", "target": {"type": "Value", "averageValue": "1"}});
        check(
            &metrics(json!({"type": "ContainerResource", "containerResource": container})),
            &["spec.metrics[0].containerResource.container Invalid"],
        );
        let pods = json!({"metric": {"name": "n"}, "target": {"type": "AverageValue", "averageValue": "0"}});
        check(&metrics(json!({"type": "Pods", "pods": pods})), &["spec.metrics[0].pods.target.averageValue Invalid"]);
    }
}
