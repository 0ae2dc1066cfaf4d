//! The pod's node selector and node affinity.

use std::collections::BTreeSet;

use api::corev1::{NodeAffinity as Affinity, NodeSelectorTerm, PodSpec, PreferredSchedulingTerm};
use apimachinery::nodes::{allows, term_matches};

use crate::event::ClusterEvent;
use crate::framework::{
    Cycle, FilterPlugin, NodeFilter, NodeScore, PreFilter, Rejection, ScorePlugin, normalize_by_maximum,
};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub struct NodeAffinity;

fn affinity(spec: &PodSpec) -> Option<&Affinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

fn required(spec: &PodSpec) -> Option<&[NodeSelectorTerm]> {
    let required = affinity(spec)?.required_during_scheduling_ignored_during_execution.as_ref()?;
    Some(&required.node_selector_terms)
}

impl FilterPlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        let spec = cycle.pod.spec();
        let terms = required(spec);
        if terms.is_none() && spec.node_selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            return PreFilter::Skip;
        }
        let nodes = terms.and_then(named_nodes);
        if nodes.as_ref().is_some_and(|nodes| nodes.is_empty()) {
            return PreFilter::Reject(Rejection::unresolvable("pod affinity terms conflict"));
        }
        PreFilter::Check { filter: Box::new(Allowed(spec)), nodes }
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodUpdated { .. } => true,
            _ => event
                .node()
                .is_some_and(|(old, new)| allows(pod.spec(), new) && !old.is_some_and(|old| allows(pod.spec(), old))),
        }
    }
}

/// When every term names its nodes, as those of a daemon's pods do: only these can do.
fn named_nodes(terms: &[NodeSelectorTerm]) -> Option<BTreeSet<String>> {
    let mut nodes = BTreeSet::new();
    for term in terms {
        let fields = term.match_fields.iter().flatten();
        let named = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
        let sets = named.map(|field| field.values.iter().flatten().cloned().collect::<BTreeSet<_>>());
        nodes.extend(sets.reduce(|all, more| all.intersection(&more).cloned().collect())?);
    }
    (!terms.is_empty()).then_some(nodes)
}

struct Allowed<'a>(&'a PodSpec);

impl NodeFilter for Allowed<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if allows(self.0, &node.node) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
}

impl ScorePlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score<'a>(&self, cycle: &Cycle<'a>, _nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        let preferred = affinity(cycle.pod.spec())?.preferred_during_scheduling_ignored_during_execution.as_deref()?;
        (!preferred.is_empty()).then(|| Box::new(Preferred(preferred)) as Box<dyn NodeScore>)
    }
}

struct Preferred<'a>(&'a [PreferredSchedulingTerm]);

impl NodeScore for Preferred<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let wanted = self.0.iter().filter(|term| term_matches(&term.preference, &node.node));
        wanted.map(|term| i64::from(term.weight)).sum()
    }

    fn normalize(&self, _nodes: &[&NodeInfo], scores: &mut [i64]) {
        normalize_by_maximum(scores, false);
    }
}
