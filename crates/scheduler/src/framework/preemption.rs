//! Default preemption: which pods would have to go so that a more important one fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::policyv1::PodDisruptionBudget;
use client::Object;
use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;

use crate::framework::{Cycle, FilterSet, FitError, Plugins, Rejection, cycle};
use crate::node_info::NodeInfo;
use crate::nominator::Nominator;
use crate::pod_info::{PodInfo, selector};

const CANDIDATES_PERCENTAGE: usize = 10;
const CANDIDATES_MIN: usize = 100;

#[derive(Debug)]
pub enum Preemption {
    /// These pods are to go, and the pod is nominated for the node.
    Nominate { node: String, victims: Vec<Arc<PodInfo>> },
    /// Nothing is to be done now; an earlier nomination stays.
    Wait(String),
    /// No room can be made. An earlier nomination is taken back.
    Impossible(String),
}

struct Candidate {
    node: String,
    /// The most important first.
    victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

pub fn preempt(
    cycle: &Cycle<'_>,
    plugins: &Plugins,
    error: &FitError,
    nominator: &Nominator,
    random: &mut StdRng,
) -> Preemption {
    if let Some(why) = not_eligible(cycle, error, nominator) {
        return Preemption::Wait(format!("preemption: {why}"));
    }
    match candidates(cycle, plugins, error, nominator, random) {
        Ok(candidates) => nominate(candidates),
        Err(error) => Preemption::Impossible(format!("preemption: {error}")),
    }
}

fn nominate(mut candidates: Vec<Candidate>) -> Preemption {
    candidates.sort_by_key(preference);
    let best = candidates.swap_remove(0);
    Preemption::Nominate { node: best.node, victims: best.victims }
}

fn not_eligible(cycle: &Cycle<'_>, error: &FitError, nominator: &Nominator) -> Option<&'static str> {
    if cycle.pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = nominator.node_of(&cycle.pod.uid).unwrap_or_else(|| cycle.pod.nominated_node());
    let node = cycle.cache.node(nominated)?;
    let resolvable = !error.rejections.contains_key(nominated) || error.is_resolvable(nominated);
    let going = |pod: &&Arc<PodInfo>| pod.priority < cycle.pod.priority && pod.is_terminating;
    let waits = resolvable && node.pods.iter().any(|pod| going(&pod) && pod.is_preempted);
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// At least one, or why there is none.
fn candidates(
    cycle: &Cycle<'_>,
    plugins: &Plugins,
    error: &FitError,
    nominator: &Nominator,
    random: &mut StdRng,
) -> Result<Vec<Candidate>, FitError> {
    let mut failed = FitError {
        nodes: error.nodes,
        others: Some(Rejection::unresolvable("Preemption is not helpful for scheduling")),
        ..FitError::default()
    };
    let Ok(filtering) = cycle::pre_filter(cycle, plugins) else { return Err(failed) };
    let promising: Vec<_> = cycle.cache.nodes().iter().filter(|node| error.is_resolvable(node.name())).collect();
    let wanted = (promising.len() * CANDIDATES_PERCENTAGE / 100).max(CANDIDATES_MIN).min(promising.len());
    let start = if promising.is_empty() { 0 } else { random.random_range(0..promising.len()) };
    let budgets = cycle.cluster.budgets.list();
    let mut found = Vec::new();
    for node in promising[start..].iter().chain(&promising[..start]) {
        match dry_run(cycle.pod, node, &filtering.filters, nominator, &budgets) {
            Ok(candidate) => found.push(candidate),
            Err(rejection) => drop(failed.rejections.insert(node.name().to_owned(), rejection)),
        }
        if found.len() >= wanted && found.iter().any(|candidate| candidate.violations == 0) {
            break;
        }
    }
    if found.is_empty() { Err(failed) } else { Ok(found) }
}

/// Removes all less important pods, then takes back as many as possible: first those whose budget is spent.
fn dry_run(
    pod: &PodInfo,
    node: &NodeInfo,
    filters: &FilterSet<'_>,
    nominator: &Nominator,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Result<Candidate, Rejection> {
    let mut potential: Vec<_> = node.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if potential.is_empty() {
        return Err(Rejection::unresolvable("No preemption victims found for incoming pod"));
    }
    potential.sort_by_key(importance);
    let (mut what_if, mut emptied) = (filters.fork(), node.clone());
    potential.iter().for_each(|victim| what_if.remove_pod(victim, &mut emptied));
    what_if.run_with_nominated(pod, &emptied, nominator).map_err(|(_, rejection)| rejection)?;
    let (violating, others) = split_by_budget(&potential, budgets);
    let mut reprieve = |pods: Vec<Arc<PodInfo>>| -> Vec<Arc<PodInfo>> {
        let stays = |victim: &Arc<PodInfo>| {
            what_if.add_pod(victim, &mut emptied);
            let fits = what_if.run_with_nominated(pod, &emptied, nominator).is_ok();
            if !fits {
                what_if.remove_pod(victim, &mut emptied);
            }
            !fits
        };
        pods.into_iter().filter(stays).collect()
    };
    let mut victims = reprieve(violating);
    let violations = victims.len();
    victims.extend(reprieve(others));
    victims.sort_by_key(importance);
    Ok(Candidate { node: node.name().to_owned(), victims, violations })
}

/// Sorts the most important first: by priority, then by who has run longest.
fn importance(pod: &Arc<PodInfo>) -> (std::cmp::Reverse<i32>, Timestamp) {
    (std::cmp::Reverse(pod.priority), start_time(pod))
}

fn start_time(pod: &PodInfo) -> Timestamp {
    pod.started.unwrap_or(Timestamp::MAX)
}

/// Those whose eviction would break a budget, and the others.
fn split_by_budget(
    pods: &[Arc<PodInfo>],
    budgets: &[Arc<PodDisruptionBudget>],
) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let mut left: BTreeMap<&str, i32> = BTreeMap::new();
    for budget in budgets {
        let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0);
        left.insert(budget.uid(), allowed);
    }
    pods.iter().cloned().partition(|pod| {
        let covers = |budget: &&Arc<PodDisruptionBudget>| covers(budget, pod);
        let mut violates = false;
        for budget in budgets.iter().filter(covers) {
            let allowed = left.entry(budget.uid()).or_default();
            *allowed -= 1;
            violates |= *allowed < 0;
        }
        violates
    })
}

fn covers(budget: &PodDisruptionBudget, pod: &PodInfo) -> bool {
    if budget.namespace() != pod.key.namespace || pod.labels.is_empty() {
        return false;
    }
    let own = selector(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
    let disrupted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let known = disrupted.is_some_and(|pods| pods.contains_key(&pod.key.name));
    !own.is_everything() && pod.matches(&own) && !known
}

/// The lowest is the best: fewest broken budgets, least important victims, fewest victims, shortest runs.
fn preference(candidate: &Candidate) -> (usize, i32, i64, usize, std::cmp::Reverse<Timestamp>) {
    let victims = &candidate.victims;
    let highest = victims.first().map_or(i32::MIN, |victim| victim.priority);
    let shift = i64::from(i32::MAX) + 1;
    let sum = victims.iter().map(|victim| i64::from(victim.priority) + shift).sum();
    let most_important = victims.iter().filter(|victim| victim.priority == highest);
    let earliest = most_important.map(|victim| start_time(victim)).min().unwrap_or(Timestamp::MAX);
    (candidate.violations, highest, sum, victims.len(), std::cmp::Reverse(earliest))
}
