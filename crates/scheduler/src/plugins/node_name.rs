//! A pod that names its node goes nowhere else.

use client::Object;

use crate::event::ClusterEvent;
use crate::framework::{Cycle, FilterPlugin, NodeFilter, PreFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub struct NodeName;

impl FilterPlugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        match cycle.pod.node_name() {
            "" => PreFilter::Skip,
            name => PreFilter::check(Named(name)),
        }
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        matches!(event, ClusterEvent::NodeAdded(node) if node.name() == pod.node_name())
    }
}

struct Named<'a>(&'a str);

impl NodeFilter for Named<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if node.name() == self.0 {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match the requested node name"))
    }
}
