//! Pods that want to be near other pods, or far from them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::event::ClusterEvent;
use crate::framework::{Cycle, FilterPlugin, MAX_SCORE, NodeFilter, NodeScore, PreFilter, Rejection, ScorePlugin};
use crate::node_info::NodeInfo;
use crate::pod_info::{AffinityTerm, PodInfo};

/// What a required affinity of a running pod adds to the score of its domain.
const HARD_AFFINITY_WEIGHT: i64 = 1;

pub struct InterPodAffinity;

/// Counts by topology key, then by the domain's value.
#[derive(Clone, Debug, Default)]
struct Counts(HashMap<String, HashMap<String, i64>>);

impl Counts {
    fn add(&mut self, key: &str, node: &NodeInfo, amount: i64) {
        let Some(value) = node.label(key) else { return };
        let domains = self.0.entry(key.to_owned()).or_default();
        *domains.entry(value.to_owned()).or_default() += amount;
    }

    fn of(&self, key: &str, node: &NodeInfo) -> i64 {
        let domains = self.0.get(key).zip(node.label(key));
        domains.and_then(|(domains, value)| domains.get(value)).copied().unwrap_or(0)
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(|domains| domains.values().all(|count| *count == 0))
    }

    fn sum(&self, node: &NodeInfo) -> i64 {
        self.0.keys().map(|key| self.of(key, node)).sum()
    }
}

#[derive(Clone)]
struct Near<'a> {
    pod: &'a PodInfo,
    cluster: &'a Cluster,
    /// Domains that running pods keep this pod out of.
    kept_out: Counts,
    /// Pods that all of this pod's affinity terms want.
    wanted: Counts,
    /// Pods that this pod's anti-affinity terms shun, by term.
    shunned: Vec<Counts>,
}

impl FilterPlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        let own = &cycle.pod.affinity;
        let needs_all = !own.required.is_empty() || !own.required_anti.is_empty();
        if !needs_all && !cycle.cache.any_required_anti_affinity() {
            return PreFilter::Skip;
        }
        let mut near = Near {
            pod: cycle.pod,
            cluster: cycle.cluster,
            kept_out: Counts::default(),
            wanted: Counts::default(),
            shunned: vec![Counts::default(); own.required_anti.len()],
        };
        for node in cycle.cache.nodes() {
            let pods = if needs_all { &node.pods } else { &node.pods_with_required_anti_affinity };
            pods.iter().for_each(|pod| near.count(pod, node, 1));
        }
        PreFilter::check(near)
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodUpdated { .. } | ClusterEvent::NamespaceChanged | ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => old.metadata.labels != new.metadata.labels,
            ClusterEvent::AssignedPodAdded(_) | ClusterEvent::AssignedPodUpdated { .. } => {
                !pod.affinity.required.is_empty() || matches!(event, ClusterEvent::AssignedPodUpdated { .. })
            }
            ClusterEvent::AssignedPodDeleted(gone) => {
                !pod.affinity.required_anti.is_empty() || !gone.affinity.required_anti.is_empty()
            }
            _ => false,
        }
    }
}

impl Near<'_> {
    fn count(&mut self, other: &PodInfo, node: &NodeInfo, amount: i64) {
        for term in &other.affinity.required_anti {
            if term.matches(self.pod, self.cluster) {
                self.kept_out.add(&term.topology_key, node, amount);
            }
        }
        let own = &self.pod.affinity;
        if matches_all(&own.required, other, self.cluster) {
            own.required.iter().for_each(|term| self.wanted.add(&term.topology_key, node, amount));
        }
        for (term, counts) in own.required_anti.iter().zip(&mut self.shunned) {
            if term.matches(other, self.cluster) {
                counts.add(&term.topology_key, node, amount);
            }
        }
    }

    /// The first of a group that wants to be together may be anywhere.
    fn affinity_holds(&self, node: &NodeInfo) -> bool {
        let terms = &self.pod.affinity.required;
        if terms.iter().any(|term| node.label(&term.topology_key).is_none()) {
            return false;
        }
        terms.iter().all(|term| self.wanted.of(&term.topology_key, node) > 0)
            || (self.wanted.is_empty() && matches_all(terms, self.pod, self.cluster))
    }

    fn anti_affinity_holds(&self, node: &NodeInfo) -> bool {
        let terms = self.pod.affinity.required_anti.iter().zip(&self.shunned);
        terms.into_iter().all(|(term, counts)| counts.of(&term.topology_key, node) <= 0)
    }

    fn is_kept_out(&self, node: &NodeInfo) -> bool {
        self.kept_out.0.keys().any(|key| self.kept_out.of(key, node) > 0)
    }
}

fn matches_all(terms: &[AffinityTerm], pod: &PodInfo, cluster: &Cluster) -> bool {
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, cluster))
}

impl NodeFilter for Near<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if !self.affinity_holds(node) {
            return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
        }
        if !self.anti_affinity_holds(node) {
            return Err(Rejection::unschedulable("node(s) didn't match pod anti-affinity rules"));
        }
        if self.is_kept_out(node) {
            return Err(Rejection::unschedulable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn NodeFilter + '_>> {
        Some(Box::new(self.clone()))
    }

    fn add_pod(&mut self, pod: &PodInfo, node: &NodeInfo) {
        self.count(pod, node, 1);
    }

    fn remove_pod(&mut self, pod: &PodInfo, node: &NodeInfo) {
        self.count(pod, node, -1);
    }
}

impl ScorePlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score<'a>(&self, cycle: &Cycle<'a>, _nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        let own = &cycle.pod.affinity.preferred;
        if own.is_empty() && !cycle.cache.any_affinity() {
            return None;
        }
        let mut attraction = Attraction::default();
        for node in cycle.cache.nodes() {
            let pods = if own.is_empty() { &node.pods_with_affinity } else { &node.pods };
            pods.iter().for_each(|pod| attraction.count(cycle, pod, node));
        }
        (!attraction.0.0.is_empty()).then(|| Box::new(attraction) as Box<dyn NodeScore>)
    }
}

#[derive(Default)]
struct Attraction(Counts);

impl Attraction {
    fn count(&mut self, cycle: &Cycle<'_>, other: &Arc<PodInfo>, node: &NodeInfo) {
        for (weight, term) in &cycle.pod.affinity.preferred {
            if term.matches(other, cycle.cluster) {
                self.0.add(&term.topology_key, node, *weight);
            }
        }
        for (weight, term) in &other.affinity.preferred {
            if term.matches(cycle.pod, cycle.cluster) {
                self.0.add(&term.topology_key, node, *weight);
            }
        }
        for term in &other.affinity.required {
            if term.matches(cycle.pod, cycle.cluster) {
                self.0.add(&term.topology_key, node, HARD_AFFINITY_WEIGHT);
            }
        }
    }
}

impl NodeScore for Attraction {
    fn score(&self, node: &NodeInfo) -> i64 {
        self.0.sum(node)
    }

    fn normalize(&self, _nodes: &[&NodeInfo], scores: &mut [i64]) {
        let lowest = scores.iter().copied().min().unwrap_or(0);
        let width = scores.iter().copied().max().unwrap_or(0) - lowest;
        for score in scores {
            *score = if width == 0 { 0 } else { MAX_SCORE * (*score - lowest) / width };
        }
    }
}
