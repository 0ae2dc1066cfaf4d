//! Why a pod fits nowhere, in upstream's words.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::framework::{Code, Rejection};

#[derive(Clone, Debug, Default)]
pub struct FitError {
    pub nodes: usize,
    /// Said instead of the nodes' reasons when no node was looked at.
    pub pre_filter: Option<String>,
    /// By node name.
    pub rejections: HashMap<String, Rejection>,
    /// Of all nodes that are not among `rejections`.
    pub others: Option<Rejection>,
    /// The plugins that rejected the pod somewhere.
    pub plugins: BTreeSet<&'static str>,
    pub post_filter: String,
}

impl FitError {
    /// Whether preempting pods on the node may help.
    pub fn is_resolvable(&self, node: &str) -> bool {
        let rejection = self.rejections.get(node).or(self.others.as_ref());
        rejection.is_some_and(|rejection| rejection.code == Code::Unschedulable)
    }

    /// Each reason with the number of nodes, sorted as text.
    fn histogram(&self) -> Vec<String> {
        let mut counts: HashMap<&Cow<'static, str>, usize> = HashMap::new();
        self.rejections
            .values()
            .flat_map(|rejection| &rejection.reasons)
            .for_each(|why| *counts.entry(why).or_default() += 1);
        let unseen = self.nodes.saturating_sub(self.rejections.len());
        if unseen > 0 {
            let reasons = self.others.iter().flat_map(|rejection| &rejection.reasons);
            reasons.for_each(|why| *counts.entry(why).or_default() += unseen);
        }
        let mut lines: Vec<String> = counts.into_iter().map(|(why, count)| format!("{count} {why}")).collect();
        lines.sort();
        lines
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0/{} nodes are available:", self.nodes)?;
        match &self.pre_filter {
            Some(message) => write!(f, " {message}.")?,
            None => {
                let lines = self.histogram();
                if !lines.is_empty() {
                    write!(f, " {}.", lines.join(", "))?;
                }
            }
        }
        if !self.post_filter.is_empty() {
            write!(f, " {}", self.post_filter)?;
        }
        Ok(())
    }
}
