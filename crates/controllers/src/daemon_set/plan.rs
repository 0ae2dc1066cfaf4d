//! Which nodes are to have a pod, and which pods are to go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::appsv1::{DaemonSet, DaemonSetStatus};
use api::corev1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use api::metav1::ObjectMeta;
use apimachinery::labels::Selector;
use apimachinery::nodes;
use client::Object;
use jiff::Timestamp;

use super::revisions::HASH;
use crate::deployment::scaled;
use crate::ownership::reference;
use crate::pods::{available_at, is_available, is_deleted, is_ready, label, phase, selector};

const GENERATION: &str = "pod-template-generation";
/// Taints that daemons live with: they are there before the node is ready, and stay when it is in trouble.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

pub(super) struct Plan {
    /// Names of nodes that get a pod.
    pub create: Vec<String>,
    pub delete: Vec<Arc<Pod>>,
    pub status: DaemonSetStatus,
    pub check_again: Option<Duration>,
}

/// The pods on one node.
#[derive(Default)]
struct OnNode {
    wanted: bool,
    /// Pods that are there may stay though new ones would not be started.
    tolerated: bool,
    pods: Vec<Arc<Pod>>,
}

/// Whether nothing of a node that daemons depend on has changed.
pub(super) fn looks_the_same(old: &Node, new: &Node) -> bool {
    let taints = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    old.metadata.labels == new.metadata.labels && taints(old) == taints(new)
}

pub(super) fn plan(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>], hash: &str, now: Timestamp) -> Plan {
    let on_nodes = place(set, nodes, pods);
    let mut plan =
        Plan { create: Vec::new(), delete: Vec::new(), status: status(set, &on_nodes, hash, now), check_again: None };
    for (node, on_node) in &on_nodes {
        manage(node, on_node, &mut plan);
    }
    if plan.create.is_empty() && plan.delete.is_empty() {
        roll(set, &on_nodes, hash, now, &mut plan);
    }
    let min_ready = min_ready(set);
    let next = pods.iter().filter_map(|pod| available_at(pod, min_ready)).filter(|at| *at > now).min();
    plan.check_again = next.map(|at| Duration::try_from(at - now).unwrap_or_default());
    plan
}

fn min_ready(set: &DaemonSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

fn place(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> BTreeMap<String, OnNode> {
    let mut on_nodes: BTreeMap<String, OnNode> = BTreeMap::new();
    for node in nodes {
        let (wanted, tolerated) = fits(set, node);
        on_nodes.insert(node.name().to_owned(), OnNode { wanted, tolerated, pods: Vec::new() });
    }
    for pod in pods {
        on_nodes.entry(target(pod)).or_default().pods.push(pod.clone());
    }
    on_nodes
}

/// Whether the node is to have a pod, and whether a pod that is there may stay.
fn fits(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let Some(spec) = new_pod(set, node.name(), "").spec else { return (false, false) };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let allowed = nodes::allows(&spec, node) && spec.node_name.as_deref().is_none_or(|name| name == node.name());
    let schedules = nodes::untolerated(node, tolerations, &["NoSchedule", "NoExecute"]).is_none();
    let stays = nodes::untolerated(node, tolerations, &["NoExecute"]).is_none();
    (allowed && schedules, allowed && stays)
}

/// The node that a pod is on, or is meant for.
fn target(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(node) = spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()) {
        return node;
    }
    let affinity = spec.and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let fields = required
        .into_iter()
        .flat_map(|required| &required.node_selector_terms)
        .filter_map(|term| term.match_fields.as_ref());
    let mut names = fields
        .flatten()
        .filter(|field| field.key == "metadata.name")
        .filter_map(|field| field.values.as_ref()?.first());
    names.next().cloned().unwrap_or_default()
}

/// Creates the missing pod, removes finished and surplus ones.
fn manage(node: &str, on_node: &OnNode, plan: &mut Plan) {
    if !on_node.wanted && !on_node.tolerated {
        plan.delete.extend(on_node.pods.iter().filter(|pod| !is_deleted(&pod.metadata)).cloned());
        return;
    }
    let (finished, mut running): (Vec<_>, Vec<_>) = on_node
        .pods
        .iter()
        .filter(|pod| !is_deleted(&pod.metadata))
        .cloned()
        .partition(|pod| matches!(phase(pod), "Failed" | "Succeeded"));
    let ending = on_node.pods.iter().any(|pod| is_deleted(&pod.metadata));
    if on_node.wanted && running.is_empty() && finished.is_empty() && !ending {
        plan.create.push(node.to_owned());
    }
    plan.delete.extend(finished);
    // The oldest stays; during a surge there are two of different revisions.
    running.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.name().to_owned()));
    let mut revisions: Vec<&str> = Vec::new();
    for pod in &running {
        let revision = label(&pod.metadata, HASH);
        if revisions.contains(&revision) {
            plan.delete.push(pod.clone());
        }
        revisions.push(revision);
    }
}

