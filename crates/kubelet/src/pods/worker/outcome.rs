//! What the pod's jobs and probes found, taken into the observation.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::PodWorker;
use crate::context::pod_reference;
use crate::pods::model::uid;
use crate::probes::{Kind, Verdict};
use crate::start::StartFailure;
use crate::volumes;

const RETRY: SignedDuration = SignedDuration::from_secs(2);

/// What a job found.
pub(super) enum Outcome {
    Volumes(Result<(), String>),
    Sandbox(Result<Vec<IpAddr>, String>),
    Started { name: String, result: Result<(), StartFailure> },
    Stopped { name: String },
    TornDown(Result<(), String>),
}

impl PodWorker {
    pub(super) fn take_outcome(&mut self, outcome: Outcome) {
        let now = self.context.clock.now();
        match outcome {
            Outcome::Volumes(result) => self.volumes_done(result, now),
            Outcome::Sandbox(result) => self.sandbox_done(result, now),
            Outcome::Started { name, result } => self.start_done(&name, result, now),
            Outcome::Stopped { name } => {
                let seen = self.observation(&name);
                (seen.busy, seen.unhealthy) = (None, None);
            }
            Outcome::TornDown(result) => self.tear_down_done(result, now),
        }
    }

    fn volumes_done(&mut self, result: Result<(), String>, now: Timestamp) {
        self.observed.sandbox_busy = false;
        match result {
            Ok(()) => {
                self.observed.volumes_ready = true;
                self.observed.volumes_retry_at = None;
                let tasks = self.tasks.child();
                let follow = volumes::update::follow(Arc::clone(&self.context), self.places.subscribe());
                tasks.spawn_until_cancelled("volume updates", follow);
                self.volume_tasks = Some(tasks);
            }
            Err(message) => {
                self.context.recorder.warning(&pod_reference(&self.pod, None), "FailedMount", message);
                self.observed.volumes_retry_at = Some(now + RETRY);
            }
        }
    }

    fn sandbox_done(&mut self, result: Result<Vec<IpAddr>, String>, now: Timestamp) {
        self.observed.sandbox_busy = false;
        match result {
            Ok(ips) => {
                (self.observed.sandbox_ready, self.observed.ips) = (true, ips);
                self.observed.sandbox_retry_at = None;
                self.publish_place();
            }
            Err(message) => {
                let text = format!("Failed to create pod sandbox: {message}");
                self.context.recorder.warning(&pod_reference(&self.pod, None), "FailedCreatePodSandBox", text);
                self.observed.sandbox_retry_at = Some(now + RETRY);
            }
        }
    }

    fn start_done(&mut self, name: &str, result: Result<(), StartFailure>, now: Timestamp) {
        let seen = self.observation(name);
        seen.busy = None;
        match result {
            Ok(()) => (seen.waiting, seen.retry_at) = (None, None),
            Err(failure) if failure.sandbox_lost => {
                // Not the container's fault: as soon as there is a sandbox again, it starts.
                self.sandbox_is_lost();
            }
            Err(failure) => {
                if failure.retry_at.is_none() {
                    seen.backoff.restarted(now);
                }
                if failure.waiting.reason == "PostStartHookError" {
                    seen.unhealthy = Some("FailedPostStartHook".to_owned());
                }
                seen.retry_at = Some(failure.retry_at.unwrap_or_else(|| now + seen.backoff.pause_at(now)));
                seen.waiting = Some(failure.waiting);
            }
        }
    }

    /// The network has to be let go of before there is another one.
    pub(super) fn sandbox_is_lost(&mut self) {
        self.sandbox_lost = true;
        self.observed.sandbox_ready = false;
    }

    fn tear_down_done(&mut self, result: Result<(), String>, now: Timestamp) {
        let observed = &mut self.observed;
        observed.sandbox_busy = false;
        match result {
            Ok(()) => (observed.sandbox_exists, observed.sandbox_ready, observed.volumes_ready) = (false, false, false),
            Err(error) => {
                tracing::error!(pod = uid(&self.pod), error, "pod was not torn down");
                observed.tear_down_retry_at = Some(now + RETRY);
            }
        }
    }

    pub(super) fn take_verdict(&mut self, verdict: &Verdict) {
        let Some(seen) = self.observed.containers.get_mut(&verdict.container) else { return };
        if seen.current.as_ref().is_none_or(|current| current.id != verdict.id) {
            return;
        }
        match (verdict.kind, verdict.passes) {
            (Kind::Readiness, passes) => seen.ready = passes,
            (Kind::Startup, true) => seen.started = true,
            (Kind::Liveness, true) => {}
            (kind, false) => {
                let word = kind.as_str().to_lowercase();
                seen.unhealthy =
                    Some(format!("Container {} failed {word} probe, will be restarted", verdict.container));
            }
        }
    }
}
