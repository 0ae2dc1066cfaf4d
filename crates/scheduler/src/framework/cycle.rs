//! One scheduling cycle: which node a pod gets, or why none.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;

use crate::framework::{Code, Cycle, FilterSet, FitError, Plugins, PreFilter, Rejection};
use crate::node_info::NodeInfo;
use crate::nominator::Nominator;

/// With fewer nodes, all are looked at.
const FEW_NODES: usize = 100;
const PERCENTAGE_MIN: usize = 5;

/// What is carried from one cycle to the next.
pub struct Cursor {
    /// Where the next search begins, so that all nodes have the same chance.
    pub start: usize,
    pub random: StdRng,
}

pub enum Outcome {
    Fits(String),
    /// The cluster has no nodes.
    NoNodes,
    Unfit(Box<FitError>),
}

/// The pre-filters' result.
pub struct Filtering<'a> {
    pub filters: FilterSet<'a>,
    nodes: Option<BTreeSet<String>>,
    narrowed_by: BTreeSet<&'static str>,
}

pub fn schedule(cycle: &Cycle<'_>, plugins: &Plugins, nominator: &Nominator, cursor: &mut Cursor) -> Outcome {
    if cycle.cache.nodes().is_empty() {
        return Outcome::NoNodes;
    }
    let filtering = match pre_filter(cycle, plugins) {
        Ok(filtering) => filtering,
        Err(error) => return Outcome::Unfit(error),
    };
    match feasible(cycle, &filtering, nominator, cursor) {
        Ok(nodes) => Outcome::Fits(best(cycle, plugins, &nodes, cursor).name().to_owned()),
        Err(error) => Outcome::Unfit(error),
    }
}

pub fn pre_filter<'a>(cycle: &Cycle<'a>, plugins: &Plugins) -> Result<Filtering<'a>, Box<FitError>> {
    let mut found = Filtering { filters: FilterSet::new(), nodes: None, narrowed_by: BTreeSet::new() };
    for plugin in plugins.filters {
        match plugin.pre_filter(cycle) {
            PreFilter::Skip => {}
            PreFilter::Reject(rejection) => return Err(rejected(cycle, plugin.name(), rejection)),
            PreFilter::Check { filter, nodes } => {
                found.filters.push(plugin.name(), filter);
                if let Some(nodes) = nodes {
                    found.narrow(plugin.name(), nodes);
                }
            }
        }
    }
    Ok(found)
}

impl Filtering<'_> {
    fn narrow(&mut self, plugin: &'static str, nodes: BTreeSet<String>) {
        self.narrowed_by.insert(plugin);
        self.nodes = Some(match self.nodes.take() {
            Some(before) => before.intersection(&nodes).cloned().collect(),
            None => nodes,
        });
    }
}

fn rejected(cycle: &Cycle<'_>, plugin: &'static str, rejection: Rejection) -> Box<FitError> {
    Box::new(FitError {
        nodes: cycle.cache.nodes().len(),
        pre_filter: Some(rejection.reasons.join(", ")),
        others: Some(rejection),
        plugins: BTreeSet::from([plugin]),
        ..FitError::default()
    })
}

/// The nodes that pass all filters; in a large cluster, enough of them.
fn feasible<'a>(
    cycle: &Cycle<'a>,
    filtering: &Filtering<'a>,
    nominator: &Nominator,
    cursor: &mut Cursor,
) -> Result<Vec<&'a NodeInfo>, Box<FitError>> {
    let all = cycle.cache.nodes();
    let mut error = FitError { nodes: all.len(), ..FitError::default() };
    let passes = |node: &'a NodeInfo, error: &mut FitError| match filtering
        .filters
        .run_with_nominated(cycle.pod, node, nominator)
    {
        Ok(()) => true,
        Err((plugin, rejection)) => {
            error.plugins.insert(plugin);
            error.rejections.insert(node.name().to_owned(), rejection);
            false
        }
    };
    let nominated = nominator.node_of(&cycle.pod.uid).and_then(|name| cycle.cache.node(name));
    if let Some(node) = nominated.filter(|node| passes(node, &mut error)) {
        return Ok(vec![node]);
    }
    let mut found: Vec<&NodeInfo> = Vec::new();
    if let Some(names) = &filtering.nodes {
        let named = names.iter().filter_map(|name| cycle.cache.node(name));
        found.extend(named.filter(|node| passes(node, &mut error)));
        error.plugins.extend(&filtering.narrowed_by);
        error.others =
            Some(Rejection { code: Code::Unresolvable, reasons: vec![narrowed(&filtering.narrowed_by).into()] });
    } else {
        let wanted = enough(all.len());
        let start = cursor.start % all.len();
        let mut looked_at = 0;
        for node in all[start..].iter().chain(&all[..start]) {
            looked_at += 1;
            if passes(node, &mut error) {
                found.push(node);
                if found.len() >= wanted {
                    break;
                }
            }
        }
        cursor.start = (start + looked_at) % all.len();
    }
    if found.is_empty() { Err(Box::new(error)) } else { Ok(found) }
}

fn narrowed(plugins: &BTreeSet<&'static str>) -> String {
    let names: Vec<_> = plugins.iter().copied().collect();
    format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" "))
}

/// How many feasible nodes are enough: the more nodes, the smaller the share.
fn enough(nodes: usize) -> usize {
    if nodes < FEW_NODES {
        return nodes;
    }
    let percentage = 50_usize.saturating_sub(nodes / 125).max(PERCENTAGE_MIN);
    (nodes * percentage / 100).max(FEW_NODES)
}

fn best<'a>(cycle: &Cycle<'a>, plugins: &Plugins, nodes: &[&'a NodeInfo], cursor: &mut Cursor) -> &'a NodeInfo {
    if let [only] = nodes {
        return only;
    }
    let totals = scores(cycle, plugins, nodes);
    let highest = totals.iter().copied().max().unwrap_or(0);
    let winners: Vec<_> = nodes.iter().zip(&totals).filter(|(_, score)| **score == highest).collect();
    winners[cursor.random.random_range(0..winners.len())].0
}

/// The weighted sums, in the order of `nodes`.
pub fn scores<'a>(cycle: &Cycle<'a>, plugins: &Plugins, nodes: &[&'a NodeInfo]) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for plugin in plugins.scores {
        let Some(score) = plugin.pre_score(cycle, nodes) else { continue };
        let mut own: Vec<i64> = nodes.iter().map(|node| score.score(node)).collect();
        score.normalize(nodes, &mut own);
        totals.iter_mut().zip(&own).for_each(|(total, own)| *total += plugin.weight() * own);
    }
    totals
}
