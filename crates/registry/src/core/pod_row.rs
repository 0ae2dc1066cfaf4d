//! The row of a pod in a table.

use apimachinery::table;
use serde_json::Value;

use crate::cells::{int, list, name, or, text};
use crate::strategy::Column;

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready"),
    Column::text("Status"),
    Column::text("Restarts"),
    Column::AGE,
    Column::wide("IP"),
    Column::wide("Node"),
    Column::wide("Nominated Node"),
    Column::wide("Readiness Gates"),
];

#[derive(Default)]
struct Summary {
    reason: String,
    ready: i64,
    total: usize,
    restarts: i64,
    last_restart: Option<i64>,
}

pub fn row(pod: &Value, now: i64) -> Vec<Value> {
    let summary = summarize(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, table::human_duration(now - last))
        }
        _ => summary.restarts.to_string(),
    };
    let address = list(pod, "/status/podIPs").first().map_or(text(pod, "/status/podIP"), |ip| text(ip, "/ip"));
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        table::age(pod, now),
        or(address, "<none>").into(),
        or(text(pod, "/spec/nodeName"), "<none>").into(),
        or(text(pod, "/status/nominatedNodeName"), "<none>").into(),
        readiness_gates(pod).into(),
    ]
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    list(pod, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

fn is_true(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| condition["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let ready = gates.iter().filter(|gate| is_true(pod, text(gate, "/conditionType"))).count();
    format!("{ready}/{}", gates.len())
}

fn summarize(pod: &Value) -> Summary {
    let phase = text(pod, "/status/phase");
    let mut summary = Summary {
        reason: or(text(pod, "/status/reason"), phase).to_owned(),
        total: list(pod, "/spec/containers").len(),
        ..Summary::default()
    };
    if condition(pod, "PodScheduled").is_some_and(|condition| condition["reason"] == "SchedulingGated") {
        summary.reason = "SchedulingGated".into();
    }
    let sidecars = Sidecars::of(pod);
    summary.total += sidecars.0.len();
    let initializing = init_containers(pod, &sidecars, &mut summary);
    if !initializing || is_true(pod, "Initialized") {
        containers(pod, &sidecars, &mut summary);
    }
    deletion(pod, phase, &mut summary);
    summary
}

fn deletion(pod: &Value, phase: &str, summary: &mut Summary) {
    if pod.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null) {
        return;
    }
    if text(pod, "/status/reason") == "NodeLost" {
        summary.reason = "Unknown".into();
    } else if !["Failed", "Succeeded"].contains(&phase) {
        summary.reason = "Terminating".into();
    }
}

/// Init containers that go on running beside the others.
struct Sidecars<'a>(Vec<&'a str>);

impl<'a> Sidecars<'a> {
    fn of(pod: &'a Value) -> Self {
        let always = list(pod, "/spec/initContainers").iter().filter(|c| c["restartPolicy"] == "Always");
        Self(always.map(|container| text(container, "/name")).collect())
    }

    fn has(&self, status: &Value) -> bool {
        self.0.contains(&text(status, "/name"))
    }
}

fn count_restarts(status: &Value, summary: &mut Summary) {
    summary.restarts += int(status, "/restartCount");
    let finished = status.pointer("/lastState/terminated/finishedAt").and_then(apimachinery::time::seconds);
    summary.last_restart = summary.last_restart.max(finished);
}

/// Whether the pod is still initializing.
fn init_containers(pod: &Value, sidecars: &Sidecars<'_>, summary: &mut Summary) -> bool {
    let count = list(pod, "/spec/initContainers").len();
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        count_restarts(status, summary);
        let (terminated, waiting) = (status.pointer("/state/terminated"), text(status, "/state/waiting/reason"));
        if terminated.is_some_and(|ended| int(ended, "/exitCode") == 0) {
            continue;
        }
        if sidecars.has(status) && status["started"] == true {
            summary.ready += i64::from(status["ready"] == true);
            continue;
        }
        summary.reason = match terminated {
            Some(ended) => format!("Init:{}", ended_reason(ended)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{count}"),
        };
        return true;
    }
    false
}

fn ended_reason(ended: &Value) -> String {
    match (text(ended, "/reason"), int(ended, "/signal")) {
        ("", 0) => format!("ExitCode:{}", int(ended, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn containers(pod: &Value, sidecars: &Sidecars<'_>, summary: &mut Summary) {
    (summary.restarts, summary.last_restart) = (0, None);
    for status in list(pod, "/status/initContainerStatuses").iter().filter(|status| sidecars.has(status)) {
        count_restarts(status, summary);
    }
    let mut running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        count_restarts(status, summary);
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(ended) = status.pointer("/state/terminated") {
            summary.reason = ended_reason(ended);
        } else if status["ready"] == true && status.pointer("/state/running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        summary.reason = if is_true(pod, "Ready") { "Running" } else { "NotReady" }.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(pod: Value) -> Vec<Value> {
        row(&pod, 1_000)
    }

    #[test]
    fn a_running_pod_shows_its_restarts_with_their_age() {
        let pod = json!({
            "metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:10:00Z"},
            "spec": {"containers": [{"name": "c"}], "nodeName": "n1"},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [{
                "name": "c", "ready": true, "restartCount": 1, "state": {"running": {}},
                "lastState": {"terminated": {"finishedAt": "1970-01-01T00:16:35Z"}},
            }]},
        });
        let expected = ["web", "1/1", "Running", "1 (5s ago)", "6m40s", "10.0.0.1", "n1", "<none>", "<none>"];
        assert_eq!(cells(pod), expected);
    }

    #[test]
    fn the_status_tells_the_most_telling_reason() {
        let status = |status: Value| {
            cells(json!({"spec": {"containers": [{}], "initContainers": [{}, {}]}, "status": status}))[2].clone()
        };
        assert_eq!(status(json!({"phase": "Pending"})), "Pending");
        assert_eq!(
            status(json!({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]})),
            "Init:0/2"
        );
        let crash =
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        assert_eq!(status(crash), "CrashLoopBackOff");
        assert_eq!(status(json!({"phase": "Failed", "reason": "Evicted"})), "Evicted");
        let exited = json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]});
        assert_eq!(status(exited), "ExitCode:3");
    }
}
