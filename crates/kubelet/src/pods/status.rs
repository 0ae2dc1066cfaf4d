//! What the API is told of a pod. Pure: a specification and an observation in, a status out.

use api::corev1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use api::metav1::Time;
use container::ContainerState;
use jiff::Timestamp;

use super::backoff::go_duration;
use super::ephemeral::{ephemeral_containers, ran_before};
use super::model::{Instance, Observation, Observed, Role, containers, host_network, restart_policy, spec, uid};
use super::{plan, qos};

pub const RUNTIME: &str = "coracle";

pub fn plan_status(pod: &Pod, observed: &Observed, now: Timestamp) -> PodStatus {
    let before = pod.status.clone().unwrap_or_default();
    let phase = phase(pod, observed);
    let of_role = |wanted: fn(Role) -> bool| {
        let list: Vec<ContainerStatus> = containers(pod)
            .into_iter()
            .filter(|(role, _)| wanted(*role))
            .map(|(role, container)| container_status(pod, role, container, observed, now))
            .collect();
        (!list.is_empty()).then_some(list)
    };
    let ephemeral = ephemeral_containers(pod).map(|one| container_status(pod, Role::Ephemeral, &one, observed, now));
    let ips = if host_network(pod) { &observed.host_ips } else { &observed.ips };
    let failure = observed.failed.as_ref();
    PodStatus {
        conditions: Some(conditions(pod, observed, phase, &before, now)),
        container_statuses: of_role(|role| role == Role::Main),
        init_container_statuses: of_role(|role| role != Role::Main),
        ephemeral_container_statuses: some_list(ephemeral.collect()),
        host_ip: observed.host_ips.first().map(ToString::to_string),
        host_ips: some_list(observed.host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect()),
        pod_ip: ips.first().map(ToString::to_string).or(before.pod_ip),
        pod_ips: some_list(ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()).or(before.pod_ips),
        phase: Some(phase.to_owned()),
        qos_class: Some(qos::class(pod).as_str().to_owned()),
        reason: failure.map(|failure| failure.reason.clone()).or(before.reason),
        message: failure.map(|failure| failure.message.clone()).or(before.message),
        start_time: before.start_time.or(observed.first_seen.map(whole_seconds)),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The API keeps whole seconds; comparing anything finer would write for ever.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).expect("a whole second of a valid time"))
}

fn phase(pod: &Pod, observed: &Observed) -> &'static str {
    if super::model::is_terminal(pod) {
        return if super::model::phase(pod) == "Succeeded" { "Succeeded" } else { "Failed" };
    }
    if observed.failed.is_some() {
        return "Failed";
    }
    let mains = &spec(pod).containers;
    let seen = || mains.iter().map(|container| observed.container(&container.name));
    let succeeded = seen().all(|seen| seen.exit().is_some_and(|exit| exit.code == 0));
    if pod.metadata.deletion_timestamp.is_some() && seen().all(|seen| seen.exit().is_some()) {
        return if succeeded { "Succeeded" } else { "Failed" };
    }
    if plan::is_complete(pod, observed) {
        return if succeeded { "Succeeded" } else { "Failed" };
    }
    let begun =
        seen().all(|seen| seen.current.as_ref().is_some_and(|current| current.state != ContainerState::Created));
    if begun { "Running" } else { "Pending" }
}

fn container_status(
    pod: &Pod,
    role: Role,
    container: &Container,
    observed: &Observed,
    now: Timestamp,
) -> ContainerStatus {
    let seen = observed.container(&container.name);
    let written = written_status(pod, &container.name);
    // After the sandbox is gone the API is the only memory.
    if let (None, Some(written)) = (&seen.current, written)
        && (super::model::is_terminal(pod)
            || observed.final_status_written
            || role == Role::Ephemeral && ran_before(pod, observed, &container.name))
    {
        return written.clone();
    }
    let instance = seen.current.as_ref().filter(|current| current.state != ContainerState::Created);
    let (state, last) = states(pod, role, container, observed, now);
    let running = seen.is_running();
    ContainerStatus {
        name: container.name.clone(),
        image: instance.map_or_else(|| container.image.clone().unwrap_or_default(), |instance| instance.image.clone()),
        image_id: instance.map(|instance| instance.image_ref.clone()).unwrap_or_default(),
        container_id: instance.map(container_id),
        restart_count: seen.restarts,
        ready: ready(role, seen),
        started: (role != Role::Ephemeral).then_some(running && seen.started),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

pub fn written_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let inits = status.init_container_statuses.iter().flatten();
    let ephemeral = status.ephemeral_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten()).chain(ephemeral).find(|status| status.name == name)
}

