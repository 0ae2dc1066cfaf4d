//! The status of a Deployment: counts and conditions.

use std::time::Duration;

use api::appsv1::{DeploymentCondition, DeploymentStatus, ReplicaSet};
use api::metav1::Time;
use client::Object;
use jiff::Timestamp;

use super::plan::{View, available, replicas};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The deadline that means "none".
const NO_DEADLINE: i32 = i32::MAX;

/// A condition in the making.
struct Wanted {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
    /// Its `lastUpdateTime` moves though nothing else does.
    refresh: bool,
}

pub(super) fn status(view: &View<'_>, paused: bool, now: Timestamp) -> DeploymentStatus {
    let old = view.deployment.status.clone().unwrap_or_default();
    let mut status = counts(view, &old);
    let mut conditions = old.conditions.clone().unwrap_or_default();
    set(&mut conditions, availability(view, &status), now);
    match progress(view, &old, &status, paused, now) {
        Progress::Keep => {}
        Progress::None => conditions.retain(|condition| condition.type_ != PROGRESSING),
        Progress::Is(wanted) => set(&mut conditions, wanted, now),
    }
    match replica_failure(view) {
        Some(wanted) => set(&mut conditions, wanted, now),
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    status
}

fn counts(view: &View<'_>, old: &DeploymentStatus) -> DeploymentStatus {
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| view.all().map(|set| count(set)).sum::<i32>();
    let of = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let all_available = sum(&available);
    let positive = |count: i32| (count > 0).then_some(count);
    DeploymentStatus {
        observed_generation: view.deployment.metadata.generation,
        replicas: positive(sum(&|set| of(set).replicas)),
        updated_replicas: positive(view.new.map_or(0, |set| of(set).replicas)),
        ready_replicas: positive(sum(&|set| of(set).ready_replicas.unwrap_or(0))),
        available_replicas: positive(all_available),
        unavailable_replicas: positive(view.total() - all_available),
        terminating_replicas: Some(sum(&|set| of(set).terminating_replicas.unwrap_or(0))),
        collision_count: old.collision_count,
        conditions: None,
    }
}

fn availability(view: &View<'_>, status: &DeploymentStatus) -> Wanted {
    let enough = status.available_replicas.unwrap_or(0) >= view.replicas - view.max_unavailable;
    let (value, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    Wanted { kind: AVAILABLE, status: value, reason: reason.into(), message: message.into(), refresh: false }
}

enum Progress {
    Keep,
    None,
    Is(Wanted),
}

fn progress(view: &View<'_>, old: &DeploymentStatus, new: &DeploymentStatus, paused: bool, now: Timestamp) -> Progress {
    let is = |status, reason: &str, message: String, refresh| {
        Progress::Is(Wanted { kind: PROGRESSING, status, reason: reason.into(), message, refresh })
    };
    let current = condition(old, PROGRESSING);
    let reason = current.and_then(|condition| condition.reason.as_deref()).unwrap_or_default();
    if !has_deadline(view) {
        return if paused { Progress::Keep } else { Progress::None };
    }
    match (paused, reason) {
        (true, "ProgressDeadlineExceeded" | "DeploymentPaused") => return Progress::Keep,
        (true, _) => return is("Unknown", "DeploymentPaused", "Deployment is paused".into(), false),
        (false, "DeploymentPaused") => {
            return is("Unknown", "DeploymentResumed", "Deployment is resumed".into(), false);
        }
        _ => {}
    }
    let Some(set) = view.new else { return Progress::Keep };
    let of_set = format!("ReplicaSet \"{}\"", set.name());
    if reason == "NewReplicaSetAvailable" && new.replicas == new.updated_replicas && !is_new_rollout(view, old) {
        return Progress::Keep;
    }
    if is_complete(view, new) {
        return is("True", "NewReplicaSetAvailable", format!("{of_set} has successfully progressed."), false);
    }
    if current.is_none() || is_new_rollout(view, old) {
        return is("True", "NewReplicaSetCreated", format!("Created new replica set \"{}\"", set.name()), true);
    }
    if is_progressing(old, new) {
        return is("True", "ReplicaSetUpdated", format!("{of_set} is progressing."), true);
    }
    match remaining(view, current, now) {
        Some(remaining) if remaining <= 0 => {
            is("False", "ProgressDeadlineExceeded", format!("{of_set} has timed out progressing."), false)
        }
        _ => Progress::Keep,
    }
}

/// A set was made for a template that the status has not seen.
fn is_new_rollout(view: &View<'_>, old: &DeploymentStatus) -> bool {
    old.observed_generation != view.deployment.metadata.generation
        && view
            .new
            .is_some_and(|set| set.status.as_ref().is_none_or(|status| status.replicas == 0) && view.replicas > 0)
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// Every wanted replica is of the new template and available, and no other is left.
pub(super) fn is_complete(view: &View<'_>, status: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    view.new.is_some_and(|set| replicas(set) == view.replicas)
        && count(status.updated_replicas) == view.replicas
        && count(status.replicas) == view.replicas
        && count(status.available_replicas) == view.replicas
}

fn has_deadline(view: &View<'_>) -> bool {
    let spec = view.deployment.spec.as_ref();
    spec.and_then(|spec| spec.progress_deadline_seconds).is_some_and(|seconds| seconds != NO_DEADLINE)
}

/// Seconds until the rollout counts as stuck.
fn remaining(view: &View<'_>, current: Option<&DeploymentCondition>, now: Timestamp) -> Option<i64> {
    let deadline = view.deployment.spec.as_ref()?.progress_deadline_seconds?;
    let condition = current?;
    if matches!(condition.reason.as_deref(), Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")) {
        return None;
    }
    let since = condition.last_update_time.as_ref()?.0;
    Some(i64::from(deadline) - (now.as_second() - since.as_second()))
}

/// When to look whether the rollout is stuck.
pub(super) fn deadline(view: &View<'_>, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    if !has_deadline(view) || is_complete(view, status) || view.deployment.spec.as_ref()?.paused == Some(true) {
        return None;
    }
    let remaining = remaining(view, condition(status, PROGRESSING), now)?;
    Some(Duration::from_secs(u64::try_from(remaining.max(0)).unwrap_or(0) + 1))
}

fn replica_failure(view: &View<'_>) -> Option<Wanted> {
    let failed = view.new.into_iter().chain(view.old.iter().copied()).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE && condition.status == "True")
    })?;
    Some(Wanted {
        kind: REPLICA_FAILURE,
        status: "True",
        reason: failed.reason.clone().unwrap_or_default(),
        message: failed.message.clone().unwrap_or_default(),
        refresh: false,
    })
}

fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Puts a condition in its place, moving its times only as far as it changed.
fn set(conditions: &mut Vec<DeploymentCondition>, wanted: Wanted, now: Timestamp) {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let at = conditions.iter().position(|condition| condition.type_ == wanted.kind);
    let old = at.map(|at| &conditions[at]);
    let same_status = old.is_some_and(|old| old.status == wanted.status);
    let same_reason = old.is_some_and(|old| old.reason.as_deref() == Some(&*wanted.reason));
    if same_status && same_reason && !wanted.refresh {
        return;
    }
    let transition = old.filter(|_| same_status).and_then(|old| old.last_transition_time.clone());
    let new = DeploymentCondition {
        type_: wanted.kind.into(),
        status: wanted.status.into(),
        reason: Some(wanted.reason),
        message: Some(wanted.message),
        last_update_time: Some(now.clone()),
        last_transition_time: transition.or(Some(now)),
    };
    match at {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}
