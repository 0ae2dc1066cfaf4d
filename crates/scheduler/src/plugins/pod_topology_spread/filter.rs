//! Constraints that must hold.

use std::collections::HashMap;

use super::{Constraint, has_all_keys};
use crate::framework::{Cycle, NodeFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

#[derive(Clone)]
pub(super) struct Spread<'a> {
    pod: &'a PodInfo,
    /// Each with the number of matching pods by domain.
    constraints: Vec<(Constraint, HashMap<String, i64>)>,
}

impl<'a> Spread<'a> {
    pub fn new(cycle: &Cycle<'a>, constraints: Vec<Constraint>) -> Self {
        let eligible: Vec<_> = cycle.cache.nodes().iter().filter(|node| has_all_keys(node, &constraints)).collect();
        let count = |constraint: Constraint| {
            let mut domains: HashMap<String, i64> = HashMap::new();
            for node in eligible.iter().filter(|node| constraint.includes(cycle.pod, node)) {
                let domain = node.label(&constraint.topology_key).unwrap_or_default();
                let count = constraint.matching(cycle.pod, node);
                match domains.get_mut(domain) {
                    Some(sum) => *sum += count,
                    None => drop(domains.insert(domain.to_owned(), count)),
                }
            }
            (constraint, domains)
        };
        Self { pod: cycle.pod, constraints: constraints.into_iter().map(count).collect() }
    }

    fn change(&mut self, other: &PodInfo, node: &NodeInfo, amount: i64) {
        let pod = self.pod;
        if self.constraints.iter().any(|(constraint, _)| node.label(&constraint.topology_key).is_none()) {
            return;
        }
        for (constraint, domains) in &mut self.constraints {
            let counts = constraint.counts(pod, other) && constraint.includes(pod, node);
            let domain = node.label(&constraint.topology_key).filter(|_| counts);
            if let Some(count) = domain.and_then(|domain| domains.get_mut(domain)) {
                *count += amount;
            }
        }
    }
}

impl NodeFilter for Spread<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for (constraint, domains) in &self.constraints {
            let Some(domain) = node.label(&constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Rejection::unresolvable(reason));
            };
            let fewest = if domains.len() < constraint.min_domains { 0 } else { lowest(domains) };
            let own = i64::from(self.pod.matches(&constraint.selector));
            if domains.get(domain).copied().unwrap_or(0) + own - fewest > constraint.max_skew {
                return Err(Rejection::unschedulable("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }

    fn fork(&self) -> Option<Box<dyn NodeFilter + '_>> {
        Some(Box::new(self.clone()))
    }

    fn add_pod(&mut self, pod: &PodInfo, node: &NodeInfo) {
        self.change(pod, node, 1);
    }

    fn remove_pod(&mut self, pod: &PodInfo, node: &NodeInfo) {
        self.change(pod, node, -1);
    }
}

/// Of a constraint without any domain: infinitely many, so that nothing is uneven.
fn lowest(domains: &HashMap<String, i64>) -> i64 {
    domains.values().copied().min().unwrap_or(i64::from(i32::MAX))
}
