//! Does what the plan says: each action is a job in a task of its own, whose outcome comes back.

use std::sync::Arc;

use container::ContainerState;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{Outcome, PodWorker};
use crate::pods::ephemeral::find_container;
use crate::pods::model::{Busy, Failure, spec, uid};
use crate::pods::plan::{Action, StopReason};
use crate::pods::sandbox;
use crate::pods::status::written_status;
use crate::pods::stop::{Stop, stop};
use crate::start::start_container;
use crate::volumes;

const DEFAULT_GRACE: i64 = 30;

impl PodWorker {
    pub(super) fn apply(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::MountVolumes => self.apply_volumes(),
            Action::CreateSandbox => self.apply_sandbox(),
            Action::StartContainer { name } => self.apply_start(&name, now),
            Action::StopContainer { name, reason } => self.apply_stop(&name, reason, now),
            Action::RemoveOldInstances { name } => self.apply_remove_old(name),
            Action::TearDown => self.apply_tear_down(),
            Action::ExceedDeadline => {
                let message = "Pod was active on the node longer than the specified deadline".to_owned();
                self.observed.failed = Some(Failure { reason: "DeadlineExceeded".to_owned(), message });
                self.wake_at = Some(now);
            }
            Action::Delete => {}
        }
    }

    fn spawn(&self, name: &'static str, job: impl Future<Output = Outcome> + Send + 'static) {
        let outcomes = self.outcomes.0.clone();
        self.tasks.spawn_until_cancelled(name, async move {
            let outcome = job.await;
            // The worker has ended: nobody needs to know.
            let _ = outcomes.send(outcome).await;
        });
    }

    fn apply_volumes(&mut self) {
        self.observed.sandbox_busy = true;
        let (context, place) = (Arc::clone(&self.context), self.places.borrow().clone());
        self.spawn("mount volumes", async move { Outcome::Volumes(volumes::mount_all(&context, &place).await) });
    }

    fn apply_sandbox(&mut self) {
        self.observed.sandbox_busy = true;
        self.observed.sandbox_exists = true;
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        let anew = self.sandbox_lost;
        self.spawn("make the sandbox", async move { Outcome::Sandbox(sandbox::make(&context, &pod, anew).await) });
    }

    fn apply_start(&mut self, name: &str, now: Timestamp) {
        let written = written_status(&self.pod, name).filter(|status| status.container_id.is_some());
        let earlier = written.map(|status| status.restart_count);
        let seen = self.observation(name);
        let attempt = match (&seen.current, earlier) {
            (Some(current), _) => current.attempt + 1,
            (None, Some(count)) => u32::try_from(count).unwrap_or(0) + 1,
            (None, None) => 0,
        };
        if seen.exit().is_some() {
            seen.backoff.restarted(now);
        }
        let unstarted =
            seen.current.as_ref().filter(|current| current.state == ContainerState::Created).map(|c| c.id.clone());
        seen.busy = Some(Busy::Starting);
        let (context, place, name) = (Arc::clone(&self.context), self.places.borrow().clone(), name.to_owned());
        self.spawn("start a container", async move {
            if let Some(id) = unstarted {
                sandbox::remove_instance(&context, uid(&place.pod), &id).await;
            }
            let result = start_container(&context, &place, &name, attempt).await;
            Outcome::Started { name, result }
        });
    }

    fn apply_stop(&mut self, name: &str, reason: StopReason, now: Timestamp) {
        let grace = self.grace_of(name, &reason);
        let message = match &reason {
            StopReason::Ending => format!("Stopping container {name}"),
            StopReason::Unhealthy(why) => why.clone(),
            StopReason::Outdated => format!("Container {name} definition changed, will be restarted"),
        };
        let Some(id) = self.observed.container(name).current.as_ref().map(|current| current.id.clone()) else { return };
        let attended = self.attended(&id);
        attended.probes.cancel();
        let ended = attended.ended.subscribe();
        let deadline = match reason {
            StopReason::Ending => self.deadline.begin(grace, now),
            StopReason::Unhealthy(_) | StopReason::Outdated => {
                watch::Sender::new(now + SignedDuration::from_secs(grace)).subscribe()
            }
        };
        let seen = self.observation(name);
        seen.busy = Some(Busy::Stopping);
        seen.replaced = reason == StopReason::Outdated;
        let (context, place, name) = (Arc::clone(&self.context), self.places.borrow().clone(), name.to_owned());
        self.spawn("stop a container", async move {
            if let Some(config) = sandbox::container_config(&context, uid(&place.pod), &id).await {
                stop(Arc::clone(&context), Stop { place, config, deadline, ended, message }).await;
            }
            Outcome::Stopped { name }
        });
    }

    fn apply_remove_old(&self, name: String) {
        let context = Arc::clone(&self.context);
        let pod_uid = uid(&self.pod).to_owned();
        self.tasks.spawn_until_cancelled("remove old instances", async move {
            let Ok(Some(status)) = context.runtime.status(&pod_uid).await else { return };
            let mut list: Vec<_> =
                status.containers.into_iter().filter(|container| container.config.name == name).collect();
            list.sort_by_key(|container| container.config.attempt);
            let surplus = list.len().saturating_sub(2);
            for old in list.iter().take(surplus).filter(|old| old.state.exit().is_some()) {
                sandbox::remove_instance(&context, &pod_uid, &old.config.id).await;
                let _ = std::fs::remove_file(&old.config.log.path);
            }
        });
    }

    fn apply_tear_down(&mut self) {
        self.observed.sandbox_busy = true;
        self.volume_tasks.take().into_iter().for_each(|tasks| tasks.cancel());
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        self.spawn("tear down", async move { Outcome::TornDown(sandbox::tear_down(&context, &pod).await) });
    }

    fn grace_of(&self, name: &str, reason: &StopReason) -> i64 {
        let of_pod = spec(&self.pod).termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        match reason {
            StopReason::Ending => self.pod.metadata.deletion_grace_period_seconds.unwrap_or(of_pod),
            StopReason::Unhealthy(_) => {
                let probe = find_container(&self.pod, name).and_then(|(_, container)| container.liveness_probe.clone());
                probe.and_then(|probe| probe.termination_grace_period_seconds).unwrap_or(of_pod)
            }
            StopReason::Outdated => of_pod,
        }
    }
}
