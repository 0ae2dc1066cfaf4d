//! What a ReplicaSet needs, decided from what was seen.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::appsv1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use api::corev1::Pod;
use api::metav1::ObjectMeta;
use apimachinery::labels::Selector;
use client::Object;
use jiff::Timestamp;

use crate::ownership::reference;
use crate::pods::{
    annotation, available_at, condition, is_active, is_available, is_deleted, is_ready, phase, seconds, selector,
};

/// More are not created or deleted in one pass.
const BURST_MAX: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(crate) struct Plan {
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
    pub status: ReplicaSetStatus,
    /// When the next pod becomes available without any further event.
    pub next_available: Option<Duration>,
}

pub(crate) fn pod_selector(set: &ReplicaSet) -> Selector {
    set.spec.as_ref().map_or_else(Selector::nothing, |spec| selector(&spec.selector))
}

pub(crate) fn plan(set: &ReplicaSet, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let spec = set.spec.clone().unwrap_or_default();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let active: Vec<_> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
    let create = wanted.saturating_sub(active.len()).min(BURST_MAX);
    let surplus = active.len().saturating_sub(wanted).min(BURST_MAX);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let next_available = active.iter().filter_map(|pod| available_at(pod, min_ready)).filter(|at| *at > now).min();
    Plan {
        create,
        delete: to_delete(active.clone(), surplus, now),
        status: status(set, pods, &active, now),
        next_available: next_available.map(|at| Duration::try_from(at - now).unwrap_or_default()),
    }
}

fn status(set: &ReplicaSet, pods: &[Arc<Pod>], active: &[Arc<Pod>], now: Timestamp) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec.template.and_then(|template| template.metadata).and_then(|metadata| metadata.labels);
    let template = template.unwrap_or_default();
    let fully_labeled = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        template.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    };
    let count =
        |test: &dyn Fn(&Pod) -> bool| i32::try_from(active.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let terminating =
        pods.iter().filter(|pod| is_deleted(&pod.metadata) && !matches!(phase(pod), "Succeeded" | "Failed"));
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some_if_positive(count(&fully_labeled)),
        ready_replicas: some_if_positive(count(&is_ready)),
        available_replicas: some_if_positive(count(&|pod| is_available(pod, min_ready, now))),
        terminating_replicas: i32::try_from(terminating.count()).ok(),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

/// Zero is absent on the wire.
fn some_if_positive(count: i32) -> Option<i32> {
    (count > 0).then_some(count)
}

/// The condition of a set whose pods could not be made or removed.
pub(crate) fn failure(plan: &Plan, message: String, now: Timestamp) -> ReplicaSetCondition {
    let reason = if plan.create > 0 { "FailedCreate" } else { "FailedDelete" };
    ReplicaSetCondition {
        type_: "ReplicaFailure".into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(seconds(now)),
    }
}

/// Sets the condition, or removes it after a pass that went well. One that is set already keeps its time.
pub(crate) fn with_failure(mut status: ReplicaSetStatus, failure: Option<ReplicaSetCondition>) -> ReplicaSetStatus {
    let mut conditions = status.conditions.take().unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some(failure) if !known => conditions.push(failure),
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    status
}

/// A pod from the set's template.
pub(crate) fn new_pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.clone().and_then(|spec| spec.template).unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name())),
            namespace: set.metadata.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The `count` pods whose loss costs least.
fn to_delete(mut pods: Vec<Arc<Pod>>, count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    if count == 0 {
        return Vec::new();
    }
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in &pods {
        *on_node.entry(node(pod).to_owned()).or_default() += 1;
    }
    pods.sort_by(|a, b| cheaper(a, b, &on_node, now));
    pods.truncate(count);
    pods
}

