//! What a node's state means for its taints and its pods.

use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Node, NodeCondition, Pod, Taint};
use api::metav1::Time;
use apimachinery::nodes::covers;
use jiff::{SignedDuration, Timestamp};

use super::counts_as_ready;
use crate::pods::is_deleted;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Conditions that a silent kubelet leaves behind, and the taint that each means when it holds.
const CONDITIONS: [(&str, Option<&str>); 4] = [
    ("Ready", None),
    ("MemoryPressure", Some("node.kubernetes.io/memory-pressure")),
    ("DiskPressure", Some("node.kubernetes.io/disk-pressure")),
    ("PIDPressure", Some("node.kubernetes.io/pid-pressure")),
];
const NETWORK: &str = "node.kubernetes.io/network-unavailable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(super) struct Plan {
    /// Conditions that change.
    pub conditions: Vec<NodeCondition>,
    /// All taints of the node, when they change.
    pub taints: Option<Vec<Taint>>,
    pub unready: Vec<Arc<Pod>>,
    pub evict: Vec<Arc<Pod>>,
    pub next_eviction: Option<Duration>,
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn status<'a>(node: &'a Node, kind: &str) -> &'a str {
    condition(node, kind).map_or("", |condition| condition.status.as_str())
}

/// When the node last said how it is.
pub(super) fn heartbeat(node: &Node) -> String {
    let ready = condition(node, "Ready").filter(|condition| condition.status != "Unknown");
    ready
        .and_then(|condition| condition.last_heartbeat_time.as_ref())
        .map(|time| time.0.to_string())
        .unwrap_or_default()
}

pub(super) fn plan(node: &Node, pods: &[Arc<Pod>], lost: bool, now: Timestamp) -> Plan {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let conditions = if lost { unknown(node, now) } else { Vec::new() };
    let taints = taints(node, lost, now);
    let ready = if lost { "Unknown" } else { status(node, "Ready") };
    let unready = if ready == "True" {
        Vec::new()
    } else {
        pods.iter().filter(|pod| counts_as_ready(pod, now)).cloned().collect()
    };
    let present = taints.as_deref().unwrap_or(current_taints(node));
    let mut plan = Plan { conditions, unready, evict: Vec::new(), next_eviction: None, taints: None };
    for pod in pods.iter().filter(|pod| !is_deleted(&pod.metadata)) {
        let Some(at) = eviction(pod, present) else { continue };
        if at <= now {
            plan.evict.push(pod.clone());
        } else {
            let wait = Duration::try_from(at - now).unwrap_or_default();
            plan.next_eviction = Some(plan.next_eviction.map_or(wait, |next| next.min(wait)));
        }
    }
    plan.taints = taints;
    plan
}

/// A node that never spoke since it was made has not even begun: its conditions are created.
fn unknown(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let of = |(kind, _): &(&str, Option<&str>)| {
        let old = condition(node, kind);
        if old.is_some_and(|old| old.status == "Unknown") {
            return None;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        Some(NodeCondition {
            type_: (*kind).into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: old.and_then(|old| old.last_heartbeat_time.clone()),
            last_transition_time: Some(Time(now)),
        })
    };
    CONDITIONS.iter().filter_map(of).collect()
}

fn current_taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// The node's taints, if those that follow from its conditions are to change.
fn taints(node: &Node, lost: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let wanted = wanted(node, lost);
    let ours = |taint: &Taint| {
        let known = CONDITIONS.iter().filter_map(|(_, taint)| *taint);
        let known = known.chain([NOT_READY, UNREACHABLE, NETWORK, UNSCHEDULABLE]);
        let effect = taint.effect == "NoSchedule"
            || (taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&&*taint.key));
        effect && known.into_iter().any(|key| key == taint.key)
    };
    let current = current_taints(node);
    let stays = |taint: &&Taint| !ours(taint) || wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> = current.iter().filter(stays).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let time_added = Some(Time(now));
            taints.push(Taint { key: key.into(), effect: effect.into(), time_added, value: None });
        }
    }
    (taints != current).then_some(taints)
}

fn wanted(node: &Node, lost: bool) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    match if lost { "Unknown" } else { status(node, "Ready") } {
        "True" => {}
        "Unknown" => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        _ => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    }
    for (kind, taint) in CONDITIONS.into_iter().filter_map(|(kind, taint)| Some((kind, taint?))) {
        if !lost && status(node, kind) == "True" {
            wanted.push((taint, "NoSchedule"));
        }
    }
    if status(node, "NetworkUnavailable") == "True" {
        wanted.push((NETWORK, "NoSchedule"));
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

/// When the pod must go because of the taints: the shortest of its tolerations counts from when the first was set.
fn eviction(pod: &Pod, taints: &[Taint]) -> Option<Timestamp> {
    let spec = pod.spec.as_ref()?;
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let mut earliest: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let mut covering = tolerations.iter().filter(|toleration| covers(toleration, taint)).peekable();
        let added = taint.time_added.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let at = if covering.peek().is_none() {
            Some(Timestamp::UNIX_EPOCH)
        } else {
            let limits = covering.filter_map(|toleration| toleration.toleration_seconds);
            limits.min().map(|seconds| added + SignedDuration::from_secs(seconds.max(0)))
        };
        earliest = earliest.into_iter().chain(at).min();
    }
    earliest
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    const NOW: &str = "2027-01-15T08:00:00Z";

    fn check(ready: &str, taints: serde_json::Value, tolerations: serde_json::Value, lost: bool, want: Expect) {
        let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let node: Node = serde_json::from_value(node).expect("a node");
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [], "tolerations": tolerations}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let plan = plan(&node, &[Arc::new(pod)], lost, NOW.parse().expect("a time"));
        let conditions: Vec<_> = plan.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        let taints = plan
            .taints
            .map(|taints| taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect::<Vec<_>>());
        let text = format!(
            "unknown {conditions:?}\ntaints {taints:?}\nunready {} evict {} next {:?}",
            plan.unready.len(),
            plan.evict.len(),
            plan.next_eviction
        );
        want.assert_eq(&text);
    }

    #[test]
    fn a_ready_node_loses_its_taints_but_not_others() {
        let taints = json!([{"key": "mine", "effect": "NoExecute"}, {"key": NOT_READY, "effect": "NoExecute"}, {"key": NOT_READY, "effect": "NoSchedule"}]);
        check(
            "True",
            taints,
            json!([{"operator": "Exists"}]),
            false,
            expect![[r#"
            unknown []
            taints Some(["mine:NoExecute"])
            unready 0 evict 0 next None"#]],
        );
    }

    #[test]
    fn a_lost_node_is_tainted_and_its_pods_wait_for_their_time() {
        check(
            "True",
            json!([]),
            json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]),
            true,
            expect![[r#"
            unknown ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
            taints Some(["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"])
            unready 1 evict 0 next Some(300s)"#]],
        );
    }

    #[test]
    fn a_pod_without_toleration_goes_at_once() {
        check(
            "True",
            json!([{"key": "mine", "effect": "NoExecute"}]),
            json!([]),
            false,
            expect![[r#"
            unknown []
            taints None
            unready 0 evict 1 next None"#]],
        );
    }
}
