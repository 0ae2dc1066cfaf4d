//! The group `autoscaling`: stored as v2, served as v1 and v2.

mod round_trip;
mod rules;
mod targets;

use apimachinery::field::ErrorList;
use apimachinery::table;
use serde_json::{Value, json};

use crate::at::At;
use crate::cells::{int, list, name, text};
use crate::defaults::{object, present, remove, set};
use crate::strategy::{Column, Context, Strategy, reset_status};

/// HorizontalPodAutoscalers in v2.
pub struct HorizontalPodAutoscaler;
/// HorizontalPodAutoscalers in v1.
pub struct HorizontalPodAutoscalerV1;

impl Strategy for HorizontalPodAutoscaler {
    fn prepare_for_create(&self, autoscaler: &mut Value, _context: &Context<'_>) {
        reset_status(autoscaler);
    }

    fn default(&self, autoscaler: &mut Value) {
        let Some(spec) = object(autoscaler, "spec") else { return };
        set(spec, "minReplicas", 1);
        if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
            spec["metrics"] = cpu_target(&UTILIZATION.into());
        }
        if let Some(behavior) = present(spec, "behavior") {
            default_behavior(behavior);
        }
    }

    fn validate(&self, autoscaler: &Value) -> ErrorList {
        validate(autoscaler, &Value::Null)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        validate(new, old)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let status = At::root(new).at("status");
        crate::counts::not_negative(&status, &["currentReplicas", "desiredReplicas"], &mut errors);
        errors
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn row(&self, autoscaler: &Value, now: i64) -> Vec<Value> {
        let target = &autoscaler["spec"]["scaleTargetRef"];
        let min = autoscaler.pointer("/spec/minReplicas").and_then(Value::as_i64);
        vec![
            name(autoscaler),
            format!("{}/{}", text(target, "/kind"), text(target, "/name")).into(),
            targets::cell(autoscaler).into(),
            min.map_or_else(|| "<unset>".to_owned(), |min| min.to_string()).into(),
            int(autoscaler, "/spec/maxReplicas").into(),
            int(autoscaler, "/status/currentReplicas").into(),
            table::age(autoscaler, now),
        ]
    }
}

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Reference"),
    Column::text("Targets"),
    Column::text("MinPods"),
    Column::text("MaxPods"),
    Column::text("Replicas"),
    Column::AGE,
];

impl Strategy for HorizontalPodAutoscalerV1 {
    fn prepare_for_create(&self, autoscaler: &mut Value, _context: &Context<'_>) {
        reset_status(autoscaler);
    }

    fn default(&self, autoscaler: &mut Value) {
        if let Some(spec) = object(autoscaler, "spec") {
            set(spec, "minReplicas", 1);
        }
        if !round_trip::has_metrics(autoscaler)
            && let Some(spec) = object(autoscaler, "spec")
        {
            set(spec, "targetCPUUtilizationPercentage", UTILIZATION);
        }
    }

