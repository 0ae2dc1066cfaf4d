//! What a Job's status says, and whose finalizers may go.
//!
//! A pod's end is noted by its UID before its finalizer goes, and counted after: so each is counted once, whatever fails
//! in between.

use std::collections::HashSet;
use std::sync::Arc;

use api::batchv1::{JobCondition, JobStatus, UncountedTerminatedPods};
use api::corev1::Pod;
use api::metav1::Time;
use client::Object;
use jiff::Timestamp;

use super::failure_policy::judge;
use super::plan::{Ending, Plan};
use super::pods::{has_failed, index_of, is_tracked};
use super::view::{View, count, is_accountable};
use crate::pods::{is_deleted, is_ready, phase, seconds};

/// More pods are not noted in one pass, so that the status stays small.
const UNCOUNTED_MAX: usize = 500;

/// What is to be written, and whom to let go.
pub(super) struct Tracked {
    /// To be written before any finalizer goes.
    pub status: JobStatus,
    pub release: Vec<Arc<Pod>>,
    /// Pods were left out because they were too many.
    pub is_full: bool,
    /// Suspended or resumed just now.
    pub switched: Option<bool>,
}

/// `done`: the plan's pods were created and deleted.
pub(super) fn track(view: &View<'_>, plan: &Plan, done: bool) -> Tracked {
    let mut status = view.status.clone();
    count_pods(view, plan, done, &mut status);
    let mut switched = None;
    if plan.is_managed && plan.ending.is_none() && done {
        switched = switch(view, &mut status);
    }
    settle(&mut status, &still_tracked(view, &HashSet::new()));
    let ending = plan.ending.as_ref().filter(|_| done);
    let (release, is_full) = note_ends(view, ending, &mut status);
    if let Some(indexes) = &view.indexes {
        status.succeeded = positive(indexes.succeeded.total());
        status.completed_indexes = Some(indexes.succeeded.to_string()).filter(|text| !text.is_empty());
        status.failed_indexes = indexes.failed.as_ref().map(ToString::to_string);
    }
    if let Some(ending) = ending.filter(|ending| !ending.is_announced) {
        let kind = if ending.succeeds { "SuccessCriteriaMet" } else { "FailureTarget" };
        set_condition(&mut status, condition(kind, "True", &ending.reason, &ending.message, view.seen.now));
    }
    Tracked { status, release, is_full, switched }
}

fn count_pods(view: &View<'_>, plan: &Plan, done: bool, status: &mut JobStatus) {
    let suspended = view.is_suspended();
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(seconds(view.seen.now));
    }
    let removed: Vec<_> = plan.delete.iter().chain(&plan.discard).filter(|_| done).collect();
    let created = if done { count(&plan.create) } else { 0 };
    let ready = |pods: &mut dyn Iterator<Item = &Arc<Pod>>| {
        i32::try_from(pods.filter(|pod| is_ready(pod)).count()).unwrap_or(0)
    };
    status.active = positive(count(&view.active) + created - count(&removed));
    status.ready = Some(ready(&mut view.active.iter()) - ready(&mut removed.iter().copied()));
    status.terminating = Some(view.terminating + count(&removed));
}

/// Zero is absent on the wire.
fn positive(count: i32) -> Option<i32> {
    (count > 0).then_some(count)
}

/// Sets or clears `Suspended`. A Job that goes on begins anew.
fn switch(view: &View<'_>, status: &mut JobStatus) -> Option<bool> {
    let suspended = view.is_suspended();
    let now = view.seen.now;
    let known = status.conditions.iter().flatten().find(|condition| condition.type_ == "Suspended");
    if known.map_or(!suspended, |known| (known.status == "True") == suspended) {
        return None;
    }
    let wanted = if suspended {
        condition("Suspended", "True", "JobSuspended", "Job suspended", now)
    } else {
        status.start_time = Some(seconds(now));
        condition("Suspended", "False", "JobResumed", "Job resumed", now)
    };
    set_condition(status, wanted);
    Some(suspended)
}

/// UIDs of the pods that still have the finalizer, but for those `gone` just now.
pub(super) fn still_tracked(view: &View<'_>, gone: &HashSet<String>) -> HashSet<String> {
    let tracked = view.seen.pods.iter().filter(|pod| is_tracked(pod) && !view.seen.released.contains(pod.uid()));
    tracked.map(|pod| pod.uid().to_owned()).filter(|uid| !gone.contains(uid)).collect()
}

