//! What v2 knows and v1 has no field for: v1 carries it in annotations, so that a client of v1 loses nothing.

use serde_json::{Map, Value, json};

use crate::cells::{list, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A kind of metric, the field that has it, and where the fields of v1 lie in v2.
type Form = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const SPECS: &[Form] = &[
    (
        "Resource",
        "resource",
        &[
            ("name", "/name"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
        ],
    ),
    (
        "ContainerResource",
        "containerResource",
        &[
            ("name", "/name"),
            ("targetAverageUtilization", "/target/averageUtilization"),
            ("targetAverageValue", "/target/averageValue"),
            ("container", "/container"),
        ],
    ),
    (
        "Pods",
        "pods",
        &[
            ("metricName", "/metric/name"),
            ("targetAverageValue", "/target/averageValue"),
            ("selector", "/metric/selector"),
        ],
    ),
    (
        "Object",
        "object",
        &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("targetValue", "/target/value"),
            ("selector", "/metric/selector"),
            ("averageValue", "/target/averageValue"),
        ],
    ),
    (
        "External",
        "external",
        &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("targetValue", "/target/value"),
            ("targetAverageValue", "/target/averageValue"),
        ],
    ),
];

const STATUSES: &[Form] = &[
    (
        "Resource",
        "resource",
        &[
            ("name", "/name"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    ),
    (
        "ContainerResource",
        "containerResource",
        &[
            ("name", "/name"),
            ("currentAverageUtilization", "/current/averageUtilization"),
            ("currentAverageValue", "/current/averageValue"),
            ("container", "/container"),
        ],
    ),
    (
        "Pods",
        "pods",
        &[
            ("metricName", "/metric/name"),
            ("currentAverageValue", "/current/averageValue"),
            ("selector", "/metric/selector"),
        ],
    ),
    (
        "Object",
        "object",
        &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("currentValue", "/current/value"),
            ("selector", "/metric/selector"),
            ("averageValue", "/current/averageValue"),
        ],
    ),
    (
        "External",
        "external",
        &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("currentValue", "/current/value"),
            ("currentAverageValue", "/current/averageValue"),
        ],
    ),
];

pub fn is_cpu(metric: &Value) -> bool {
    text(metric, "/type") == "Resource" && text(metric, "/resource/name") == "cpu"
}

/// Whether an autoscaler in v1 carries metrics that only v2 has a field for.
pub fn has_metrics(autoscaler: &Value) -> bool {
    let kept = autoscaler["metadata"]["annotations"][METRICS].as_str();
    kept.and_then(|text| serde_json::from_str(text).ok()).is_some_and(|metrics: Vec<Value>| !metrics.is_empty())
}

/// Adds what `autoscaler`, in v2, has for v1's annotations.
pub fn keep(autoscaler: &mut Value) {
    let share = |metric: &&Value| is_cpu(metric) && metric.pointer("/resource/target/averageUtilization").is_some();
    let others: Vec<Value> =
        list(autoscaler, "/spec/metrics").iter().filter(|metric| !share(metric)).map(spec).collect();
    let current: Vec<Value> = list(autoscaler, "/status/currentMetrics").iter().map(status).collect();
    let conditions = list(autoscaler, "/status/conditions").to_vec();
    let behavior = autoscaler.pointer("/spec/behavior").filter(|behavior| behavior.is_object()).map(capitalized);
    let lists = [(METRICS, others), (CURRENT_METRICS, current), (CONDITIONS, conditions)];
    let lists = lists.into_iter().filter(|(_, values)| !values.is_empty());
    let kept = lists.map(|(name, values)| (name, Value::from(values))).chain(behavior.map(|found| (BEHAVIOR, found)));
    for (name, value) in kept.collect::<Vec<_>>() {
        if !autoscaler["metadata"]["annotations"].is_object() {
            autoscaler["metadata"]["annotations"] = json!({});
        }
        autoscaler["metadata"]["annotations"][name] = value.to_string().into();
    }
}

/// Takes it back out of the annotations, which end here. What cannot be read is let go of, as upstream does.
pub fn restore(autoscaler: &mut Value) {
    let mut taken = |name: &str| -> Option<Value> {
        let annotations = autoscaler.pointer_mut("/metadata/annotations")?.as_object_mut()?;
        let value = annotations.remove(name)?;
        serde_json::from_str(value.as_str()?).ok()
    };
    let [metrics, current, conditions, behavior] = [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].map(&mut taken);
    if autoscaler.pointer("/metadata/annotations").is_some_and(|left| left.as_object().is_some_and(Map::is_empty)) {
        autoscaler["metadata"].as_object_mut().map(|metadata| metadata.remove("annotations"));
    }
    for metric in metrics.iter().flat_map(|metrics| list(metrics, "")) {
        push(&mut autoscaler["spec"], "metrics", metric_of(metric, SPECS, true));
    }
    if let Some(current) = current {
        autoscaler["status"]["currentMetrics"] =
            list(&current, "").iter().map(|metric| metric_of(metric, STATUSES, false)).collect();
    }
    if let Some(conditions @ Value::Array(_)) = conditions {
        autoscaler["status"]["conditions"] = conditions;
    }
    if let Some(behavior) = behavior.filter(Value::is_object) {
        autoscaler["spec"]["behavior"] = uncapitalized(&behavior);
    }
}

