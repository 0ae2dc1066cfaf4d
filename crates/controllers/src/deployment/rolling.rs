//! Rolling update: new pods as far as the surge allows, old ones away as far as availability allows.

use std::sync::Arc;

use api::appsv1::ReplicaSet;

use super::plan::{Action, View, available, recreates, replicas, scale};

pub(super) fn plan(view: &View<'_>) -> Vec<Action> {
    let Some(new) = view.new else { return Vec::new() };
    if let Some(action) = scale(view, new, wanted_of_new(view, new)) {
        return vec![action];
    }
    if recreates(view.deployment) { Vec::new() } else { scale_down_old(view, new) }
}

/// How many replicas the new set is created with.
pub(super) fn new_replicas(view: &View<'_>) -> i32 {
    grown(view, 0)
}

fn wanted_of_new(view: &View<'_>, new: &ReplicaSet) -> i32 {
    let current = replicas(new);
    if current >= view.replicas { view.replicas } else { grown(view, current) }
}

fn grown(view: &View<'_>, current: i32) -> i32 {
    if recreates(view.deployment) {
        return view.replicas;
    }
    let room = view.replicas + view.max_surge - view.total();
    current + room.min(view.replicas - current).max(0)
}

fn scale_down_old(view: &View<'_>, new: &ReplicaSet) -> Vec<Action> {
    let old_pods: i32 = view.old.iter().map(|set| replicas(set)).sum();
    let min_available = view.replicas - view.max_unavailable;
    let new_unavailable = replicas(new) - available(new);
    let room = view.total() - min_available - new_unavailable;
    if old_pods == 0 || room <= 0 {
        return Vec::new();
    }
    let mut left: Vec<(&Arc<ReplicaSet>, i32)> = view.old.iter().map(|set| (*set, replicas(set))).collect();
    remove_unhealthy(&mut left, room);
    let all_available: i32 = view.all().map(|set| available(set)).sum();
    remove_available(&mut left, all_available - min_available);
    left.into_iter().filter_map(|(set, to)| (to != replicas(set)).then(|| scale(view, set, to))?).collect()
}

/// Pods that are not available cost nothing: they go first.
fn remove_unhealthy(left: &mut [(&Arc<ReplicaSet>, i32)], mut room: i32) {
    for (set, to) in left {
        let unhealthy = (*to - available(set)).clamp(0, room.max(0));
        *to -= unhealthy;
        room -= unhealthy;
    }
}

fn remove_available(left: &mut [(&Arc<ReplicaSet>, i32)], mut room: i32) {
    for (_, to) in left {
        let gone = (*to).min(room.max(0));
        *to -= gone;
        room -= gone;
    }
}
