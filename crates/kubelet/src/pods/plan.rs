//! What to do about a pod next. Pure: a specification and an observation in, actions out.

use api::corev1::{Container, Pod};
use jiff::{SignedDuration, Timestamp};

use super::ephemeral::{ephemeral_containers, ran_before};
use super::model::{Observation, Observed, RestartPolicy, Role, containers, is_terminal, restart_policy, spec};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put the files of the volumes in place.
    MountVolumes,
    /// Make the namespaces and attach them to the network.
    CreateSandbox,
    StartContainer {
        name: String,
    },
    /// preStop, signal, grace, kill.
    StopContainer {
        name: String,
        reason: StopReason,
    },
    /// Drop instances older than the last two.
    RemoveOldInstances {
        name: String,
    },
    /// The pod is over: detach the network, remove sandbox and volumes.
    TearDown,
    /// Nothing is left of it here: let the API forget it.
    Delete,
    /// It ran longer than it may.
    ExceedDeadline,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The pod ends.
    Ending,
    /// A probe says so: the text for the event.
    Unhealthy(String),
    /// The pod names another image now.
    Outdated,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Look again then, although nothing happened.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

pub fn plan_pod(pod: &Pod, observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if must_end(pod, observed) {
        plan_end(pod, observed, now, &mut plan);
    } else if is_complete(pod, observed) {
        plan_completion(pod, observed, now, &mut plan);
    } else {
        plan_deadline(pod, observed, now, &mut plan);
        plan_run(pod, observed, now, &mut plan);
    }
    plan
}

/// Deleted, rejected, evicted or too old; or over already when this agent first saw it.
fn must_end(pod: &Pod, observed: &Observed) -> bool {
    pod.metadata.deletion_timestamp.is_some() || observed.ending || observed.failed.is_some() || is_terminal(pod)
}

/// Main containers first and together, then the sidecars, last started first.
fn plan_end(pod: &Pod, observed: &Observed, now: Timestamp, plan: &mut Plan) {
    if !stop_all(pod, observed, plan) {
        return;
    }
    let deleted = pod.metadata.deletion_timestamp.is_some();
    if observed.sandbox_busy || !(observed.final_status_written || observed.ending) {
        return;
    }
    if observed.sandbox_exists || observed.volumes_ready {
        plan_tear_down(observed, now, plan);
    } else if deleted && !observed.ending {
        plan.act(Action::Delete);
    }
}

/// True when nothing runs any more.
fn stop_all(pod: &Pod, observed: &Observed, plan: &mut Plan) -> bool {
    let all = containers(pod);
    let (sidecars, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(role, _)| *role == Role::Sidecar);
    let mut quiet = true;
    for (_, container) in others {
        quiet &= stop(observed, &container.name, plan);
    }
    for container in ephemeral_containers(pod) {
        quiet &= stop(observed, &container.name, plan);
    }
    for (_, container) in sidecars.into_iter().rev() {
        if quiet {
            quiet &= stop(observed, &container.name, plan);
        }
    }
    quiet
}

fn stop(observed: &Observed, name: &str, plan: &mut Plan) -> bool {
    let seen = observed.container(name);
    if seen.is_quiet() {
        return true;
    }
    if seen.busy.is_none() {
        plan.act(Action::StopContainer { name: name.to_owned(), reason: StopReason::Ending });
    }
    false
}

/// All main containers have ended for good, or an init container has failed for good.
pub fn is_complete(pod: &Pod, observed: &Observed) -> bool {
    let over = |role: Role, container: &Container| {
        let seen = observed.container(&container.name);
        let policy = restart_policy(pod, role, container);
        seen.busy.is_none() && !seen.replaced && seen.exit().is_some_and(|exit| !policy.restarts(exit.code))
    };
    let all = containers(pod);
    let failed_init = all.iter().any(|(role, container)| {
        let failed = observed.container(&container.name).exit().is_some_and(|exit| exit.code != 0);
        *role == Role::Init && failed && over(*role, container)
    });
    let mut mains = all.iter().filter(|(role, _)| *role == Role::Main);
    failed_init || mains.all(|(role, container)| over(*role, container))
}

fn plan_completion(pod: &Pod, observed: &Observed, now: Timestamp, plan: &mut Plan) {
    if stop_all(pod, observed, plan)
        && observed.final_status_written
        && !observed.sandbox_busy
        && observed.sandbox_exists
    {
        plan_tear_down(observed, now, plan);
    }
}

fn plan_tear_down(observed: &Observed, now: Timestamp, plan: &mut Plan) {
    if due(observed.tear_down_retry_at, now, plan) {
        plan.act(Action::TearDown);
    }
}

/// Whether it is time to try again; if not, the plan wakes then.
fn due(retry_at: Option<Timestamp>, now: Timestamp, plan: &mut Plan) -> bool {
    let later = retry_at.filter(|at| now < *at);
    later.into_iter().for_each(|at| plan.wake(at));
    later.is_none()
}

