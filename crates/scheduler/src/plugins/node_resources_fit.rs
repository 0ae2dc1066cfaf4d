//! The node has room for what the pod asks for; the one with the most room is preferred.

use std::borrow::Cow;
use std::sync::Arc;

use api::corev1::Node;

use crate::event::ClusterEvent;
use crate::framework::{
    Code, Cycle, FilterPlugin, MAX_SCORE, NodeFilter, NodeScore, PreFilter, Rejection, ScorePlugin,
};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::resources::Resources;

pub struct NodeResourcesFit;

impl FilterPlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        PreFilter::check(Room(&cycle.pod.requests))
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::AssignedPodDeleted(_) => true,
            ClusterEvent::AssignedPodUpdated { old, new } => shrinks(&old.requests, &new.requests),
            ClusterEvent::PodUpdated { old, new } => shrinks(&old.requests, &new.requests),
            _ => event.node().is_some_and(|(old, new)| grows(&pod.requests, old, new)),
        }
    }
}

/// Whether there is less of anything in `new`.
fn shrinks(old: &Resources, new: &Resources) -> bool {
    let mut low = old.clone();
    low.raise_to(new);
    low != *new
}

/// Whether an empty node could hold the requests, and has more of something than before.
fn grows(requests: &Resources, old: Option<&Node>, new: &Node) -> bool {
    let info = NodeInfo::new(&Arc::new(new.clone()));
    if Room(requests).filter(&info).is_err() {
        return false;
    }
    old.is_none_or(|old| {
        let old = NodeInfo::new(&Arc::new(old.clone()));
        shrinks(&info.allocatable, &old.allocatable) || info.allowed_pods > old.allowed_pods
    })
}

struct Room<'a>(&'a Resources);

impl NodeFilter for Room<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let mut missing = Missing { code: Code::Unschedulable, reasons: Vec::new() };
        if node.pods.len() + 1 > node.allowed_pods {
            missing.reasons.push("Too many pods".into());
        }
        let (want, used, all) = (self.0, &node.requested, &node.allocatable);
        missing.check("cpu", want.milli_cpu, used.milli_cpu, all.milli_cpu);
        missing.check("memory", want.memory, used.memory, all.memory);
        missing.check("ephemeral-storage", want.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage);
        for (name, amount) in &want.scalar {
            missing.check(name, *amount, used.scalar(name), all.scalar(name));
        }
        missing.verdict()
    }
}

struct Missing {
    code: Code,
    reasons: Vec<Cow<'static, str>>,
}

impl Missing {
    fn check(&mut self, name: &str, want: i64, used: i64, all: i64) {
        if want <= 0 || want <= all - used {
            return;
        }
        self.reasons.push(match name {
            "cpu" => "Insufficient cpu".into(),
            "memory" => "Insufficient memory".into(),
            _ => format!("Insufficient {name}").into(),
        });
        if want > all {
            self.code = Code::Unresolvable;
        }
    }

    fn verdict(self) -> Result<(), Rejection> {
        if self.reasons.is_empty() { Ok(()) } else { Err(Rejection { code: self.code, reasons: self.reasons }) }
    }
}

impl ScorePlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn pre_score<'a>(&self, cycle: &Cycle<'a>, _nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        Some(Box::new(LeastAllocated(cycle.pod.scored_requests)))
    }
}

struct LeastAllocated((i64, i64));

impl NodeScore for LeastAllocated {
    fn score(&self, node: &NodeInfo) -> i64 {
        let cpu = free_share(node.scored_requests.0 + self.0.0, node.allocatable.milli_cpu);
        let memory = free_share(node.scored_requests.1 + self.0.1, node.allocatable.memory);
        let known: Vec<i64> = [cpu, memory].into_iter().flatten().collect();
        if known.is_empty() { 0 } else { known.iter().sum::<i64>() / i64::try_from(known.len()).unwrap_or(1) }
    }
}

fn free_share(requested: i64, capacity: i64) -> Option<i64> {
    (capacity != 0).then(|| if requested > capacity { 0 } else { (capacity - requested) * MAX_SCORE / capacity })
}