    fn validate(&self, autoscaler: &Value) -> ErrorList {
        HorizontalPodAutoscaler.validate(&self.to_storage(autoscaler.clone()))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        HorizontalPodAutoscaler.validate_update(&self.to_storage(new.clone()), &self.to_storage(old.clone()))
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        HorizontalPodAutoscaler.validate_status_update(new, old)
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn row(&self, autoscaler: &Value, now: i64) -> Vec<Value> {
        HorizontalPodAutoscaler.row(&self.to_storage(autoscaler.clone()), now)
    }

    fn to_storage(&self, mut autoscaler: Value) -> Value {
        autoscaler["apiVersion"] = "autoscaling/v2".into();
        if let Some(spec) = object(&mut autoscaler, "spec")
            && let Some(percent) = take(spec, "targetCPUUtilizationPercentage")
        {
            spec["metrics"] = cpu_target(&percent);
        }
        if let Some(status) = present(&mut autoscaler, "status")
            && let Some(percent) = take(status, "currentCPUUtilizationPercentage")
        {
            let current = json!({"name": "cpu", "current": {"averageUtilization": percent}});
            status["currentMetrics"] = json!([{"type": "Resource", "resource": current}]);
        }
        round_trip::restore(&mut autoscaler);
        if let Some(spec) = object(&mut autoscaler, "spec")
            && list(spec, "/metrics").is_empty()
        {
            spec["metrics"] = cpu_target(&UTILIZATION.into());
        }
        if let Some(status) = present(&mut autoscaler, "status") {
            set(status, "currentMetrics", Value::Null);
        }
        autoscaler
    }

    fn from_storage(&self, mut autoscaler: Value) -> Value {
        autoscaler["apiVersion"] = "autoscaling/v1".into();
        let share = |metrics: &str, place: &str| {
            let cpu = list(&autoscaler, metrics).iter().find(|metric| round_trip::is_cpu(metric));
            cpu.and_then(|metric| metric.pointer(place)).cloned()
        };
        let target = share("/spec/metrics", "/resource/target/averageUtilization");
        let current = share("/status/currentMetrics", "/resource/current/averageUtilization");
        round_trip::keep(&mut autoscaler);
        if let Some(spec) = object(&mut autoscaler, "spec") {
            remove(spec, "metrics");
            remove(spec, "behavior");
            if let Some(percent) = target {
                spec["targetCPUUtilizationPercentage"] = percent;
            }
        }
        if let Some(status) = present(&mut autoscaler, "status") {
            remove(status, "currentMetrics");
            remove(status, "conditions");
            set(status, "currentReplicas", 0);
            if let Some(percent) = current {
                status["currentCPUUtilizationPercentage"] = percent;
            }
        }
        autoscaler
    }
}

/// What is aimed at where nothing is said.
const UTILIZATION: i64 = 80;

fn cpu_target(percent: &Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
}

fn take(value: &mut Value, field: &str) -> Option<Value> {
    value.as_object_mut()?.remove(field).filter(|taken| !taken.is_null())
}

fn default_behavior(behavior: &mut Value) {
    if let Some(up) = object(behavior, "scaleUp") {
        set(up, "stabilizationWindowSeconds", 0);
        scaling_rules(
            up,
            &json!([
                {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15},
            ]),
        );
    }
    if let Some(down) = object(behavior, "scaleDown") {
        scaling_rules(down, &json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn scaling_rules(rules: &mut Value, policies: &Value) {
    set(rules, "selectPolicy", "Max");
    set(rules, "policies", policies.clone());
}

fn bounds(spec: &At<'_>, least: i64, errors: &mut ErrorList) {
    let (min, max) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    min.at_least(errors, least);
    let most = max.int().unwrap_or_default();
    match most {
        0 => errors.required(&max.path, ""),
        ..0 => errors.invalid(&max.path, most, "must be greater than 0"),
        _ => {}
    }
    if min.int().is_some_and(|min| most < min) {
        errors.invalid(&max.path, most, "must be greater than or equal to `minReplicas`");
    }
}

/// What scales from zero must be measured elsewhere than in its pods.
fn zero(spec: &At<'_>, errors: &mut ErrorList) {
    let metrics = spec.at("metrics");
    let elsewhere = |metric: &At<'_>| ["Object", "External"].contains(&metric.at("type").text());
    if spec.at("minReplicas").int() == Some(0) && !metrics.items().iter().any(elsewhere) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(&metrics.path, detail);
    }
}

/// `old` is the object as it was, null for a new one: what it already says is let through.
fn validate(autoscaler: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = At::root(autoscaler).at("spec");
    bounds(&spec, i64::from(old.pointer("/spec/minReplicas") != Some(&Value::from(0))), &mut errors);
    rules::target(&spec.at("scaleTargetRef"), &old["spec"]["scaleTargetRef"], &mut errors);
    let lenient = list(old, "/spec/metrics").iter().any(rules::is_odd);
    spec.at("metrics").items().iter().for_each(|found| rules::metric(found, lenient, &mut errors));
    zero(&spec, &mut errors);
    rules::behavior(&spec.at("behavior"), &mut errors);
    errors
}