/// Counts those that were noted and have no finalizer any more.
pub(super) fn settle(status: &mut JobStatus, tracked: &HashSet<String>) {
    let noted = status.uncounted_terminated_pods.get_or_insert_default();
    let settle = |uids: &mut Option<Vec<String>>, counter: &mut Option<i32>| {
        let Some(known) = uids else { return };
        let before = known.len();
        known.retain(|uid| tracked.contains(uid));
        let gone = i32::try_from(before - known.len()).unwrap_or(0);
        *counter = positive(counter.unwrap_or(0) + gone);
        *uids = uids.take().filter(|uids| !uids.is_empty());
    };
    settle(&mut noted.succeeded, &mut status.succeeded);
    settle(&mut noted.failed, &mut status.failed);
}

/// Notes which pods have ended, and says who may go.
fn note_ends(view: &View<'_>, ending: Option<&Ending>, status: &mut JobStatus) -> (Vec<Arc<Pod>>, bool) {
    let mut release = Vec::new();
    let known = status.uncounted_terminated_pods.get_or_insert_default();
    let mut indexes = 0;
    let mut pods: Vec<_> = view.seen.pods.iter().collect();
    if view.indexes.is_some() {
        pods.sort_by_key(|pod| index_of(pod));
    }
    for pod in pods {
        if !is_tracked(pod) || view.seen.released.contains(pod.uid()) || !may_go(view, ending.is_some(), pod) {
            continue;
        }
        release.push(pod.clone());
        indexes += note(view, ending, pod, known);
        let length = |uids: &Option<Vec<String>>| uids.as_ref().map_or(0, Vec::len);
        if indexes + length(&known.succeeded) + length(&known.failed) >= UNCOUNTED_MAX {
            return (release, true);
        }
    }
    (release, false)
}

/// Notes the pod's UID, unless its index tells it from others: then 1 is the answer.
fn note(view: &View<'_>, ending: Option<&Ending>, pod: &Pod, known: &mut UncountedTerminatedPods) -> usize {
    let has = |uids: &Option<Vec<String>>| uids.iter().flatten().any(|uid| uid == pod.uid());
    let accountable = is_accountable(view.seen, &view.spec, pod);
    if phase(pod) == "Succeeded" && !has(&known.failed) {
        if view.indexes.is_some() {
            return usize::from(accountable);
        }
        if !has(&known.succeeded) {
            known.succeeded.get_or_insert_default().push(pod.uid().to_owned());
        }
    } else if has_failed(view.seen.job, pod) || ending.is_some_and(|ending| !ending.succeeds) {
        let counts = judge(view.spec.pod_failure_policy.as_ref(), pod).counts();
        if accountable && counts && !has(&known.failed) {
            known.failed.get_or_insert_default().push(pod.uid().to_owned());
        }
    }
    0
}

fn may_go(view: &View<'_>, ends: bool, pod: &Pod) -> bool {
    if ends || is_deleted(&view.seen.job.metadata) || phase(pod) == "Succeeded" {
        return true;
    }
    let replaced = view.indexes.as_ref().map(|indexes| &indexes.replaced);
    let waits = replaced.is_some_and(|replaced| replaced.values().any(|waiting| waiting.uid() == pod.uid()));
    has_failed(view.seen.job, pod) && !waits
}

/// The last condition, once all pods are accounted for and gone. Returns it.
pub(super) fn finish(status: &mut JobStatus, ending: &Ending, now: Timestamp) -> Option<JobCondition> {
    let noted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let waits = noted.succeeded.iter().chain(&noted.failed).flatten().next().is_some();
    if waits || status.terminating.unwrap_or(0) > 0 {
        return None;
    }
    let kind = if ending.succeeds { "Complete" } else { "Failed" };
    let last = condition(kind, "True", &ending.reason, &ending.message, now);
    set_condition(status, last.clone());
    if ending.succeeds {
        status.completion_time = last.last_transition_time.clone();
    }
    Some(last)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    let time: Time = seconds(now);
    JobCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(time.clone()),
        last_transition_time: Some(time),
    }
}

fn set_condition(status: &mut JobStatus, wanted: JobCondition) {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == wanted.type_) {
        Some(known) => *known = wanted,
        None => conditions.push(wanted),
    }
}
