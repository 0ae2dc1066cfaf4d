//! Deletes Jobs when their time after the end is over.
//!
//! Reads: Jobs.  Deletes: Jobs.  Does not know: pods, which go with their Job.  Start at [`expires_at`].

use std::sync::Arc;
use std::time::Duration;

use api::batchv1::Job;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, DeleteParams, Object, Propagation};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use rt::Clock;

use crate::Context;
use crate::ignore::ignore_gone;
use crate::job::finished;
use crate::pods::is_deleted;

const NAME: &str = "ttl-after-finished-controller";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = WorkQueue::new();
    let jobs = context.informers.lister::<Job>();
    let own = queue.clone();
    jobs.subscribe(move |change| {
        if expires_at(change.object()).is_some() {
            own.add(change.object().key());
        }
    });
    let reconciler = TtlReconciler { client, jobs: jobs.clone(), clock: context.clock.clone() };
    context.run(NAME, reconciler, queue, 1, async move { jobs.synced().await });
}

/// `None`: never, or not known yet.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let end = finished(job).filter(|_| !is_deleted(&job.metadata))?.last_transition_time.as_ref()?.0;
    Some(end + SignedDuration::from_secs(i64::from(ttl)))
}

struct TtlReconciler {
    client: Client,
    jobs: Lister<Job>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for TtlReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(job) = self.jobs.get(key) else { return Ok(Requeue::AwaitChange) };
        let Some(at) = expires_at(&job) else { return Ok(Requeue::AwaitChange) };
        if let Some(wait) = Duration::try_from(at - self.clock.now()).ok().filter(|wait| !wait.is_zero()) {
            return Ok(Requeue::After(wait));
        }
        self.delete(key).await
    }
}

impl TtlReconciler {
    /// Asks the server first: the time may just have been changed.
    async fn delete(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let api = Api::<Job>::namespaced(&self.client, &key.namespace);
        let Some(fresh) = api.get_opt(&key.name).await? else { return Ok(Requeue::AwaitChange) };
        if expires_at(&fresh).is_some_and(|at| at <= self.clock.now()) {
            let params = DeleteParams {
                propagation_policy: Some(Propagation::Foreground),
                resource_version: Some(fresh.resource_version().to_owned()),
                ..DeleteParams::uid(fresh.uid())
            };
            ignore_gone(api.delete(&key.name, &params).await)?;
        }
        Ok(Requeue::AwaitChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(ttl: Option<i32>, condition: &str) -> Job {
        let ended = json!({"type": condition, "status": "True", "lastTransitionTime": "2027-01-15T08:00:00Z"});
        let spec = json!({"template": {}, "ttlSecondsAfterFinished": ttl});
        let job = json!({"metadata": {"name": "a"}, "spec": spec, "status": {"conditions": [ended]}});
        serde_json::from_value(job).expect("a job")
    }

    #[test]
    fn only_a_finished_job_with_a_time_to_live_expires() {
        let at = |second: &str| Some(format!("2027-01-15T08:00:{second}Z").parse::<Timestamp>().expect("a time"));
        assert_eq!(expires_at(&job(Some(0), "Complete")), at("00"));
        assert_eq!(expires_at(&job(Some(30), "Failed")), at("30"));
        assert_eq!(expires_at(&job(Some(30), "FailureTarget")), None);
        assert_eq!(expires_at(&job(None, "Complete")), None);
    }
}