/// Whether a written status tells of this instance.
pub fn is_of(status: &ContainerStatus, instance: &Instance) -> bool {
    status.container_id.as_deref().is_some_and(|id| id == container_id(instance))
}

fn container_id(instance: &Instance) -> String {
    format!("{RUNTIME}://{}", instance.id)
}

fn ready(role: Role, seen: &Observation) -> bool {
    match role {
        Role::Init => seen.exit().is_some_and(|exit| exit.code == 0),
        Role::Ephemeral => false,
        Role::Sidecar | Role::Main => seen.is_running() && seen.started && seen.ready,
    }
}

/// The state and the last state.
fn states(
    pod: &Pod,
    role: Role,
    container: &Container,
    observed: &Observed,
    now: Timestamp,
) -> (ApiState, Option<ApiState>) {
    let seen = observed.container(&container.name);
    let previous = seen.previous.as_ref().and_then(terminated);
    match &seen.current {
        Some(Instance { state: ContainerState::Running { started_at, .. }, .. }) => (running(*started_at), previous),
        Some(instance) if instance.state != ContainerState::Created => {
            let ended = terminated(instance);
            match restart_waiting(pod, role, container, observed, now) {
                Some(waiting) => (waiting, ended),
                None => (ended.unwrap_or_default(), previous),
            }
        }
        _ => (first_waiting(pod, role, seen, observed), previous),
    }
}

fn running(started_at: Timestamp) -> ApiState {
    ApiState {
        running: Some(ContainerStateRunning { started_at: Some(whole_seconds(started_at)) }),
        ..ApiState::default()
    }
}

fn waiting(reason: &str, message: &str) -> ApiState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ApiState { waiting: Some(waiting), ..ApiState::default() }
}

fn first_waiting(pod: &Pod, role: Role, seen: &Observation, observed: &Observed) -> ApiState {
    if let Some(why) = &seen.waiting {
        return waiting(&why.reason, &why.message);
    }
    let has_inits = containers(pod).iter().any(|(role, _)| *role != Role::Main);
    let initialized = incomplete_inits(pod, observed).is_empty();
    match role {
        _ if has_inits && !initialized => waiting("PodInitializing", ""),
        _ => waiting("ContainerCreating", ""),
    }
}

/// An ended container that is to run again, but not yet.
fn restart_waiting(
    pod: &Pod,
    role: Role,
    container: &Container,
    observed: &Observed,
    now: Timestamp,
) -> Option<ApiState> {
    let seen = observed.container(&container.name);
    let exit = seen.exit()?;
    let ends = pod.metadata.deletion_timestamp.is_some() || observed.failed.is_some() || observed.ending;
    if ends || !restart_policy(pod, role, container).restarts(exit.code) || plan::is_complete(pod, observed) {
        return None;
    }
    if let Some(why) = &seen.waiting {
        return Some(waiting(&why.reason, &why.message));
    }
    seen.backoff.waits_until(exit.finished_at, now)?;
    Some(waiting("CrashLoopBackOff", &crash_message(pod, &container.name, seen, now)))
}

pub fn crash_message(pod: &Pod, container: &str, seen: &Observation, now: Timestamp) -> String {
    let metadata = &pod.metadata;
    format!(
        "back-off {} restarting failed container={container} pod={}_{}({})",
        go_duration(seen.backoff.pause_at(now)),
        metadata.name.as_deref().unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
        uid(pod),
    )
}

fn terminated(instance: &Instance) -> Option<ApiState> {
    let exit = instance.state.exit()?;
    let message = if instance.message.is_empty() { &exit.message } else { &instance.message };
    let terminated = ContainerStateTerminated {
        container_id: Some(container_id(instance)),
        exit_code: exit.code,
        signal: None,
        reason: Some(exit.reason.as_str().to_owned()),
        message: (!message.is_empty()).then(|| message.clone()),
        started_at: exit.started_at.map(whole_seconds),
        finished_at: Some(whole_seconds(exit.finished_at)),
    };
    Some(ApiState { terminated: Some(terminated), ..ApiState::default() })
}

struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes(kind: &'static str) -> Verdict {
        Verdict { kind, holds: true, reason: "", message: String::new() }
    }

    fn no(kind: &'static str, reason: &'static str, message: String) -> Verdict {
        Verdict { kind, holds: false, reason, message }
    }
}

