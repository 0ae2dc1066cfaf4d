//! The filters of one cycle, and what-if copies of them.

use std::sync::Arc;

use crate::framework::{NodeFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::nominator::Nominator;
use crate::pod_info::PodInfo;

enum Slot<'a> {
    Own(Box<dyn NodeFilter + 'a>),
    Shared(&'a dyn NodeFilter),
}

impl Slot<'_> {
    fn get(&self) -> &dyn NodeFilter {
        match self {
            Self::Own(filter) => filter.as_ref(),
            Self::Shared(filter) => *filter,
        }
    }
}

/// The first filter that rejects a node ends its check.
pub struct FilterSet<'a>(Vec<(&'static str, Slot<'a>)>);

impl<'a> FilterSet<'a> {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn push(&mut self, plugin: &'static str, filter: Box<dyn NodeFilter + 'a>) {
        self.0.push((plugin, Slot::Own(filter)));
    }

    /// The name of the plugin that rejects, and its rejection.
    pub fn run(&self, node: &NodeInfo) -> Result<(), (&'static str, Rejection)> {
        self.0.iter().try_for_each(|(plugin, slot)| slot.get().filter(node).map_err(|rejection| (*plugin, rejection)))
    }

    /// The pod must fit with the nominated pods that are at least as important, and also without them: they may never come.
    pub fn run_with_nominated(
        &self,
        pod: &PodInfo,
        node: &NodeInfo,
        nominator: &Nominator,
    ) -> Result<(), (&'static str, Rejection)> {
        let counts = |other: &&Arc<PodInfo>| other.priority >= pod.priority && other.uid != pod.uid;
        let nominated: Vec<_> = nominator.on_node(node.name()).iter().filter(counts).collect();
        if !nominated.is_empty() {
            let (mut what_if, mut crowded) = (self.fork(), node.clone());
            nominated.iter().for_each(|other| what_if.add_pod(other, &mut crowded));
            what_if.run(&crowded)?;
        }
        self.run(node)
    }

    pub fn fork(&self) -> FilterSet<'_> {
        FilterSet(self.0.iter().map(|(plugin, slot)| (*plugin, fork_slot(slot))).collect())
    }

    pub fn add_pod(&mut self, pod: &Arc<PodInfo>, node: &mut NodeInfo) {
        node.add_pod(pod);
        self.each_own(|filter| filter.add_pod(pod, node));
    }

    pub fn remove_pod(&mut self, pod: &Arc<PodInfo>, node: &mut NodeInfo) {
        node.remove_pod(&pod.uid);
        self.each_own(|filter| filter.remove_pod(pod, node));
    }

    fn each_own(&mut self, mut change: impl FnMut(&mut dyn NodeFilter)) {
        for (_, slot) in &mut self.0 {
            if let Slot::Own(filter) = slot {
                change(filter.as_mut());
            }
        }
    }
}

fn fork_slot<'b>(slot: &'b Slot<'_>) -> Slot<'b> {
    match slot.get().fork() {
        Some(own) => Slot::Own(own),
        None => Slot::Shared(slot.get()),
    }
}

impl Default for FilterSet<'_> {
    fn default() -> Self {
        Self::new()
    }
}