/// One step of a rolling update.
fn roll(set: &DaemonSet, on_nodes: &BTreeMap<String, OnNode>, hash: &str, now: Timestamp, plan: &mut Plan) {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = i32::try_from(on_nodes.values().filter(|on_node| on_node.wanted).count()).unwrap_or(i32::MAX);
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).map_or(0, |surge| scaled(surge, wanted, true));
    let unavailable =
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).map_or(1, |max| scaled(max, wanted, true));
    if surge > 0 {
        roll_by_surge(set, on_nodes, hash, now, surge, plan)
    } else {
        roll_by_removal(set, on_nodes, hash, now, unavailable.max(1), plan)
    }
}

fn roll_by_removal(
    set: &DaemonSet,
    on_nodes: &BTreeMap<String, OnNode>,
    hash: &str,
    now: Timestamp,
    max: i32,
    plan: &mut Plan,
) {
    let min_ready = min_ready(set);
    let available = |pod: &Pod| is_available(pod, min_ready, now) && !is_deleted(&pod.metadata);
    let mut unavailable = 0;
    let mut candidates = Vec::new();
    for on_node in on_nodes.values().filter(|on_node| on_node.wanted) {
        if !on_node.pods.iter().any(|pod| available(pod)) {
            unavailable += 1;
        }
        let old = on_node.pods.iter().filter(|pod| label(&pod.metadata, HASH) != hash && !is_deleted(&pod.metadata));
        candidates.extend(old.cloned());
    }
    for pod in candidates {
        // An old pod that is not available costs nothing.
        if !available(&pod) {
            plan.delete.push(pod);
        } else if unavailable < max {
            unavailable += 1;
            plan.delete.push(pod);
        }
    }
}

fn roll_by_surge(
    set: &DaemonSet,
    on_nodes: &BTreeMap<String, OnNode>,
    hash: &str,
    now: Timestamp,
    max: i32,
    plan: &mut Plan,
) {
    let min_ready = min_ready(set);
    let mut surging = 0;
    let mut candidates = Vec::new();
    for (node, on_node) in on_nodes.iter().filter(|(_, on_node)| on_node.wanted) {
        let of = |new: bool| {
            let live = on_node.pods.iter().filter(|pod| !is_deleted(&pod.metadata));
            live.filter(|pod| (label(&pod.metadata, HASH) == hash) == new).cloned().collect::<Vec<_>>()
        };
        let (old, new) = (of(false), of(true));
        if old.is_empty() {
            continue;
        }
        if new.iter().any(|pod| is_available(pod, min_ready, now)) {
            plan.delete.extend(old);
        } else if !new.is_empty() {
            surging += 1;
        } else {
            candidates.push(node.clone());
        }
    }
    let room = usize::try_from(max - surging).unwrap_or(0);
    plan.create.extend(candidates.into_iter().take(room));
}

fn status(set: &DaemonSet, on_nodes: &BTreeMap<String, OnNode>, hash: &str, now: Timestamp) -> DaemonSetStatus {
    let min_ready = min_ready(set);
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|status| status.collision_count),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut available, mut updated) = (0, 0);
    for on_node in on_nodes.values() {
        let oldest = on_node.pods.iter().min_by_key(|pod| pod.metadata.creation_timestamp.clone());
        if !on_node.wanted {
            status.number_misscheduled += i32::from(oldest.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = oldest else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(is_ready(pod));
        available += i32::from(is_available(pod, min_ready, now));
        updated += i32::from(on_node.pods.iter().any(|pod| label(&pod.metadata, HASH) == hash));
    }
    let unavailable = status.desired_number_scheduled - available;
    let positive = |count: i32| (count > 0).then_some(count);
    status.number_available = positive(available);
    status.number_unavailable = positive(unavailable);
    status.updated_number_scheduled = positive(updated);
    status
}

pub(super) fn pod_selector(set: &DaemonSet) -> Selector {
    set.spec.as_ref().map_or_else(Selector::nothing, |spec| selector(&spec.selector))
}

/// A pod from the set's template, for one node.
pub(super) fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let spec = set.spec.clone().unwrap_or_default();
    let metadata = spec.template.metadata.unwrap_or_default();
    let mut labels = metadata.labels.unwrap_or_default();
    labels.insert(HASH.into(), hash.into());
    let generation = set
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("deprecated.daemonset.template.generation"));
    if let Some(generation) = generation {
        labels.insert(GENERATION.into(), generation.clone());
    }
    let mut pod = spec.template.spec.unwrap_or_default();
    pin(&mut pod, node);
    tolerate(&mut pod);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(pod),
        status: None,
    }
}

/// Adds the node's name to every term of the required affinity.
fn pin(pod: &mut PodSpec, node: &str) {
    let field = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut Affinity = pod.affinity.get_or_insert_default();
    let affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required: &mut NodeSelector =
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![field.clone()]);
    }
}

fn tolerate(pod: &mut PodSpec) {
    let network = pod.host_network == Some(true);
    let tolerations = pod.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.into_iter().chain(network.then_some(NETWORK)) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
}