/// Less means: delete first, of pods whose number on a node does not matter.
pub(crate) fn cheaper_pod(a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    cheaper(a, b, &HashMap::new(), now)
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Less means: delete first. Unassigned, then not running, then not ready, then cheap by annotation, then crowded, then
/// ready for a shorter time, then restarted more often, then younger. Times are compared by their magnitude, so that
/// pods of about the same age are chosen by UID, not always the same way.
fn cheaper(a: &Pod, b: &Pod, on_node: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let crowd = |pod: &Pod| on_node.get(node(pod)).copied().unwrap_or(0);
    let assigned = |pod: &Pod| !node(pod).is_empty();
    let running = |pod: &Pod| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| running(a).cmp(&running(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| magnitude(ready_since(a), now).cmp(&magnitude(ready_since(b), now)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| magnitude(created(a), now).cmp(&magnitude(created(b), now)))
        .then_with(|| a.uid().cmp(b.uid()))
}

fn deletion_cost(pod: &Pod) -> i32 {
    annotation(&pod.metadata, DELETION_COST).parse().unwrap_or(0)
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")?.last_transition_time.as_ref().map(|time| time.0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Of an age in seconds: its number of binary digits.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> u32 {
    let age = since.map_or(0, |since| now.as_second() - since.as_second());
    u64::BITS - u64::try_from(age).unwrap_or(0).leading_zeros()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn pod(words: &str) -> Arc<Pod> {
        let mut words = words.split_whitespace();
        let name = words.next().expect("a name");
        let mut pod = json!({"metadata": {"name": name, "uid": name, "labels": {"app": "web"}}, "spec": {"nodeName": "n1", "containers": []}, "status": {"phase": "Running"}});
        for word in words {
            let (what, value) = word.split_once('=').unwrap_or((word, ""));
            match what {
                "pending" => pod["status"]["phase"] = "Pending".into(),
                "failed" => pod["status"]["phase"] = "Failed".into(),
                "unassigned" => pod["spec"]["nodeName"] = "".into(),
                "node" => pod["spec"]["nodeName"] = value.into(),
                "cost" => pod["metadata"]["annotations"] = json!({DELETION_COST: value}),
                "deleted" => pod["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z".into(),
                "ready" => {
                    let since = Timestamp::from_second(NOW - value.parse::<i64>().expect("seconds")).expect("in range");
                    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since.to_string()});
                    pod["status"]["conditions"] = json!([ready]);
                }
                other => panic!("{other}"),
            }
        }
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn check(replicas: i32, pods: &[&str], want: Expect) {
        let set = json!({"metadata": {"name": "web", "generation": 3}, "spec": {"replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}}});
        let set: ReplicaSet = serde_json::from_value(set).expect("a set");
        let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
        let plan = plan(&set, &pods, Timestamp::from_second(NOW).expect("in range"));
        let names: Vec<_> = plan.delete.iter().map(|pod| pod.name()).collect();
        let status = serde_json::to_string(&plan.status).expect("JSON");
        let next = plan.next_available.map(|wait| wait.as_secs());
        want.assert_eq(&format!("create {} delete {names:?} next {next:?}\n{status}", plan.create));
    }

    #[test]
    fn creates_what_is_missing_and_counts_only_active_pods() {
        check(
            3,
            &["a ready=100", "b failed", "c deleted", "d ready=4"],
            expect![[r#"
                create 1 delete [] next Some(6)
                {"availableReplicas":1,"fullyLabeledReplicas":2,"observedGeneration":3,"readyReplicas":2,"replicas":2,"terminatingReplicas":1}"#]],
        );
    }

    #[test]
    fn deletes_the_cheapest_first() {
        check(
            1,
            &["a ready=100", "b ready=100 cost=-5", "c pending", "d unassigned pending", "e", "f ready=100 node=n2"],
            expect![[r#"
                create 0 delete ["d", "c", "e", "b", "a"] next None
                {"availableReplicas":3,"fullyLabeledReplicas":6,"observedGeneration":3,"readyReplicas":3,"replicas":6,"terminatingReplicas":0}"#]],
        );
    }
}
