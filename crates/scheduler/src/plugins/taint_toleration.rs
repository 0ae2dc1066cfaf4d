//! Keeps pods off nodes with taints that they do not tolerate; prefers nodes with fewer such taints of the soft kind.

use api::corev1::{Node, Taint, Toleration};
use apimachinery::nodes::{tolerated, untolerated};

use crate::event::ClusterEvent;
use crate::framework::{
    Cycle, FilterPlugin, NodeFilter, NodeScore, PreFilter, Rejection, ScorePlugin, normalize_by_maximum,
};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

const HARD: [&str; 2] = ["NoSchedule", "NoExecute"];
const SOFT: &str = "PreferNoSchedule";

pub struct TaintToleration;

impl FilterPlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        PreFilter::check(Tolerations(cycle.pod.tolerations()))
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let open = |node: &Node| untolerated(node, pod.tolerations(), &HARD).is_none();
        match event {
            ClusterEvent::PodUpdated { old, new } => old.tolerations() != new.tolerations(),
            _ => event.node().is_some_and(|(old, new)| open(new) && !old.is_some_and(open)),
        }
    }
}

struct Tolerations<'a>(&'a [Toleration]);

impl NodeFilter for Tolerations<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        match untolerated(&node.node, self.0, &HARD) {
            None => Ok(()),
            Some(_) => Err(Rejection::unresolvable("node(s) had untolerated taint(s)")),
        }
    }
}

impl ScorePlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn weight(&self) -> i64 {
        3
    }

    fn pre_score<'a>(&self, cycle: &Cycle<'a>, nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>> {
        let any = nodes.iter().any(|node| node.taints().iter().any(|taint| taint.effect == SOFT));
        any.then(|| Box::new(Tolerations(cycle.pod.tolerations())) as Box<dyn NodeScore>)
    }
}

impl NodeScore for Tolerations<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let shunned = |taint: &&Taint| taint.effect == SOFT && !tolerated(taint, self.0);
        i64::try_from(node.taints().iter().filter(shunned).count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, _nodes: &[&NodeInfo], scores: &mut [i64]) {
        normalize_by_maximum(scores, true);
    }
}
