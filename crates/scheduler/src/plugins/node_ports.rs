//! Host ports are free on the node.

use crate::event::ClusterEvent;
use crate::framework::{Cycle, FilterPlugin, NodeFilter, PreFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::pod_info::{HostPort, PodInfo};

pub struct NodePorts;

impl FilterPlugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a> {
        if cycle.pod.host_ports.is_empty() { PreFilter::Skip } else { PreFilter::check(Free(&cycle.pod.host_ports)) }
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::AssignedPodDeleted(gone) => conflict(&pod.host_ports, &gone.host_ports),
            _ => false,
        }
    }
}

fn conflict(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|port| used.iter().any(|other| port.conflicts(other)))
}

struct Free<'a>(&'a [HostPort]);

impl NodeFilter for Free<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if conflict(self.0, &node.used_ports) {
            return Err(Rejection::unschedulable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