/// The API has forgotten the pod, and nothing is left of it here.
pub fn is_over(observed: &Observed) -> bool {
    let quiet = observed.containers.values().all(Observation::is_quiet);
    observed.ending && quiet && !observed.sandbox_busy && !observed.sandbox_exists && !observed.volumes_ready
}

fn plan_deadline(pod: &Pod, observed: &Observed, now: Timestamp, plan: &mut Plan) {
    let Some(seconds) = spec(pod).active_deadline_seconds else { return };
    let written = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    let Some(begin) = written.or(observed.first_seen) else { return };
    let end = begin + SignedDuration::from_secs(seconds);
    if now >= end { plan.act(Action::ExceedDeadline) } else { plan.wake(end) }
}

fn plan_run(pod: &Pod, observed: &Observed, now: Timestamp, plan: &mut Plan) {
    for (role, container) in containers(pod) {
        let seen = observed.container(&container.name);
        check_health(seen, &container.name, plan);
        if seen.busy.is_none() && seen.unhealthy.is_none() && role != Role::Init && seen.is_outdated(container) {
            plan.act(Action::StopContainer { name: container.name.clone(), reason: StopReason::Outdated });
        }
    }
    if !plan_ground(observed, now, plan) {
        return;
    }
    plan_ephemeral(pod, observed, now, plan);
    for (role, container) in containers(pod).into_iter().filter(|(role, _)| *role != Role::Main) {
        if initialized_main(pod, observed) {
            // The main containers run: only sidecars are kept going.
            if role == Role::Sidecar {
                plan_container(pod, role, container, observed, now, plan);
            }
            continue;
        }
        plan_container(pod, role, container, observed, now, plan);
        if !init_passed(role, observed.container(&container.name)) {
            return;
        }
    }
    for (role, container) in containers(pod).into_iter().filter(|(role, _)| *role == Role::Main) {
        plan_container(pod, role, container, observed, now, plan);
    }
}

/// Before all others: they are of use where those cannot start.
fn plan_ephemeral(pod: &Pod, observed: &Observed, now: Timestamp, plan: &mut Plan) {
    for container in ephemeral_containers(pod).filter(|container| !ran_before(pod, observed, &container.name)) {
        plan_container(pod, Role::Ephemeral, &container, observed, now, plan);
    }
}

fn check_health(seen: &Observation, name: &str, plan: &mut Plan) {
    if let Some(why) = &seen.unhealthy
        && seen.is_running()
        && seen.busy.is_none()
    {
        plan.act(Action::StopContainer { name: name.to_owned(), reason: StopReason::Unhealthy(why.clone()) });
    }
}

/// Volumes and sandbox. True when both are there.
fn plan_ground(observed: &Observed, now: Timestamp, plan: &mut Plan) -> bool {
    if !observed.volumes_ready {
        if !observed.sandbox_busy && due(observed.volumes_retry_at, now, plan) {
            plan.act(Action::MountVolumes);
        }
        return false;
    }
    if !observed.sandbox_ready && !observed.sandbox_busy && due(observed.sandbox_retry_at, now, plan) {
        plan.act(Action::CreateSandbox);
    }
    observed.sandbox_ready
}

/// A main container has been started already: the init containers are not run again.
fn initialized_main(pod: &Pod, observed: &Observed) -> bool {
    spec(pod).containers.iter().any(|container| observed.container(&container.name).current.is_some())
}

fn init_passed(role: Role, seen: &Observation) -> bool {
    match role {
        Role::Init => seen.exit().is_some_and(|exit| exit.code == 0),
        Role::Sidecar => seen.is_running() && seen.started,
        Role::Main | Role::Ephemeral => false,
    }
}

fn plan_container(pod: &Pod, role: Role, container: &Container, observed: &Observed, now: Timestamp, plan: &mut Plan) {
    let seen = observed.container(&container.name);
    if seen.busy.is_some() {
        return;
    }
    let policy = restart_policy(pod, role, container);
    match ready_to_start(seen, policy, now) {
        Start::No => {}
        Start::At(at) => plan.wake(at),
        Start::Now => plan.act(Action::StartContainer { name: container.name.clone() }),
    }
    if seen.current.as_ref().is_some_and(|current| current.attempt > 1) {
        plan.act(Action::RemoveOldInstances { name: container.name.clone() });
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    No,
    Now,
    At(Timestamp),
}

pub fn ready_to_start(seen: &Observation, policy: RestartPolicy, now: Timestamp) -> Start {
    if let Some(at) = seen.retry_at.filter(|at| now < *at) {
        return Start::At(at);
    }
    match &seen.current {
        None => Start::Now,
        Some(instance) => match &instance.state {
            container::ContainerState::Running { .. } => Start::No,
            // Made but never started: its agent died in between.
            container::ContainerState::Created => Start::Now,
            container::ContainerState::Exited(_) if seen.replaced => Start::Now,
            container::ContainerState::Exited(exit) if policy.restarts(exit.code) => {
                seen.backoff.waits_until(exit.finished_at, now).map_or(Start::Now, Start::At)
            }
            container::ContainerState::Exited(_) => Start::No,
        },
    }
}

#[cfg(test)]
mod tests;
