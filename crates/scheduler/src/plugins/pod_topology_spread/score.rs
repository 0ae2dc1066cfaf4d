//! Constraints that are wishes: the fewer matching pods in a node's domains, the better.

use std::collections::HashMap;

use super::{Constraint, HOSTNAME, has_all_keys};
use crate::framework::{Cycle, MAX_SCORE, NodeScore};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub(super) struct Spread<'a> {
    pod: &'a PodInfo,
    constraints: Vec<Counted>,
    /// Nodes without all topology keys are not scored.
    require_all_keys: bool,
}

struct Counted {
    constraint: Constraint,
    /// Matching pods by domain. Empty for the nodes themselves: those are counted when they are scored.
    domains: HashMap<String, i64>,
    /// So that the counts of a topology with few domains are not drowned by one with many.
    weight: f64,
}

impl<'a> Spread<'a> {
    pub fn new(
        cycle: &Cycle<'a>,
        constraints: Vec<Constraint>,
        nodes: &[&'a NodeInfo],
        require_all_keys: bool,
    ) -> Self {
        let scored = |node: &&NodeInfo| !require_all_keys || has_all_keys(node, &constraints);
        let candidates: Vec<&NodeInfo> = nodes.iter().copied().filter(scored).collect();
        let all: Vec<&NodeInfo> = cycle.cache.nodes().iter().filter(scored).collect();
        let counted = constraints.iter().map(|constraint| count(cycle.pod, constraint.clone(), &candidates, &all));
        Self { pod: cycle.pod, constraints: counted.collect(), require_all_keys }
    }

    fn is_ignored(&self, node: &NodeInfo) -> bool {
        let mut constraints = self.constraints.iter();
        self.require_all_keys && constraints.any(|counted| node.label(&counted.constraint.topology_key).is_none())
    }
}

fn count(pod: &PodInfo, constraint: Constraint, candidates: &[&NodeInfo], all: &[&NodeInfo]) -> Counted {
    if constraint.topology_key == HOSTNAME {
        let weight = weight(candidates.len());
        return Counted { constraint, domains: HashMap::new(), weight };
    }
    let domain = |node: &NodeInfo| node.label(&constraint.topology_key).unwrap_or_default().to_owned();
    let mut domains: HashMap<String, i64> = candidates.iter().map(|node| (domain(node), 0)).collect();
    for node in all {
        let Some(value) = node.label(&constraint.topology_key) else { continue };
        if let Some(count) = domains.get_mut(value).filter(|_| constraint.includes(pod, node)) {
            *count += constraint.matching(pod, node);
        }
    }
    let weight = weight(domains.len());
    Counted { constraint, domains, weight }
}

#[expect(clippy::cast_precision_loss, reason = "a number of nodes")]
fn weight(domains: usize) -> f64 {
    ((domains + 2) as f64).ln()
}

impl NodeScore for Spread<'_> {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of pods, rounded")]
    fn score(&self, node: &NodeInfo) -> i64 {
        if self.is_ignored(node) {
            return 0;
        }
        let score = |counted: &Counted| {
            let domain = node.label(&counted.constraint.topology_key)?;
            let count = match counted.constraint.topology_key.as_str() {
                HOSTNAME => counted.constraint.matching(self.pod, node),
                _ => counted.domains.get(domain).copied().unwrap_or(0),
            };
            Some(count as f64 * counted.weight + (counted.constraint.max_skew - 1) as f64)
        };
        self.constraints.iter().filter_map(score).sum::<f64>().round() as i64
    }

    fn normalize(&self, nodes: &[&NodeInfo], scores: &mut [i64]) {
        let scored = |(node, score): (&&NodeInfo, &i64)| (!self.is_ignored(node)).then_some(*score);
        let known: Vec<i64> = nodes.iter().zip(scores.iter()).filter_map(scored).collect();
        let (lowest, highest) = (known.iter().min().copied().unwrap_or(0), known.iter().max().copied().unwrap_or(0));
        for (node, score) in nodes.iter().zip(scores) {
            *score = match highest {
                _ if self.is_ignored(node) => 0,
                0 => MAX_SCORE,
                _ => MAX_SCORE * (highest + lowest - *score) / highest,
            };
        }
    }
}
