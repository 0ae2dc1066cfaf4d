//! Runs each Job's pods until enough have succeeded, or too many have failed.
//!
//! Reads: Jobs, Pods (owned or adoptable).  Writes: Pods, `jobs/status`.
//! Does not know: CronJobs, nodes, why it was woken.  Start at [`plan::plan`], then [`track::track`].

mod backoff;
mod failure_policy;
mod indexes;
mod orphans;
mod plan;
mod pods;
mod released;
mod success_policy;
#[cfg(test)]
mod tests;
mod track;
mod view;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::batchv1::{Job, JobCondition, JobStatus};
use api::corev1::Pod;
use api::k8s::Resource;
use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, Error, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use futures::future::join_all;
use parking_lot::Mutex;
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_gone;
use crate::ownership::{candidates, claim_with_finalizer, wake_owners};
use crate::pod_control::PodControl;
use crate::pods::selector;
use backoff::Backoff;
use plan::Plan;
use released::Released;
use view::{Seen, View};

const NAME: &str = "job-controller";
const WORKERS: usize = 4;
/// What a Job's `managedBy` says when it is ours.
const MANAGED_BY: &str = "kubernetes.io/job-controller";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let (jobs, pods) = (context.informers.lister::<Job>(), context.informers.lister::<Pod>());
    let events = context.events(&client, NAME);
    let pod_control = PodControl::new(&client, events.clone(), &pods, Job::KIND);
    let released = Released::new(&pods);
    let own = queue.clone();
    jobs.subscribe(move |change| own.add(change.object().key()));
    wake_owners(&pods, &jobs, pod_selector, &queue);
    orphans::start(context, &client, &jobs, &pods);
    let reconciler = JobReconciler {
        client,
        events,
        pod_control,
        released,
        backoffs: Mutex::default(),
        jobs: jobs.clone(),
        pods: pods.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        jobs.synced().await;
        pods.synced().await;
    });
}

/// Completed or failed.
pub(crate) fn is_finished(job: &Job) -> bool {
    finished(job).is_some()
}

/// The condition that says so.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let mut conditions = job.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True")
}

/// Whether somebody else's controller looks after it.
fn is_foreign(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|manager| manager != MANAGED_BY)
}

fn pod_selector(job: &Job) -> Selector {
    let wanted = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.map_or_else(Selector::nothing, selector)
}

struct JobReconciler {
    client: Client,
    events: EventRecorder,
    pod_control: PodControl,
    released: Released,
    /// By UID of the Job.
    backoffs: Mutex<HashMap<ObjectKey, (String, Backoff)>>,
    jobs: Lister<Job>,
    pods: Lister<Pod>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for JobReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(job) = self.jobs.get(key) else {
            self.forget(key);
            return Ok(Requeue::AwaitChange);
        };
        if is_foreign(&job) {
            return Ok(Requeue::AwaitChange);
        }
        if is_finished(&job) {
            self.backoffs.lock().remove(key);
            return Ok(Requeue::AwaitChange);
        }
        self.sync(&job).await
    }
}

impl JobReconciler {
    fn forget(&self, key: &ObjectKey) {
        self.pod_control.forget(key);
        self.released.forget(key);
        self.backoffs.lock().remove(key);
    }

    async fn sync(&self, job: &Job) -> Result<Requeue, ReconcileError> {
        let key = job.key();
        let (caught_up, released) = (self.pod_control.is_caught_up(&key), self.released.of(&key));
        let pods = self.pods_of(job).await?;
        let seen = Seen { job, pods: &pods, released, caught_up, backoff: self.backoff(job), now: self.clock.now() };
        let view = View::of(&seen);
        let plan = plan::plan(&view);
        let applied = self.apply(job, &plan).await;
        self.track(&view, &plan, applied.is_ok()).await?;
        applied?;
        Ok(plan.check_again.map_or(Requeue::AwaitChange, Requeue::After))
    }

