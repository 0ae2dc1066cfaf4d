//! What goes on around each instance of a container: its probes, its end, what users were told of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::corev1::Container;
use client::Object;
use jiff::Timestamp;
use rt::TaskSet;
use tokio::sync::watch;

use super::PodWorker;
use crate::context::pod_reference;
use crate::pods::model::{Busy, containers, uid};
use crate::probes::{self, Kind};

/// By the instance's ID.
pub(super) type Instances = HashMap<String, Attended>;

pub(super) struct Attended {
    /// Turns true when it has ended, for the job that stops it.
    pub ended: watch::Sender<bool>,
    pub probes: TaskSet,
    /// Those of its startup run (false), or those of its time after that.
    probed_started: Option<bool>,
    backoff_told: bool,
    pub message: Option<String>,
    /// It was found without its monitor.
    pub lost: bool,
}

impl Attended {
    fn new(probes: TaskSet) -> Attended {
        let ended = watch::Sender::new(false);
        Attended { ended, probes, probed_started: None, backoff_told: false, message: None, lost: false }
    }

    pub fn end(&self) {
        self.ended.send_replace(true);
        self.probes.cancel();
    }
}

impl PodWorker {
    pub(super) fn attended(&mut self, id: &str) -> &mut Attended {
        self.instances.entry(id.to_owned()).or_insert_with(|| Attended::new(self.tasks.child()))
    }

    /// Only the newest instance and the one before it are looked at.
    pub(super) fn forget_old_instances(&mut self) {
        let seen = self.observed.containers.values().flat_map(|seen| seen.current.iter().chain(&seen.previous));
        let known: HashSet<&str> = seen.map(|instance| instance.id.as_str()).collect();
        self.instances.retain(|id, _| known.contains(id.as_str()));
    }

    /// Probes of a running instance: those that may run now and do not yet.
    pub(super) fn probe(&mut self, container: &Container, id: &str) {
        let seen = self.observed.container(&container.name);
        let (started, stopping) = (seen.started, seen.busy == Some(Busy::Stopping));
        let kinds: &[Kind] = if started { &[Kind::Liveness, Kind::Readiness] } else { &[Kind::Startup] };
        let attended = self.attended(id);
        if stopping || attended.probed_started.replace(started) == Some(started) {
            return;
        }
        let tasks = attended.probes.clone();
        for kind in kinds.iter().filter(|kind| kind.of(container).is_some()) {
            let run = probes::run(
                Arc::clone(&self.context),
                self.places.borrow().clone(),
                container.clone(),
                id.to_owned(),
                *kind,
                self.verdicts.0.clone(),
            );
            tasks.spawn_until_cancelled("probe", run);
        }
    }

    /// One event for each instance that has to wait for its restart.
    pub(super) fn tell_backoffs(&mut self, now: Timestamp) {
        let pod = Arc::clone(&self.pod);
        for (_, container) in containers(&pod) {
            let seen = self.observed.container(&container.name);
            let (Some(current), Some(exit)) = (&seen.current, seen.exit()) else { continue };
            if seen.backoff.waits_until(exit.finished_at, now).is_none() {
                continue;
            }
            let id = current.id.clone();
            if std::mem::replace(&mut self.attended(&id).backoff_told, true) {
                continue;
            }
            let text = format!(
                "Back-off restarting failed container {} in pod {}_{}({})",
                container.name,
                pod.name(),
                pod.namespace(),
                uid(&pod),
            );
            self.context.recorder.warning(&pod_reference(&pod, Some(&container.name)), "BackOff", text);
        }
    }
}
