//! Scaling: a change of the replica count is spread over all sets by their sizes, so that a rollout goes on where it was.

use std::cmp::Reverse;
use std::sync::Arc;

use api::appsv1::ReplicaSet;

use super::plan::{Action, View, available, recreates, replicas, scale};
use super::revision;

/// Whether the Deployment's replica count changed since the sets were last scaled.
pub(super) fn is_due(view: &View<'_>) -> bool {
    let active = view.all().filter(|set| replicas(set) > 0);
    active.filter_map(|set| revision::desired(set)).any(|desired| desired != view.replicas)
}

pub(super) fn plan(view: &View<'_>) -> Vec<Action> {
    if let Some(only) = only_active_or_latest(view) {
        return (replicas(only) != view.replicas || revision::desired(only) != Some(view.replicas))
            .then(|| scale(view, only, view.replicas))
            .flatten()
            .into_iter()
            .collect();
    }
    if view.new.is_some_and(|new| is_saturated(view, new)) {
        return view.old.iter().filter(|set| replicas(set) > 0).filter_map(|set| scale(view, set, 0)).collect();
    }
    if recreates(view.deployment) { Vec::new() } else { proportional(view) }
}

/// The one set that has pods, or the newest when none has.
fn only_active_or_latest<'a>(view: &'a View<'_>) -> Option<&'a Arc<ReplicaSet>> {
    let active: Vec<_> = view.all().filter(|set| replicas(set) > 0).collect();
    match active.as_slice() {
        [] => view.new.or(view.old.last().copied()),
        [only] => Some(only),
        _ => None,
    }
}

fn is_saturated(view: &View<'_>, new: &ReplicaSet) -> bool {
    let desired = revision::desired(new);
    replicas(new) == view.replicas && desired == Some(view.replicas) && available(new) == view.replicas
}

fn proportional(view: &View<'_>) -> Vec<Action> {
    let mut active: Vec<_> = view.all().filter(|set| replicas(set) > 0).collect();
    let allowed = if view.replicas > 0 { view.replicas + view.max_surge } else { 0 };
    let add = allowed - view.total();
    // The larger first; of equal ones the newer when growing, the older when shrinking.
    if add > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| Reverse(replicas(set)));
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for set in &active {
        let share = share(view, set, add, added);
        added += share;
        sizes.push(replicas(set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + add - added).max(0); // what rounding left
    }
    active.into_iter().zip(sizes).filter_map(|(set, to)| scale(view, set, to)).collect()
}

/// How many of `add` a set gets (or loses), by its part of the whole at the last scaling.
fn share(view: &View<'_>, set: &ReplicaSet, add: i32, added: i32) -> i32 {
    let left = add - added;
    let current = replicas(set);
    if view.replicas == 0 {
        return -current;
    }
    let before = revision::max(set).filter(|max| *max > 0).unwrap_or_else(|| {
        view.deployment.status.as_ref().and_then(|status| status.replicas).filter(|count| *count > 0).unwrap_or(1)
    });
    let exact = f64::from(current) * f64::from(view.replicas + view.max_surge) / f64::from(before);
    #[expect(clippy::cast_possible_truncation, reason = "the numbers are replica counts")]
    let share = exact.round() as i32 - current;
    if add > 0 { share.clamp(0, left.max(0)) } else { share.clamp(left.min(0), 0) }
}
