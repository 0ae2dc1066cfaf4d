//! The plugins: one file each, registered by one line here. The order is upstream's: the first filter that rejects a
//! node says why.

use crate::framework::{FilterPlugin, Plugins, ScorePlugin};

mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;
#[cfg(test)]
mod tests;
mod volume_binding;

static FILTERS: [&dyn FilterPlugin; 9] = [
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &volume_binding::VolumeBinding,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
];

static SCORES: [&dyn ScorePlugin; 7] = [
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
    &node_resources_fit::NodeResourcesFit,
    &node_resources_balanced_allocation::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
];

/// Those of the default profile.
pub fn default_plugins() -> Plugins {
    Plugins { filters: &FILTERS, scores: &SCORES }
}
