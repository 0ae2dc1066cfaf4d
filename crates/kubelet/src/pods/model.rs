//! A pod as its worker sees it: the specification read, and what was observed of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::corev1::{Container, Pod, PodSpec};
use container::ContainerState;
use jiff::Timestamp;

use super::backoff::CrashBackoff;

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one begins.
    Init,
    /// An init container that goes on beside the main ones.
    Sidecar,
    Main,
    /// Beside them, for somebody who looks into the pod.
    Ephemeral,
}

/// The containers that make up the pod, in the order of their start.
pub fn containers(pod: &Pod) -> Vec<(Role, &Container)> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let inits = spec.init_containers.iter().flatten().map(|container| (init_role(container), container));
    inits.chain(spec.containers.iter().map(|container| (Role::Main, container))).collect()
}

fn init_role(container: &Container) -> Role {
    match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> RestartPolicy {
        match text {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }

    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// The policy that holds for one container.
pub fn restart_policy(pod: &Pod, role: Role, container: &Container) -> RestartPolicy {
    let of_pod = RestartPolicy::parse(spec(pod).restart_policy.as_deref());
    match (role, container.restart_policy.as_deref()) {
        (Role::Sidecar, _) => RestartPolicy::Always,
        (Role::Ephemeral, _) => RestartPolicy::Never,
        (_, Some(own)) => RestartPolicy::parse(Some(own)),
        // An init container that has succeeded is done.
        (Role::Init, None) if of_pod == RestartPolicy::Always => RestartPolicy::OnFailure,
        (_, None) => of_pod,
    }
}

/// The API server admits no pod without a specification.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
    pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
}

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// What is known of a pod besides its specification.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The sandbox is made and attached to the network.
    pub sandbox_ready: bool,
    pub sandbox_busy: bool,
    /// There is a sandbox, ready or not.
    pub sandbox_exists: bool,
    /// Why the sandbox could not be made, and when to try again.
    pub sandbox_retry_at: Option<Timestamp>,
    /// When to try again to take down what could not be.
    pub tear_down_retry_at: Option<Timestamp>,
    pub ips: Vec<IpAddr>,
    pub host_ips: Vec<IpAddr>,
    pub volumes_ready: bool,
    pub volumes_retry_at: Option<Timestamp>,
    pub containers: BTreeMap<String, Observation>,
    /// The node does not take this pod, or ends it: reason and message.
    pub failed: Option<Failure>,
    /// The pod is gone from the API, or this is asked to end.
    pub ending: bool,
    /// The last status with all containers ended has reached the API.
    pub final_status_written: bool,
    pub first_seen: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    pub message: String,
}

/// What is known of one container.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// The newest instance and the one before it.
    pub current: Option<Instance>,
    pub previous: Option<Instance>,
    pub busy: Option<Busy>,
    /// Why the last start did not succeed.
    pub waiting: Option<Waiting>,
    /// Not before this.
    pub retry_at: Option<Timestamp>,
    pub backoff: CrashBackoff,
    pub restarts: i32,
    /// By the startup probe, or at once without one. Of the current instance.
    pub started: bool,
    pub ready: bool,
    /// The current instance must be replaced: the message of the event.
    pub unhealthy: Option<String>,
    /// It was stopped for another image, and starts again whatever its policy says.
    pub replaced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Busy {
    Starting,
    Stopping,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub id: String,
    pub image: String,
    pub image_ref: String,
    /// As the pod named it then; empty of what an earlier version started.
    pub wanted_image: String,
    pub attempt: u32,
    pub state: ContainerState,
    /// What the container left as its termination message.
    pub message: String,
}

impl Observation {
    pub fn is_running(&self) -> bool {
        self.current.as_ref().is_some_and(|instance| instance.state.is_running())
    }

    pub fn exit(&self) -> Option<&container::Exit> {
        self.current.as_ref()?.state.exit()
    }

    /// It runs with another image than the pod names by now.
    pub fn is_outdated(&self, container: &Container) -> bool {
        let wanted = self.current.as_ref().map(|current| current.wanted_image.as_str()).unwrap_or_default();
        self.is_running() && !wanted.is_empty() && container.image.as_deref().is_some_and(|image| image != wanted)
    }

    /// Nothing of it runs or is about to.
    pub fn is_quiet(&self) -> bool {
        self.busy.is_none() && !self.current.as_ref().is_some_and(|c| !matches!(c.state, ContainerState::Exited(_)))
    }
}

impl Observed {
    pub fn container(&self, name: &str) -> &Observation {
        static NONE: std::sync::OnceLock<Observation> = std::sync::OnceLock::new();
        self.containers.get(name).unwrap_or_else(|| NONE.get_or_init(Observation::default))
    }
}
