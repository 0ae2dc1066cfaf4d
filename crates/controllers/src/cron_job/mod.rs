//! Starts Jobs at their times.
//!
//! Reads: CronJobs, Jobs (owned).  Writes: Jobs, `cronjobs/status`.
//! Does not know: pods, why it was woken.  Start at [`plan::plan`].

mod due;
mod plan;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use api::batchv1::{CronJob, CronJobStatus, Job};
use api::k8s::Resource;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::events::{EventRecorder, reference};
use client::{Api, Client, DeleteParams, Error, Object, Propagation};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_gone;
use crate::job::is_finished;
use crate::ownership::{controller_key, controller_of};
use plan::{Observed, Plan, Start};

const NAME: &str = "cronjob-controller";
const WORKERS: usize = 2;

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let (cron_jobs, jobs) = (context.informers.lister::<CronJob>(), context.informers.lister::<Job>());
    let own = queue.clone();
    cron_jobs.subscribe(move |change| own.add(change.object().key()));
    let by_job = queue.clone();
    jobs.subscribe(move |change: &Change<Job>| {
        for job in change.old().into_iter().chain([change.object()]) {
            controller_key(&job.metadata, CronJob::KIND).into_iter().for_each(|owner| by_job.add(owner));
        }
    });
    let reconciler = CronJobReconciler {
        events: context.events(&client, NAME),
        client,
        cron_jobs: cron_jobs.clone(),
        jobs: jobs.clone(),
        clock: context.clock.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        cron_jobs.synced().await;
        jobs.synced().await;
    });
}

struct CronJobReconciler {
    client: Client,
    events: EventRecorder,
    cron_jobs: Lister<CronJob>,
    jobs: Lister<Job>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for CronJobReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(cron_job) = self.cron_jobs.get(key) else { return Ok(Requeue::AwaitChange) };
        let children = self.jobs.by_owner(cron_job.uid()).into_iter();
        let is_ours = |job: &Arc<Job>| controller_of(&job.metadata).is_some_and(|owner| owner.uid == cron_job.uid());
        let jobs: Vec<_> = children.filter(is_ours).collect();
        let cron_job = self.fresh(cron_job.clone(), &jobs).await?;
        let missing = self.missing(&cron_job, &jobs).await?;
        let plan = plan::plan(&Observed { cron_job: &cron_job, jobs: &jobs, missing, now: self.clock.now() });
        self.apply(&cron_job, &plan).await?;
        Ok(plan.check_again.map_or(Requeue::AwaitChange, Requeue::After))
    }
}

impl CronJobReconciler {
    /// The cache may show a Job that was just started, and not yet that it was noted.
    async fn fresh(&self, cron_job: Arc<CronJob>, jobs: &[Arc<Job>]) -> Result<Arc<CronJob>, Error> {
        let status = cron_job.status.clone().unwrap_or_default();
        if jobs.iter().all(|job| is_finished(job) || plan::is_active(&status, job.uid())) {
            return Ok(cron_job);
        }
        let live = Api::<CronJob>::namespaced(&self.client, cron_job.namespace()).get_opt(cron_job.name()).await?;
        Ok(live.filter(|live| live.uid() == cron_job.uid()).map_or(cron_job, Arc::new))
    }

    /// Active Jobs that are not there any more, by the server's word.
    async fn missing(&self, cron_job: &CronJob, jobs: &[Arc<Job>]) -> Result<HashSet<String>, Error> {
        let mut missing = HashSet::new();
        let active = cron_job.status.as_ref().and_then(|status| status.active.clone()).unwrap_or_default();
        for active in active {
            let (uid, name) = (active.uid.unwrap_or_default(), active.name.unwrap_or_default());
            if jobs.iter().any(|job| job.uid() == uid) {
                continue;
            }
            let api = Api::<Job>::namespaced(&self.client, cron_job.namespace());
            if api.get_opt(&name).await?.is_none_or(|job| job.uid() != uid) {
                missing.insert(uid);
            }
        }
        Ok(missing)
    }

    async fn apply(&self, cron_job: &CronJob, plan: &Plan) -> Result<(), Error> {
        let about = reference(cron_job);
        for note in &plan.notes {
            self.events.record(&about, note.kind, note.reason, note.message.as_str());
        }
        let mut status = plan.status.clone();
        for active in &plan.replace {
            let (uid, name) = (active.uid.clone().unwrap_or_default(), active.name.clone().unwrap_or_default());
            self.delete(cron_job, &name, &uid).await?;
            plan::drop_active(&mut status, &uid);
        }
        let started = match &plan.start {
            Some(start) => self.start(cron_job, start).await,
            None => Ok(None),
        };
        if let (Some(start), Ok(Some(job))) = (&plan.start, &started) {
            status = plan::started(status, job, start.at);
        }
        self.write_status(cron_job, status).await?;
        started?;
        for job in &plan.forget {
            self.delete(cron_job, job.name(), job.uid()).await?;
        }
        Ok(())
    }

    /// The Job, when it is this CronJob's: another's of the same name is not touched.
    async fn start(&self, cron_job: &CronJob, start: &Start) -> Result<Option<Job>, Error> {
        let api = Api::<Job>::namespaced(&self.client, cron_job.namespace());
        let about = reference(cron_job);
        match api.create(&start.job).await {
            Ok(job) => {
                self.events.normal(&about, "SuccessfulCreate", format!("Created job {}", job.name()));
                Ok(Some(job))
            }
            Err(error) if error.is_already_exists() => {
                let known = api.get_opt(start.job.name()).await?;
                let is_ours = |job: &Job| controller_of(&job.metadata).is_some_and(|owner| owner.uid == cron_job.uid());
                Ok(known.filter(is_ours))
            }
            Err(error) => {
                self.events.warning(&about, "FailedCreate", format!("Error creating job: {error}"));
                Err(error)
            }
        }
    }

    async fn delete(&self, cron_job: &CronJob, name: &str, uid: &str) -> Result<(), Error> {
        let params = DeleteParams { propagation_policy: Some(Propagation::Background), ..DeleteParams::uid(uid) };
        let gone = Api::<Job>::namespaced(&self.client, cron_job.namespace()).delete(name, &params).await;
        let about = reference(cron_job);
        match ignore_gone(gone) {
            Ok(()) => self.events.normal(&about, "SuccessfulDelete", format!("Deleted job {name}")),
            Err(error) => {
                self.events.warning(&about, "FailedDelete", format!("Deleted job: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_status(&self, cron_job: &CronJob, status: CronJobStatus) -> Result<(), Error> {
        if cron_job.status.clone().unwrap_or_default() == status {
            return Ok(());
        }
        let updated = CronJob { status: Some(status), ..cron_job.clone() };
        ignore_gone(Api::namespaced(&self.client, cron_job.namespace()).update_status(&updated).await)
    }
}
