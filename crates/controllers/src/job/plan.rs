//! Which pods a Job needs, and whether it has come to its end.

use std::sync::Arc;
use std::time::Duration;

use api::batchv1::JobCondition;
use api::corev1::Pod;
use jiff::{SignedDuration, Timestamp};

use super::backoff::{finished_at, remaining};
use super::failure_policy::{Verdict, judge};
use super::indexes::Indexes;
use super::pods::{IndexFailures, failures_of, has_failed, index_of, indexed_pod, new_pod, replaces_only_failed};
use super::success_policy;
use super::view::{IndexView, View, count, is_terminating};
use crate::pods::{is_deleted, phase};
use crate::replica_set::plan::cheaper_pod;

/// More are not created or deleted in one pass.
const BURST_MAX: usize = 500;

/// How a Job ends. Its first condition says so before the pods are let go, its last one after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub succeeds: bool,
    pub reason: String,
    pub message: String,
    /// Whether the first condition is there already.
    pub is_announced: bool,
}

impl Ending {
    fn failure(reason: &str, message: impl Into<String>) -> Ending {
        Ending { succeeds: false, reason: reason.into(), message: message.into(), is_announced: false }
    }

    fn announced(condition: &JobCondition, succeeds: bool) -> Ending {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ending { succeeds, reason: text(&condition.reason), message: text(&condition.message), is_announced: true }
    }
}

#[derive(Default)]
pub(super) struct Plan {
    pub create: Vec<Pod>,
    /// These still count, when they have ended.
    pub delete: Vec<Arc<Pod>>,
    /// These count no more: they were too many.
    pub discard: Vec<Arc<Pod>>,
    pub ending: Option<Ending>,
    /// Whether pods were looked after, so that the condition `Suspended` can be judged.
    pub is_managed: bool,
    pub check_again: Option<Duration>,
}

pub(super) fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan { check_again: deadline(view), ..Plan::default() };
    if let Some(ending) = ending(view) {
        plan.delete = view.active.clone();
        // Pods that the cache lacks would be left behind.
        plan.ending = Some(ending).filter(|_| view.seen.caught_up);
        plan.check_again = None;
        return plan;
    }
    if view.seen.caught_up && !is_deleted(&view.seen.job.metadata) {
        plan.is_managed = true;
        manage(view, &mut plan);
    }
    let left = count(&view.active) + count(&plan.create) - count(&plan.discard);
    let enough = view.spec.completions.unwrap_or(1);
    if view.succeeded >= enough && left == 0 {
        plan.ending = Some(Ending {
            succeeds: true,
            ..Ending::failure("CompletionsReached", "Reached expected number of succeeded pods")
        });
    }
    plan
}

/// What ends the Job though pods may run.
fn ending(view: &View<'_>) -> Option<Ending> {
    announced(view)
        .or_else(|| fails_by_policy(view))
        .or_else(|| exceeds_limits(view))
        .or_else(|| fails_by_indexes(view))
        .or_else(|| {
            let indexes = view.indexes.as_ref()?;
            let message =
                success_policy::met(view.spec.success_policy.as_ref(), indexes.completions, &indexes.succeeded)?;
            Some(Ending { succeeds: true, ..Ending::failure("SuccessPolicy", message) })
        })
}

fn announced(view: &View<'_>) -> Option<Ending> {
    let conditions = view.status.conditions.as_ref()?;
    let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True");
    let success = find("SuccessCriteriaMet").map(|condition| Ending::announced(condition, true));
    success.or_else(|| find("FailureTarget").map(|condition| Ending::announced(condition, false)))
}

fn fails_by_policy(view: &View<'_>) -> Option<Ending> {
    let policy = view.spec.pod_failure_policy.as_ref()?;
    let failed = view.seen.pods.iter().filter(|pod| has_failed(view.seen.job, pod));
    failed.into_iter().find_map(|pod| match judge(Some(policy), pod) {
        Verdict::FailJob(message) => Some(Ending::failure("PodFailurePolicy", message)),
        _ => None,
    })
}

fn exceeds_limits(view: &View<'_>) -> Option<Ending> {
    let limit = view.spec.backoff_limit.unwrap_or(6);
    if view.failed > limit || restarts_exceed(view, limit) {
        return Some(Ending::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let over = deadline_at(view).is_some_and(|at| at <= view.seen.now);
    over.then(|| Ending::failure("DeadlineExceeded", "Job was active longer than specified deadline"))
}

/// Where containers are restarted in place, their restarts count.
fn restarts_exceed(view: &View<'_>, limit: i32) -> bool {
    let template = view.seen.job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let living = view.seen.pods.iter().filter(|pod| matches!(phase(pod), "Running" | "Pending"));
    let statuses = living.filter_map(|pod| pod.status.as_ref());
    let containers =
        statuses.flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses));
    let restarts: i32 = containers.flatten().map(|container| container.restart_count).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

fn fails_by_indexes(view: &View<'_>) -> Option<Ending> {
    let indexes = view.indexes.as_ref()?;
    let failed = indexes.failed.as_ref()?.total();
    if view.spec.max_failed_indexes.is_some_and(|max| failed > max) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Ending::failure("MaxFailedIndexesExceeded", message));
    }
    let all_done = failed > 0 && failed + indexes.succeeded.total() >= indexes.completions;
    all_done.then(|| Ending::failure("FailedIndexes", "Job has failed indexes"))
}

