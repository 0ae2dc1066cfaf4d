//! Keeps pods off cordoned nodes, unless they tolerate the taint that a cordon gives.

use api::corev1::{Node, Taint};
use apimachinery::nodes::tolerated;

use crate::event::ClusterEvent;
use crate::framework::{Cycle, FilterPlugin, NodeFilter, PreFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub struct NodeUnschedulable;

impl FilterPlugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        if tolerates_cordon(cycle.pod) { PreFilter::Skip } else { PreFilter::check(NotCordoned) }
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodUpdated { new, .. } => tolerates_cordon(new),
            _ => event
                .node()
                .is_some_and(|(old, new)| old.is_none_or(is_cordoned) && (!is_cordoned(new) || tolerates_cordon(pod))),
        }
    }
}

struct NotCordoned;

impl NodeFilter for NotCordoned {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if is_cordoned(&node.node) { Err(Rejection::unresolvable("node(s) were unschedulable")) } else { Ok(()) }
    }
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true))
}

fn tolerates_cordon(pod: &PodInfo) -> bool {
    let taint =
        Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    tolerated(&taint, pod.tolerations())
}
