//! LimitRanges.

use apimachinery::Quantity;
use apimachinery::field::ErrorList;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::at::At;
use crate::cells::{created_at, name};
use crate::defaults::{items, object, set};
use crate::pod_spec::{container_resource_name, is_exact, resource_name};
use crate::strategy::{Column, Strategy};

pub struct LimitRange;

impl Strategy for LimitRange {
    fn default(&self, limit_range: &mut Value) {
        let Some(spec) = object(limit_range, "spec") else { return };
        items(spec, "limits").filter(|item| item["type"] == "Container").for_each(default_item);
    }

    fn validate(&self, limit_range: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let limits = At::root(limit_range).to("spec.limits");
        let mut seen = Vec::new();
        for item in limits.items() {
            let kind = item.at("type");
            type_name(&kind, &mut errors);
            if seen.contains(&kind.text()) {
                errors.duplicate(&kind.path, kind.text());
            }
            seen.push(kind.text());
            validate_item(&item, &mut errors);
        }
        errors
    }

    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn names_itself(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[Column::NAME, Column::of("Created At", "date")] }
    }

    fn row(&self, object: &Value, _now: i64) -> Vec<Value> {
        vec![name(object), created_at(object)]
    }
}

/// A limit is the default, the default is the default request, and so is the minimum.
fn default_item(item: &mut Value) {
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let Some(source) = item.get(from).and_then(Value::as_object).cloned() else { continue };
        let Some(target) = object(item, to) else { continue };
        for (name, quantity) in source {
            set(target, &name, quantity);
        }
    }
}

fn validate_item(item: &At<'_>, errors: &mut ErrorList) {
    let kind = item.at("type").text();
    resource_names(item, &["max", "min"], errors);
    if kind == "Pod" {
        for name in DEFAULTS.iter().filter(|name| !item.at(name).empty()) {
            errors.forbidden(&item.path.child(name), "may not be specified when `type` is 'Pod'");
        }
    } else {
        resource_names(item, &DEFAULTS, errors);
    }
    let bounds_storage = ["min", "max"].iter().any(|name| item.at(name).at("storage").present());
    if kind == "PersistentVolumeClaim" && !bounds_storage {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&item.path.child("limits"), detail);
    }
    resource_names(item, &["maxLimitRequestRatio"], errors);
    let mut keys: Vec<&str> =
        judged(kind).iter().flat_map(|name| item.at(name).entries()).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.iter().for_each(|key| order(item, key, errors));
}

const DEFAULTS: [&str; 2] = ["default", "defaultRequest"];

/// The maps that say something for a type. Pods have no defaults.
fn judged(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &["max", "min", "maxLimitRequestRatio"],
        _ => &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"],
    }
}

fn type_name(kind: &At<'_>, errors: &mut ErrorList) {
    let wrong = is_qualified_name(kind.text());
    let known = ["Container", "Pod", "PersistentVolumeClaim"].contains(&kind.text()) || kind.text().contains('/');
    if wrong.is_empty() && !known {
        kind.invalid(errors, "must be a standard limit type or fully qualified");
    }
    errors.invalid_all(&kind.path, kind.text(), wrong);
}

fn resource_names(item: &At<'_>, maps: &[&str], errors: &mut ErrorList) {
    let kind = item.at("type").text();
    for (key, at) in maps.iter().flat_map(|name| item.at(name).entries()) {
        match kind {
            "Pod" | "Container" => container_resource_name(key, &at, errors),
            _ => drop(resource_name(key, &at, errors)),
        }
    }
}