/// The kubelet's own conditions; those of others are left alone.
fn conditions(pod: &Pod, observed: &Observed, phase: &str, before: &PodStatus, now: Timestamp) -> Vec<PodCondition> {
    let sandbox = Verdict {
        kind: "PodReadyToStartContainers",
        holds: observed.sandbox_ready,
        reason: "",
        message: String::new(),
    };
    let containers_ready = containers_ready(pod, observed, phase);
    let verdicts = [
        sandbox,
        initialized(pod, observed, phase),
        pod_ready(pod, &containers_ready),
        containers_ready,
        Verdict::yes("PodScheduled"),
    ];
    verdicts.into_iter().map(|verdict| condition(pod, verdict, before, now)).collect()
}

fn condition(pod: &Pod, verdict: Verdict, before: &PodStatus, now: Timestamp) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let known = before.conditions.iter().flatten().find(|known| known.type_ == verdict.kind);
    let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: (!verdict.reason.is_empty()).then(|| verdict.reason.to_owned()),
        message: (!verdict.message.is_empty()).then_some(verdict.message),
        last_transition_time: Some(since.unwrap_or_else(|| whole_seconds(now))),
        last_probe_time: None,
        observed_generation: pod.metadata.generation,
    }
}

fn incomplete_inits(pod: &Pod, observed: &Observed) -> Vec<String> {
    let begun = spec(pod).containers.iter().any(|container| observed.container(&container.name).current.is_some());
    let inits = containers(pod).into_iter().filter(|(role, _)| *role != Role::Main);
    let incomplete = inits.filter(|(role, container)| {
        let seen = observed.container(&container.name);
        let complete = match role {
            Role::Init => seen.exit().is_some_and(|exit| exit.code == 0) || (begun && seen.current.is_none()),
            _ => begun || (seen.is_running() && seen.started),
        };
        !complete
    });
    incomplete.map(|(_, container)| container.name.clone()).collect()
}

fn initialized(pod: &Pod, observed: &Observed, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { reason: "PodCompleted", ..Verdict::yes("Initialized") };
    }
    match incomplete_inits(pod, observed) {
        names if names.is_empty() => Verdict::yes("Initialized"),
        names => {
            let message = format!("containers with incomplete status: [{}]", names.join(" "));
            Verdict::no("Initialized", "ContainersNotInitialized", message)
        }
    }
}

fn containers_ready(pod: &Pod, observed: &Observed, phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("ContainersReady", "PodCompleted", String::new()),
        "Failed" => return Verdict::no("ContainersReady", "PodFailed", String::new()),
        _ => {}
    }
    let unready: Vec<&str> = containers(pod)
        .into_iter()
        .filter(|(role, container)| *role != Role::Init && !ready(*role, observed.container(&container.name)))
        .map(|(_, container)| container.name.as_str())
        .collect();
    if unready.is_empty() {
        return Verdict::yes("ContainersReady");
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::no("ContainersReady", "ContainersNotReady", message)
}

fn pod_ready(pod: &Pod, containers: &Verdict) -> Verdict {
    if !containers.holds {
        return Verdict::no("Ready", containers.reason, containers.message.clone());
    }
    let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let unmet: Vec<String> = spec(pod)
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match known.clone().find(|condition| condition.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
                Some(condition) if condition.status != "True" => {
                    Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {}", condition.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    if unmet.is_empty() {
        Verdict::yes("Ready")
    } else {
        Verdict::no("Ready", "ReadinessGatesNotReady", unmet.join(", "))
    }
}

/// Whether writing `new` would tell the API anything that the pod does not say already.
pub fn differs(pod: &Pod, new: &PodStatus) -> bool {
    let Some(old) = &pod.status else { return true };
    let own = |status: &PodStatus| {
        let mut status = status.clone();
        let known: Vec<&str> = new.conditions.iter().flatten().map(|condition| condition.type_.as_str()).collect();
        let mut conditions = status.conditions.take().unwrap_or_default();
        conditions.retain(|condition| known.contains(&condition.type_.as_str()));
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        for condition in &mut conditions {
            condition.last_probe_time = None;
        }
        status.conditions = Some(conditions);
        let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = &mut status;
        for list in [container_statuses, init_container_statuses, ephemeral_container_statuses] {
            for container in list.iter_mut().flatten() {
                container.last_state = Some(container.last_state.take().unwrap_or_default());
            }
        }
        status
    };
    own(old) != own(new)
}

#[cfg(test)]
mod tests;