    async fn pods_of(&self, job: &Job) -> Result<Vec<Arc<Pod>>, Error> {
        let (selector, api) = (pod_selector(job), Api::namespaced(&self.client, job.namespace()));
        let near = candidates(&self.pods, job, &selector);
        claim_with_finalizer(&api, job, &selector, near, Some(pods::FINALIZER)).await
    }

    fn backoff(&self, job: &Job) -> Backoff {
        let known = self.backoffs.lock().get(&job.key()).cloned();
        known.filter(|(uid, _)| uid == job.uid()).map(|(_, backoff)| backoff).unwrap_or_default()
    }

    async fn apply(&self, job: &Job, plan: &Plan) -> Result<(), Error> {
        self.pod_control.delete(job, &plan.delete).await?;
        for freed in join_all(plan.discard.iter().map(|pod| orphans::release(&self.client, pod))).await {
            ignore_gone(freed)?;
        }
        self.pod_control.delete(job, &plan.discard).await?;
        self.pod_control.create(job, &plan.create).await
    }

    /// Writes the status, lets pods go, and writes what follows from that.
    async fn track(&self, view: &View<'_>, plan: &Plan, done: bool) -> Result<(), Error> {
        let tracked = track::track(view, plan, done);
        let job = self.write_status(view.seen.job.clone(), &tracked.status).await?;
        self.backoffs.lock().insert(job.key(), (job.uid().to_owned(), view.backoff));
        if let Some(suspended) = tracked.switched {
            let (reason, message) = if suspended { ("Suspended", "Job suspended") } else { ("Resumed", "Job resumed") };
            self.events.normal(&reference(&job), reason, message);
        }
        let (gone, failure) = self.release(&job, &tracked.release).await;
        let mut status = tracked.status;
        track::settle(&mut status, &track::still_tracked(view, &gone));
        let ending = plan.ending.as_ref().filter(|_| done && !tracked.is_full && failure.is_none());
        let last = ending.and_then(|ending| track::finish(&mut status, ending, self.clock.now()));
        let job = self.write_status(job, &status).await?;
        if let Some(last) = last {
            self.announce(&job, &last);
        }
        failure.map_or(Ok(()), Err)
    }

    async fn write_status(&self, job: Job, status: &JobStatus) -> Result<Job, Error> {
        if job.status.as_ref() == Some(status) {
            return Ok(job);
        }
        let updated = Job { status: Some(status.clone()), ..job };
        Api::namespaced(&self.client, updated.namespace()).update_status(&updated).await
    }

    /// UIDs of those that are free now, and why others are not.
    async fn release(&self, job: &Job, pods: &[Arc<Pod>]) -> (HashSet<String>, Option<Error>) {
        let key = job.key();
        let release = |pod: Arc<Pod>| {
            let key = &key;
            async move {
                self.released.expect(key, pod.uid());
                let freed = orphans::release(&self.client, &pod).await;
                let shows_later = freed.is_ok();
                let freed = ignore_gone(freed);
                if !shows_later {
                    self.released.saw(key, pod.uid());
                }
                freed.map(|()| pod.uid().to_owned())
            }
        };
        let (mut gone, mut failure) = (HashSet::new(), None);
        for freed in join_all(pods.iter().cloned().map(release)).await {
            match freed {
                Ok(uid) => drop(gone.insert(uid)),
                Err(error) => failure = Some(error),
            }
        }
        (gone, failure)
    }

    fn announce(&self, job: &Job, last: &JobCondition) {
        let about = reference(job);
        if last.type_ == "Failed" {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            self.events.warning(&about, &text(&last.reason), text(&last.message));
            return;
        }
        let completions = job.spec.as_ref().and_then(|spec| spec.completions);
        let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
        if completions.is_some_and(|completions| succeeded > completions) {
            let message = "Too many succeeded pods running after completion count reached";
            self.events.warning(&about, "TooManySucceededPods", message);
        }
        self.events.normal(&about, "Completed", "Job completed");
    }
}
