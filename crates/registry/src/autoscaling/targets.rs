//! What a row says of the metrics of an autoscaler: as they are, and as they are to be.

use serde_json::Value;

use crate::cells::{list, text};

const SHOWN: usize = 2;
const UNKNOWN: &str = "<unknown>";

pub fn cell(autoscaler: &Value) -> String {
    let statuses = list(autoscaler, "/status/currentMetrics");
    let metrics = list(autoscaler, "/spec/metrics").iter().enumerate();
    let cells: Vec<String> = metrics.map(|(index, metric)| target(metric, statuses.get(index))).collect();
    let shown = cells.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match cells.len() {
        0 => "<none>".into(),
        count if count > SHOWN => format!("{shown} + {} more...", count - SHOWN),
        _ => shown,
    }
}

/// A metric, and the status at the same place.
fn target(metric: &Value, status: Option<&Value>) -> String {
    let source = match text(metric, "/type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".into(),
    };
    let goal = &metric[source]["target"];
    let now = status.and_then(|status| status.get(source)).map(|status| &status["current"]);
    let amount = |field: &str| now.and_then(|now| now[field].as_str()).unwrap_or(UNKNOWN);
    let by_average = goal["averageValue"].is_string();
    match source {
        "pods" => format!("{}/{}", amount("averageValue"), text(goal, "/averageValue")),
        "external" | "object" if by_average => {
            format!("{}/{} (avg)", amount("averageValue"), text(goal, "/averageValue"))
        }
        "external" | "object" => format!("{}/{}", amount("value"), text(goal, "/value")),
        _ => {
            let name = text(&metric[source], "/name");
            if by_average {
                return format!("{name}: {}/{}", amount("averageValue"), text(goal, "/averageValue"));
            }
            let percent = |value: &Value| value.as_i64().map(|percent| format!("{percent}%"));
            let now = now.and_then(|now| percent(&now["averageUtilization"])).unwrap_or_else(|| UNKNOWN.into());
            format!("{name}: {now}/{}", percent(&goal["averageUtilization"]).unwrap_or_else(|| "<auto>".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_metric_is_shown_beside_its_status() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        let queue = json!({"type": "External", "external": {"target": {"averageValue": "5"}}});
        let rate = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
        let now = json!([{"resource": {"current": {"averageUtilization": 12}}}, {"external": {"current": {"averageValue": "4"}}}]);
        let object = |metrics: Value| json!({"spec": {"metrics": metrics}, "status": {"currentMetrics": now}});
        assert_eq!(cell(&object(json!([cpu, queue]))), "cpu: 12%/80%, 4/5 (avg)");
        assert_eq!(cell(&object(json!([rate, queue, cpu]))), "<unknown>/10, 4/5 (avg) + 1 more...");
        assert_eq!(cell(&json!({})), "<none>");
    }
}
