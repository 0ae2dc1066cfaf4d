//! Prefers nodes whose CPU and memory would be used in like measure.

use crate::framework::{Cycle, MAX_SCORE, NodeScore, ScorePlugin};
use crate::node_info::NodeInfo;
use crate::resources::Resources;

pub struct NodeResourcesBalancedAllocation;

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    /// A pod that asks for nothing changes no balance: scored, such pods would gather on one node.
    fn pre_score<'a>(&self, cycle: &Cycle<'a>, _nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        let requests = &cycle.pod.requests;
        let best_effort = requests.milli_cpu == 0 && requests.memory == 0;
        (!best_effort).then(|| Box::new(Balance(requests)) as Box<dyn NodeScore>)
    }
}

struct Balance<'a>(&'a Resources);

impl NodeScore for Balance<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let cpu = fraction(node.requested.milli_cpu + self.0.milli_cpu, node.allocatable.milli_cpu);
        let memory = fraction(node.requested.memory + self.0.memory, node.allocatable.memory);
        let deviation = cpu.zip(memory).map_or(0.0, |(cpu, memory)| ((cpu - memory) / 2.0).abs());
        to_score(1.0 - deviation)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a score needs no more than two digits")]
fn fraction(requested: i64, capacity: i64) -> Option<f64> {
    (capacity != 0).then(|| (requested as f64 / capacity as f64).min(1.0))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "between 0 and 100, cut as upstream")]
fn to_score(balance: f64) -> i64 {
    (balance * MAX_SCORE as f64) as i64
}