fn order(item: &At<'_>, key: &str, errors: &mut ErrorList) {
    let kind = item.at("type").text();
    let amount = |name: &str| {
        let value = item.at(name).value.get(key).filter(|_| judged(kind).contains(&name));
        value.map(Quantity::of)
    };
    let (min, request, default, max) = (amount("min"), amount("defaultRequest"), amount("default"), amount("max"));
    let mut check = |low: (&str, Option<Quantity>), high: (&str, Option<Quantity>), blame: &str| {
        if let (Some(small), Some(large)) = (low.1, high.1)
            && small > large
        {
            let at = item.path.child(blame).key(key);
            let value = item.at(blame).value[key].clone();
            errors.invalid(&at, value, format!("{} value {small} is greater than {} value {large}", low.0, high.0));
        }
    };
    check(("min", min), ("max", max), "min");
    check(("min", min), ("default request", request), "defaultRequest");
    check(("default request", request), ("max", max), "defaultRequest");
    check(("default request", request), ("default limit", default), "defaultRequest");
    check(("min", min), ("default", default), "default");
    check(("default", default), ("max", max), "default");
    ratio(item, key, min.zip(max), errors);
    if let Some((default, request)) =
        default.zip(request).filter(|(default, request)| is_exact(key) && default != request)
    {
        let at = item.path.child("defaultRequest").key(key);
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {key}");
        errors.invalid(&at, item.at("defaultRequest").value[key].clone(), detail);
    }
}

/// How much more the limit may be than the request.
fn ratio(item: &At<'_>, key: &str, range: Option<(Quantity, Quantity)>, errors: &mut ErrorList) {
    let Some(value) = item.at("maxLimitRequestRatio").value.get(key) else { return };
    let (at, ratio) = (item.path.child("maxLimitRequestRatio").key(key), Quantity::of(value));
    if ratio.as_f64() < 1.0 {
        errors.invalid(&at, value.clone(), format!("ratio {ratio} is less than 1"));
    }
    if let Some((min, max)) = range {
        let limit = max.as_f64() / min.as_f64();
        if ratio.as_f64() > limit {
            errors.invalid(&at, value.clone(), format!("ratio {ratio} is greater than max/min = {limit:.6}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(item: Value, expected: &[&str]) {
        let errors = LimitRange.validate(&json!({"spec": {"limits": [item]}}));
        let reason =
            |error: &apimachinery::field::FieldError| error.kind.reason().trim_start_matches("FieldValue").to_owned();
        let path =
            |error: &apimachinery::field::FieldError| error.field.trim_start_matches("spec.limits[0].").to_owned();
        let causes: Vec<String> = errors.iter().map(|error| format!("{} {}", path(error), reason(error))).collect();
        assert_eq!(causes, expected);
    }

    #[test]
    fn limits_are_of_resources_that_the_type_has() {
        check(json!({"type": "Container", "max": {"pods": "1"}}), &["max[pods] Invalid"]);
        check(json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}}), &["limits Required"]);
        check(json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}), &[]);
        check(json!({"type": "example.com/image", "max": {"cpu": "1"}}), &[]);
        check(json!({"type": "Image"}), &["type Invalid"]);
    }

    #[test]
    fn causes_come_in_upstreams_order() {
        let item = json!({"type": "Pod", "max": {"pods": "1"}, "default": {"cpu": "1"}, "maxLimitRequestRatio": {"pods": "2"}});
        let errors = LimitRange.validate(&json!({"spec": {"limits": [item, {"type": "Pod"}, {}, {}]}}));
        let fields: Vec<&str> = errors.iter().map(|error| error.field.trim_start_matches("spec.limits")).collect();
        let wanted = ["[0].max[pods]", "[0].default", "[0].maxLimitRequestRatio[pods]", "[1].type"];
        assert_eq!(fields[..4], wanted);
        assert!(
            errors
                .iter()
                .any(|error| error.field == "spec.limits[3].type" && error.kind.reason().ends_with("Duplicate"))
        );
    }

    #[test]
    fn ratios_leave_room_between_least_and_most() {
        let item = |ratio: &str| json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": ratio}});
        check(item("2"), &[]);
        check(item("3"), &["maxLimitRequestRatio[cpu] Invalid"]);
        check(item("500m"), &["maxLimitRequestRatio[cpu] Invalid"]);
    }

    #[test]
    fn what_cannot_be_overcommitted_is_asked_for_as_it_is_limited() {
        let item = json!({"type": "Container", "default": {"example.com/gpu": "2"}, "defaultRequest": {"example.com/gpu": "1"}});
        check(item, &["defaultRequest[example.com/gpu] Invalid"]);
    }
}
