//! Spreads pods over the domains of a topology: nodes, zones.

use api::corev1::TopologySpreadConstraint;
use apimachinery::labels::Selector;
use apimachinery::nodes::{allows, untolerated};
use serde_json::{Value, json};

use crate::event::ClusterEvent;
use crate::framework::{Cycle, FilterPlugin, NodeScore, PreFilter, ScorePlugin};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

mod default_constraints;
mod filter;
mod score;

const HOSTNAME: &str = "kubernetes.io/hostname";
const HARD: &str = "DoNotSchedule";
const SOFT: &str = "ScheduleAnyway";

pub struct PodTopologySpread;

#[derive(Clone, Debug)]
struct Constraint {
    max_skew: i64,
    topology_key: String,
    selector: Selector,
    min_domains: usize,
    /// Nodes that the pod's node affinity excludes do not count.
    honors_affinity: bool,
    /// Nodes whose taints the pod does not tolerate do not count.
    honors_taints: bool,
}

impl Constraint {
    fn new(own: &TopologySpreadConstraint, pod: &PodInfo) -> Self {
        Self {
            max_skew: i64::from(own.max_skew),
            topology_key: own.topology_key.clone(),
            selector: selector(own, pod),
            min_domains: own.min_domains.and_then(|domains| usize::try_from(domains).ok()).unwrap_or(1),
            honors_affinity: own.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: own.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    fn includes(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let tolerated = || untolerated(&node.node, pod.tolerations(), &["NoSchedule", "NoExecute"]).is_none();
        (!self.honors_affinity || allows(pod.spec(), &node.node)) && (!self.honors_taints || tolerated())
    }

    /// The pods on the node that count.
    fn matching(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let count = node.pods.iter().filter(|other| self.counts(pod, other)).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn counts(&self, pod: &PodInfo, other: &PodInfo) -> bool {
        other.key.namespace == pod.key.namespace && !other.is_terminating && other.matches(&self.selector)
    }
}

/// The constraint's selector, narrowed to the pod's own values of `matchLabelKeys`.
fn selector(own: &TopologySpreadConstraint, pod: &PodInfo) -> Selector {
    let Some(selector) = own.label_selector.as_ref().and_then(|own| serde_json::to_value(own).ok()) else {
        return Selector::nothing();
    };
    let same = |key: &String| {
        let value = pod.labels.get(key)?;
        Some(json!({"key": key, "operator": "In", "values": [value]}))
    };
    let narrowed = own.match_label_keys.iter().flatten().filter_map(same);
    let expressions: Vec<Value> =
        selector["matchExpressions"].as_array().cloned().unwrap_or_default().into_iter().chain(narrowed).collect();
    let merged = json!({"matchLabels": selector["matchLabels"], "matchExpressions": expressions});
    Selector::from_label_selector(Some(&merged)).unwrap_or_else(|_| Selector::nothing())
}

/// The pod's own constraints of one kind.
fn constraints(pod: &PodInfo, when_unsatisfiable: &str) -> Vec<Constraint> {
    let all = pod.spec().topology_spread_constraints.iter().flatten();
    let kind = all.filter(|constraint| constraint.when_unsatisfiable == when_unsatisfiable);
    kind.map(|constraint| Constraint::new(constraint, pod)).collect()
}

fn has_own_constraints(pod: &PodInfo) -> bool {
    pod.spec().topology_spread_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty())
}

fn has_all_keys(node: &NodeInfo, constraints: &[Constraint]) -> bool {
    constraints.iter().all(|constraint| node.label(&constraint.topology_key).is_some())
}

impl FilterPlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        let constraints = constraints(cycle.pod, HARD);
        if constraints.is_empty() { PreFilter::Skip } else { PreFilter::check(filter::Spread::new(cycle, constraints)) }
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let constraints = constraints(pod, HARD);
        let counts = |other: &PodInfo| constraints.iter().any(|constraint| constraint.counts(pod, other));
        match event {
            ClusterEvent::PodUpdated { .. } | ClusterEvent::NodeAdded(_) | ClusterEvent::NodeDeleted(_) => true,
            ClusterEvent::NodeUpdated { old, new } => {
                old.metadata.labels != new.metadata.labels
                    || old.spec.as_ref().map(|spec| &spec.taints) != new.spec.as_ref().map(|spec| &spec.taints)
            }
            ClusterEvent::AssignedPodAdded(other) => counts(other),
            ClusterEvent::AssignedPodUpdated { old, new } => counts(old) != counts(new),
            ClusterEvent::AssignedPodDeleted(other) => {
                other.key.namespace == pod.key.namespace
                    && constraints.iter().any(|constraint| other.matches(&constraint.selector))
            }
            _ => false,
        }
    }
}

impl ScorePlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score<'a>(&self, cycle: &Cycle<'a>, nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        let own = has_own_constraints(cycle.pod);
        let constraints =
            if own { constraints(cycle.pod, SOFT) } else { default_constraints::of(cycle.pod, cycle.cluster) };
        (!constraints.is_empty())
            .then(|| Box::new(score::Spread::new(cycle, constraints, nodes, own)) as Box<dyn NodeScore>)
    }
}