fn deadline_at(view: &View<'_>) -> Option<Timestamp> {
    let limit = view.spec.active_deadline_seconds.filter(|_| !view.is_suspended())?;
    // One that has not begun begins now.
    let start = view.status.start_time.as_ref().map_or(view.seen.now, |time| time.0);
    Some(start + SignedDuration::from_secs(limit))
}

fn deadline(view: &View<'_>) -> Option<Duration> {
    Duration::try_from(deadline_at(view)? - view.seen.now).ok()
}

fn manage(view: &View<'_>, plan: &mut Plan) {
    let active = count(&view.active);
    let wanted = wanted_active(view);
    plan.discard = surplus(view, usize::try_from(active - wanted).unwrap_or(0));
    if !plan.discard.is_empty() || view.is_suspended() {
        return;
    }
    let waits_for = if replaces_only_failed(view.seen.job) { view.terminating } else { 0 };
    let missing = usize::try_from(wanted - waits_for - active).unwrap_or(0).min(BURST_MAX);
    if missing > 0 {
        create(view, missing, plan);
    }
}

fn wanted_active(view: &View<'_>) -> i32 {
    if view.is_suspended() {
        return 0;
    }
    let parallelism = view.spec.parallelism.unwrap_or(1);
    match view.spec.completions {
        Some(completions) => (completions - view.succeeded).clamp(0, parallelism),
        // Any success means that the work is done: those that run may end.
        None if view.succeeded > 0 => count(&view.active),
        None => parallelism,
    }
}

fn create(view: &View<'_>, missing: usize, plan: &mut Plan) {
    let job = view.seen.job;
    let pause = view.backoff.remaining(view.seen.now).filter(|_| !view.limits_each_index());
    if pause.is_some() {
        plan.check_again = earliest(plan.check_again, pause);
        return;
    }
    let Some(indexes) = &view.indexes else {
        plan.create = vec![new_pod(job); missing];
        return;
    };
    let pending = pending_indexes(view, indexes, missing);
    let (mut pauses, mut ready) = (Vec::new(), Vec::new());
    for index in pending {
        match pause_of_index(view, indexes, index) {
            Some(pause) => pauses.push(pause),
            None => ready.push(index),
        }
    }
    plan.check_again = earliest(plan.check_again, pauses.into_iter().min());
    let failures = |index| indexes.failed.as_ref().map(|_| next_failures(view, indexes.replaced.get(&index)));
    plan.create = ready.into_iter().map(|index| indexed_pod(job, index, failures(index))).collect();
}

fn earliest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn pending_indexes(view: &View<'_>, indexes: &IndexView, missing: usize) -> Vec<i32> {
    let waits = replaces_only_failed(view.seen.job);
    let held = view.seen.pods.iter().filter(|pod| crate::pods::is_active(pod) || (waits && is_terminating(pod)));
    let taken = Indexes::of(held.filter_map(|pod| index_of(pod))).union(&indexes.succeeded);
    let taken = indexes.failed.as_ref().map_or(taken.clone(), |failed| taken.union(failed));
    taken.first_missing(missing, indexes.completions)
}

fn pause_of_index(view: &View<'_>, indexes: &IndexView, index: i32) -> Option<Duration> {
    let last = indexes.replaced.get(&index)?;
    let failures = failures_of(last);
    let failures = u32::try_from(failures.counted + failures.ignored + 1).unwrap_or(0);
    remaining(failures, finished_at(last), view.seen.now)
}

fn next_failures(view: &View<'_>, last: Option<&Arc<Pod>>) -> IndexFailures {
    let Some(last) = last else { return IndexFailures::default() };
    let mut failures = failures_of(last);
    if judge(view.spec.pod_failure_policy.as_ref(), last).counts() {
        failures.counted += 1;
    } else {
        failures.ignored += 1;
    }
    failures
}

/// Pods without an index of their own, and so many more as are too many, the cheapest first.
fn surplus(view: &View<'_>, at_least: usize) -> Vec<Arc<Pod>> {
    let mut pods = view.active.clone();
    pods.sort_by(|a, b| cheaper_pod(a, b, view.seen.now));
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    // Of several with one index the dearest stays.
    let mut taken = std::collections::HashSet::new();
    for pod in pods.into_iter().rev() {
        let stays = view.indexes.as_ref().is_none_or(|indexes| {
            index_of(&pod).is_some_and(|index| index < indexes.completions && taken.insert(index))
        });
        if stays { left.push(pod) } else { gone.push(pod) }
    }
    let more = at_least.saturating_sub(gone.len());
    gone.extend(left.into_iter().rev().take(more));
    gone.truncate(if view.is_suspended() { usize::MAX } else { BURST_MAX });
    gone
}