fn push(value: &mut Value, field: &str, item: Value) {
    match value[field].as_array_mut() {
        Some(items) => items.push(item),
        None => value[field] = json!([item]),
    }
}

fn spec(metric: &Value) -> Value {
    flat(metric, SPECS)
}

fn status(metric: &Value) -> Value {
    flat(metric, STATUSES)
}

/// From v2 to the form of the annotation.
fn flat(metric: &Value, forms: &[Form]) -> Value {
    let kind = text(metric, "/type");
    let Some((_, field, pairs)) = forms.iter().find(|(name, ..)| *name == kind) else { return json!({"type": kind}) };
    let source = &metric[*field];
    let found = pairs.iter().filter_map(|(name, place)| Some(((*name).to_owned(), source.pointer(place)?.clone())));
    json!({"type": kind, *field: Value::Object(found.collect())})
}

/// And back. A target's type is told by the value it has.
fn metric_of(flat: &Value, forms: &[Form], is_target: bool) -> Value {
    let kind = text(flat, "/type");
    let Some((_, field, pairs)) = forms.iter().find(|(name, ..)| *name == kind) else { return json!({"type": kind}) };
    let mut source = json!({});
    for (name, place) in *pairs {
        if let Some(value) = flat[*field].get(*name) {
            set_at(&mut source, place, value.clone());
        }
    }
    if is_target {
        let target = &source["target"];
        let kinds = [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
        let found = kinds.into_iter().find(|(name, _)| target.get(name).is_some());
        source["target"]["type"] = found.map_or("Value", |(_, kind)| kind).into();
    }
    json!({"type": kind, *field: source})
}

fn set_at(source: &mut Value, place: &str, value: Value) {
    let last = place[1..].split('/').fold(source, |at, name| &mut at[name]);
    *last = value;
}

/// The annotation of the behavior names its fields as Go does.
fn capitalized(value: &Value) -> Value {
    renamed(value, &|first| first.to_ascii_uppercase())
}

fn uncapitalized(value: &Value) -> Value {
    renamed(value, &|first| first.to_ascii_lowercase())
}

fn renamed(value: &Value, first: &dyn Fn(char) -> char) -> Value {
    let rename = |name: &str| {
        let mut letters = name.chars();
        letters.next().map(|letter| first(letter).to_string() + letters.as_str()).unwrap_or_default()
    };
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (rename(name), renamed(value, first))).collect())
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, first)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn stored() -> Value {
        let selector = json!({"matchLabels": {"a": "b"}});
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": selector}, "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"}, "metric": {"name": "rps"}, "target": {"type": "Value", "value": "5"}}},
                    {"type": "External", "external": {"metric": {"name": "queue", "selector": selector}, "target": {"type": "AverageValue", "averageValue": "2"}}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 70}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}},
            "status": {"currentReplicas": 1, "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 33, "averageValue": "9m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True", "reason": "r"}]},
        })
    }

    #[test]
    fn nothing_is_lost_between_the_versions() {
        let v1 = super::super::HorizontalPodAutoscalerV1;
        let shown = v1.from_storage(stored());
        assert_eq!(shown["spec"]["targetCPUUtilizationPercentage"], 60);
        assert_eq!(shown["status"]["currentCPUUtilizationPercentage"], 33);
        let annotations = &shown["metadata"]["annotations"];
        assert!(
            annotations[METRICS]
                .as_str()
                .unwrap()
                .starts_with(r#"[{"resource":{"name":"memory","targetAverageValue":"1Gi"}"#)
        );
        assert!(annotations[BEHAVIOR].as_str().unwrap().contains("StabilizationWindowSeconds"));
        assert!(shown["spec"].get("behavior").is_none() && shown["status"].get("conditions").is_none());
        assert_eq!(v1.to_storage(shown), stored());
    }

    #[test]
    fn annotations_that_nobody_can_read_are_let_go_of() {
        let mut shown = json!({"metadata": {"annotations": {METRICS: "{", CURRENT_METRICS: "1", BEHAVIOR: "[]", "own": "x"}},
            "spec": {"maxReplicas": 1}, "status": {}});
        restore(&mut shown);
        assert_eq!(shown["metadata"]["annotations"], json!({"own": "x"}));
        assert_eq!(shown["spec"], json!({"maxReplicas": 1}));
    }
}
