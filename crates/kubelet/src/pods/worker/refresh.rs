//! What the runtime's records say, taken into the observation.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::{Container, Pod};
use container::{ContainerState, ContainerStatus, Exit, ExitReason};
use jiff::Timestamp;

use super::PodWorker;
use crate::pods::ephemeral::find_container;
use crate::pods::model::{Instance, Observation, uid};
use crate::pods::status::{is_of, written_status};
use crate::start::WANTED_IMAGE;
use crate::start::mounts::termination_log;

const TERMINATION_MESSAGE_MAX: usize = 4096;
const FALLBACK_LOG_MAX: usize = 2048;
const FALLBACK_LOG_LINES: usize = 80;

impl PodWorker {
    /// What an earlier agent left of this pod. Its sandbox keeps its addresses.
    pub(super) async fn take_up(&mut self) {
        let exists = self.context.runtime.status(uid(&self.pod)).await;
        self.observed.sandbox_exists = matches!(exists, Ok(Some(_)));
        if self.observed.sandbox_exists {
            let written = self.pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
            self.observed.ips = written.filter_map(|address| address.ip.parse().ok()).collect();
            self.publish_place();
        }
    }

    /// Reads the runtime's records.
    pub(super) async fn refresh(&mut self) {
        let status = match self.context.runtime.status(uid(&self.pod)).await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(pod = uid(&self.pod), %error, "runtime records are not readable");
                return;
            }
        };
        self.observed.sandbox_exists |= status.is_some();
        let containers = status.map(|status| status.containers).unwrap_or_default();
        self.end_vanished(&containers);
        let mut instances: BTreeMap<String, Vec<ContainerStatus>> = BTreeMap::new();
        for container in containers {
            instances.entry(container.config.name.clone()).or_default().push(container);
        }
        for (name, mut list) in instances {
            list.sort_by_key(|container| (container.config.attempt, container.created_at));
            self.refresh_container(&name, list);
        }
        self.forget_old_instances();
    }

    /// An instance without a record has ended as well, with a reason, though nobody saw it.
    fn end_vanished(&mut self, found: &[ContainerStatus]) {
        for seen in self.observed.containers.values_mut() {
            let Some(current) = &mut seen.current else { continue };
            let ended = current.state.exit().is_some();
            if ended || found.iter().any(|container| container.config.id == current.id) {
                continue;
            }
            current.state = ContainerState::Exited(vanished(&current.state, self.context.clock.now()));
            (seen.ready, seen.unhealthy) = (false, None);
            if let Some(attended) = self.instances.get(&current.id) {
                attended.end();
            }
        }
    }

    fn refresh_container(&mut self, name: &str, mut list: Vec<ContainerStatus>) {
        let Some(current) = list.pop().map(|status| self.instance(status)) else { return };
        let previous = list.pop().map(|status| self.instance(status));
        let pod = Arc::clone(&self.pod);
        let Some((_, container)) = find_container(&pod, name) else { return };
        let (id, state) = (current.id.clone(), current.state.clone());
        let seen = self.observation(name);
        if seen.current.as_ref().is_none_or(|known| known.id != id) {
            begin(seen, &pod, &container, &current);
        }
        seen.restarts = i32::try_from(current.attempt).unwrap_or(i32::MAX);
        (seen.current, seen.previous) = (Some(current), previous);
        if let Some(exit) = state.exit() {
            (seen.ready, seen.unhealthy) = (false, None);
            let unseen = exit.reason == ExitReason::Unknown;
            let attended = self.attended(&id);
            attended.end();
            if unseen && !std::mem::replace(&mut attended.lost, true) {
                self.sandbox_is_lost();
            }
        } else if state.is_running() && self.observed.sandbox_ready {
            // Before that, the address to probe is not known.
            self.probe(&container, &id);
        }
    }

    fn instance(&mut self, status: ContainerStatus) -> Instance {
        let config = &status.config;
        let message = match status.state.exit() {
            Some(exit) => self.termination_message(config, exit.code),
            None => String::new(),
        };
        Instance {
            id: config.id.clone(),
            image: config.image.clone(),
            image_ref: config.image_ref.clone(),
            wanted_image: config.annotations.get(WANTED_IMAGE).cloned().unwrap_or_default(),
            attempt: config.attempt,
            state: status.state.clone(),
            message,
        }
    }

    /// The container's last words; its last log lines only after a failure, and only if it wants that.
    fn termination_message(&mut self, config: &container::ContainerConfig, code: i32) -> String {
        if let Some(known) = &self.attended(&config.id).message {
            return known.clone();
        }
        let path = termination_log(&self.context.pod_dir(uid(&self.pod)), &config.name, config.attempt);
        let own = std::fs::read(path).unwrap_or_default();
        let mut message = String::from_utf8_lossy(&own[..own.len().min(TERMINATION_MESSAGE_MAX)]).into_owned();
        let falls_back = find_container(&self.pod, &config.name).is_some_and(|(_, container)| {
            container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
        });
        if message.is_empty() && code != 0 && falls_back {
            message = crate::server::logs::tail_text(&config.log.path, FALLBACK_LOG_LINES, FALLBACK_LOG_MAX);
        }
        self.attended(&config.id).message = Some(message.clone());
        message
    }
}

fn vanished(state: &ContainerState, now: Timestamp) -> Exit {
    let started_at = match state {
        ContainerState::Running { started_at, .. } => Some(*started_at),
        _ => None,
    };
    Exit {
        code: 137,
        signal: None,
        reason: ExitReason::Unknown,
        message: "The container could not be located when the pod was looked at".to_owned(),
        started_at,
        finished_at: now,
    }
}

/// A new instance. Of one that an earlier agent knew, its probes go on from what they said.
fn begin(seen: &mut Observation, pod: &Pod, container: &Container, instance: &Instance) {
    let known = written_status(pod, &container.name).filter(|status| is_of(status, instance));
    seen.started = container.startup_probe.is_none() || known.is_some_and(|status| status.started == Some(true));
    seen.ready = container.readiness_probe.is_none() || known.is_some_and(|status| status.ready);
    (seen.unhealthy, seen.replaced) = (None, false);
}
