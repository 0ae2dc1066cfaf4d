//! What a Job's pods amount to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use api::batchv1::{Job, JobSpec, JobStatus};
use api::corev1::Pod;
use client::Object;
use jiff::Timestamp;

use super::backoff::{Backoff, finished_at};
use super::failure_policy::{Verdict, judge};
use super::indexes::Indexes;
use super::pods::{failures_of, has_failed, index_of, is_tracked};
use crate::pods::{is_active, is_deleted, phase};

/// A snapshot of what concerns one Job.
pub(super) struct Seen<'a> {
    pub job: &'a Job,
    pub pods: &'a [Arc<Pod>],
    /// UIDs of pods whose finalizer was taken away, which the cache does not show yet.
    pub released: HashSet<String>,
    /// Whether the cache shows all pods that were created and deleted.
    pub caught_up: bool,
    pub backoff: Backoff,
    pub now: Timestamp,
}

/// The indexes of an indexed Job.
pub(super) struct IndexView {
    pub completions: i32,
    pub succeeded: Indexes,
    /// Only where failures are limited for each index.
    pub failed: Option<Indexes>,
    /// The pod of each index that waits for its replacement, which is to know how often the index has failed.
    pub replaced: BTreeMap<i32, Arc<Pod>>,
}

pub(super) struct View<'a> {
    pub seen: &'a Seen<'a>,
    pub spec: JobSpec,
    pub status: JobStatus,
    pub active: Vec<Arc<Pod>>,
    pub terminating: i32,
    pub succeeded: i32,
    pub failed: i32,
    pub indexes: Option<IndexView>,
    /// With the pods that have finished since.
    pub backoff: Backoff,
}

impl<'a> View<'a> {
    pub fn of(seen: &'a Seen<'a>) -> Self {
        let mut spec = seen.job.spec.clone().unwrap_or_default();
        spec.template = Default::default();
        let status = seen.job.status.clone().unwrap_or_default();
        let fresh = Fresh::of(seen, &spec, &status);
        let indexes = indexed_completions(&spec).map(|completions| fresh.indexes(seen, &spec, &status, completions));
        let counted = fresh.failed.iter().filter(|pod| judge(spec.pod_failure_policy.as_ref(), pod).counts());
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let succeeded = match &indexes {
            Some(indexes) => indexes.succeeded.total(),
            None => {
                status.succeeded.unwrap_or(0)
                    + count(&fresh.succeeded)
                    + count(&uncounted.succeeded.unwrap_or_default())
            }
        };
        View {
            active: seen.pods.iter().filter(|pod| is_active(pod)).cloned().collect(),
            terminating: count(&seen.pods.iter().filter(|pod| is_terminating(pod)).collect::<Vec<_>>()),
            succeeded,
            failed: status.failed.unwrap_or(0)
                + count(&counted.collect::<Vec<_>>())
                + count(&uncounted.failed.unwrap_or_default()),
            backoff: seen
                .backoff
                .after(fresh.succeeded.iter().map(|pod| &***pod), fresh.failed.iter().map(|pod| &***pod)),
            indexes,
            seen,
            spec,
            status,
        }
    }

    pub fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    pub fn limits_each_index(&self) -> bool {
        self.indexes.as_ref().is_some_and(|indexes| indexes.failed.is_some())
    }
}

pub(super) fn count<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

/// On its way out, and not finished yet.
pub(super) fn is_terminating(pod: &Pod) -> bool {
    is_deleted(&pod.metadata) && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// Only of an indexed Job.
pub(super) fn indexed_completions(spec: &JobSpec) -> Option<i32> {
    spec.completions.filter(|_| spec.completion_mode.as_deref() == Some("Indexed"))
}

/// Whether the pod waits to be accounted for; of an indexed Job only with an index of its own.
pub(super) fn is_accountable(seen: &Seen<'_>, spec: &JobSpec, pod: &Pod) -> bool {
    let placed =
        indexed_completions(spec).is_none_or(|completions| index_of(pod).is_some_and(|index| index < completions));
    placed && is_tracked(pod) && !seen.released.contains(pod.uid())
}

/// Pods that have finished and are not in the status yet.
struct Fresh<'a> {
    succeeded: Vec<&'a Arc<Pod>>,
    failed: Vec<&'a Arc<Pod>>,
}

impl<'a> Fresh<'a> {
    fn of(seen: &'a Seen<'_>, spec: &JobSpec, status: &JobStatus) -> Self {
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let lists = |list: &Option<Vec<String>>, pod: &Pod| list.iter().flatten().any(|uid| uid == pod.uid());
        let valid: Vec<_> = seen.pods.iter().filter(|pod| is_accountable(seen, spec, pod)).collect();
        let succeeded = valid.iter().filter(|pod| phase(pod) == "Succeeded" && !lists(&uncounted.succeeded, pod));
        let failed = valid.iter().filter(|pod| has_failed(seen.job, pod) && !lists(&uncounted.failed, pod));
        Fresh { succeeded: succeeded.copied().collect(), failed: failed.copied().collect() }
    }

    fn indexes(&self, seen: &Seen<'_>, spec: &JobSpec, status: &JobStatus, completions: i32) -> IndexView {
        let known = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), completions);
        let new = Indexes::of(self.succeeded.iter().filter_map(|pod| index_of(pod)));
        let succeeded = known(&status.completed_indexes).union(&new);
        let failed = spec.backoff_limit_per_index.map(|limit| {
            let tracked = seen.pods.iter().filter(|pod| is_accountable(seen, spec, pod));
            let lost = tracked.filter(|pod| fails_its_index(seen.job, spec, pod, limit));
            known(&status.failed_indexes).union(&Indexes::of(lost.filter_map(|pod| index_of(pod))))
        });
        let replaced = failed.as_ref().map(|failed| replaced(seen, spec, &succeeded, failed)).unwrap_or_default();
        IndexView { completions, succeeded, failed, replaced }
    }
}

fn fails_its_index(job: &Job, spec: &JobSpec, pod: &Pod, limit: i32) -> bool {
    if !has_failed(job, pod) {
        return false;
    }
    match judge(spec.pod_failure_policy.as_ref(), pod) {
        Verdict::FailIndex => true,
        verdict => verdict.counts() && failures_of(pod).counted >= limit,
    }
}

/// The last failed pod of each index that is to be tried again and has no other pod.
fn replaced(seen: &Seen<'_>, spec: &JobSpec, succeeded: &Indexes, failed: &Indexes) -> BTreeMap<i32, Arc<Pod>> {
    let active = Indexes::of(seen.pods.iter().filter(|pod| is_active(pod)).filter_map(|pod| index_of(pod)));
    let order = |pod: &Pod| {
        let failures = failures_of(pod);
        (failures.counted + failures.ignored, finished_at(pod))
    };
    let mut replaced: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
    for pod in seen.pods.iter().filter(|pod| is_accountable(seen, spec, pod) && has_failed(seen.job, pod)) {
        let Some(index) = index_of(pod) else { continue };
        if succeeded.has(index) || failed.has(index) || active.has(index) {
            continue;
        }
        let last = replaced.entry(index).or_insert_with(|| pod.clone());
        if order(last) <= order(pod) {
            *last = pod.clone();
        }
    }
    replaced
}
