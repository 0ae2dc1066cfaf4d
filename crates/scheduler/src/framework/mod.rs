//! The extension points, and one scheduling cycle over the plugins.
//!
//! A plugin's work for one pod is a value: `pre_filter` gives the [`NodeFilter`] (or nothing to check), `pre_score` the
//! [`NodeScore`]. Nothing is shared between cycles.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::cache::Cache;
use crate::cluster::Cluster;
use crate::event::ClusterEvent;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub mod cycle;
mod filters;
pub mod fit_error;
pub mod preemption;

pub use filters::FilterSet;
pub use fit_error::FitError;

pub const MAX_SCORE: i64 = 100;

/// What one cycle sees.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    pub pod: &'a PodInfo,
    pub cache: &'a Cache,
    pub cluster: &'a Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Preempting pods may help.
    Unschedulable,
    /// Preempting pods cannot help.
    Unresolvable,
}

/// Why a node (or, from a pre-filter, any node) does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    pub reasons: Vec<Cow<'static, str>>,
}

impl Rejection {
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::Unschedulable, reasons: vec![reason.into()] }
    }

    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::Unresolvable, reasons: vec![reason.into()] }
    }
}

/// What a plugin has to check for a pod.
pub enum PreFilter<'a> {
    /// Nothing.
    Skip,
    /// No node can do.
    Reject(Rejection),
    Check {
        filter: Box<dyn NodeFilter + 'a>,
        /// Only these nodes can do.
        nodes: Option<BTreeSet<String>>,
    },
}

impl<'a> PreFilter<'a> {
    pub fn check(filter: impl NodeFilter + 'a) -> Self {
        Self::Check { filter: Box::new(filter), nodes: None }
    }
}

pub trait FilterPlugin: Sync {
    fn name(&self) -> &'static str;

    fn pre_filter<'a>(&self, cycle: &Cycle<'a>) -> PreFilter<'a>;

    /// Whether the event may make a pod schedulable that this plugin rejected.
    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> bool;
}

/// Checks nodes for one pod.
pub trait NodeFilter {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection>;

    /// A copy in which pods can be added and removed, where the filter counts pods itself.
    fn fork(&self) -> Option<Box<dyn NodeFilter + '_>> {
        None
    }

    /// Imagine that `pod` were on `node`.
    fn add_pod(&mut self, _pod: &PodInfo, _node: &NodeInfo) {}

    /// Imagine that `pod` were not on `node`.
    fn remove_pod(&mut self, _pod: &PodInfo, _node: &NodeInfo) {}
}

pub trait ScorePlugin: Sync {
    fn name(&self) -> &'static str;

    fn weight(&self) -> i64;

    /// `None`: all nodes are alike.
    fn pre_score<'a>(&self, cycle: &Cycle<'a>, nodes: &[&'a NodeInfo]) -> Option<Box<dyn NodeScore + 'a>>;
}

/// Scores nodes for one pod.
pub trait NodeScore {
    fn score(&self, node: &NodeInfo) -> i64;

    /// Brings the scores of all nodes into 0 … [`MAX_SCORE`].
    fn normalize(&self, _nodes: &[&NodeInfo], _scores: &mut [i64]) {}
}

/// In proportion to the highest; `reverse` makes the highest the worst.
pub fn normalize_by_maximum(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { *score * MAX_SCORE / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}

/// The plugins of a scheduler, in order.
#[derive(Clone, Copy)]
pub struct Plugins {
    pub filters: &'static [&'static dyn FilterPlugin],
    pub scores: &'static [&'static dyn ScorePlugin],
}

impl Plugins {
    pub fn hint(&self, plugin: &str, pod: &PodInfo, event: &ClusterEvent) -> bool {
        self.filters.iter().find(|filter| filter.name() == plugin).is_some_and(|filter| filter.hint(pod, event))
    }
}
