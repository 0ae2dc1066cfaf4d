//! One pod: what is heard of it, what is planned, and the jobs that do it. Start at [`PodWorker::run`].
//!
//! The loop never waits for a job: pulling an image or stopping a container happens in tasks of the pod's own set, whose
//! outcomes come back as notes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Container, Pod};
use container::{ContainerState, ContainerStatus, Exit, ExitReason, SandboxConfig};
use jiff::{SignedDuration, Timestamp};
use rt::TaskSet;
use tokio::sync::{Notify, mpsc, watch};

use super::model::{
    Busy, Failure, Instance, Observation, Observed, Role, containers, find_container, host_network, is_terminal, spec,
    uid,
};
use super::plan::{self, Action, StopReason, plan_pod};
use super::qos;
use super::status::{is_of, plan_status, written_status};
use super::stop::{Stop, stop};
use super::writer::{self, Intent, Written};
use crate::context::{Context, pod_reference};
use crate::network::{HostPort, PodRef};
use crate::probes::{self, Kind, Verdict};
use crate::start::{Place, StartFailure, files, mounts::termination_log, start_container};
use crate::volumes;

/// Outcomes of a pod's jobs that may wait: a few for each container.
const NOTES_MAX: usize = 64;
const RETRY: SignedDuration = SignedDuration::from_secs(2);
const DEFAULT_GRACE: i64 = 30;
const TERMINATION_MESSAGE_MAX: usize = 4096;
const FALLBACK_LOG_MAX: usize = 2048;
const FALLBACK_LOG_LINES: usize = 80;

/// The pod as the API has it now.
#[derive(Debug, Clone)]
pub struct Update {
    pub pod: Arc<Pod>,
    /// It is not there any more.
    pub gone: bool,
}

/// What a job found.
enum Outcome {
    Volumes(Result<(), String>),
    Sandbox(Result<Vec<IpAddr>, String>),
    Started { name: String, result: Result<(), StartFailure> },
    Stopped { name: String },
    TornDown(Result<(), String>),
}

/// Everything that can wake a worker.
enum Event {
    Update,
    Runtime,
    Outcome(Outcome),
    Verdict(Verdict),
    Written(Written),
    Time,
    Stop,
}

pub struct PodWorker {
    context: Arc<Context>,
    pod: Arc<Pod>,
    observed: Observed,
    updates: watch::Receiver<Update>,
    runtime_changed: Arc<Notify>,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    verdicts: (mpsc::Sender<Verdict>, mpsc::Receiver<Verdict>),
    written: (mpsc::Sender<Written>, mpsc::Receiver<Written>),
    intents: watch::Sender<Intent>,
    places: watch::Sender<Place>,
    deadline: watch::Sender<Timestamp>,
    grace: Option<i64>,
    ended: HashMap<String, watch::Sender<bool>>,
    /// The probes of a running instance.
    probed: HashMap<String, TaskSet>,
    /// Instances whose back-off was told.
    told: HashSet<String>,
    messages: HashMap<String, String>,
    wake_at: Option<Timestamp>,
    volume_tasks: Option<TaskSet>,
    tasks: TaskSet,
    torn_down: bool,
    /// Instances that were found without their monitor: the sandbox has to be made anew.
    lost: HashSet<String>,
}

impl PodWorker {
    pub fn new(
        context: Arc<Context>,
        updates: watch::Receiver<Update>,
        runtime_changed: Arc<Notify>,
        failed: Option<Failure>,
    ) -> PodWorker {
        let pod = Arc::clone(&updates.borrow().pod);
        let host_ips = vec![context.config.node_ip];
        let now = context.clock.now();
        let observed = Observed {
            failed,
            host_ips: host_ips.clone(),
            final_status_written: is_terminal(&pod),
            first_seen: Some(now),
            ..Observed::default()
        };
        let place = Place { pod: Arc::clone(&pod), ips: Vec::new(), host_ips };
        PodWorker {
            tasks: context.tasks.child(),
            context,
            pod,
            observed,
            updates,
            runtime_changed,
            outcomes: mpsc::channel(NOTES_MAX),
            verdicts: mpsc::channel(NOTES_MAX),
            written: mpsc::channel(NOTES_MAX),
            intents: watch::Sender::new(Intent::default()),
            places: watch::Sender::new(place),
            deadline: watch::Sender::new(now),
            grace: None,
            ended: HashMap::new(),
            probed: HashMap::new(),
            told: HashSet::new(),
            messages: HashMap::new(),
            wake_at: None,
            volume_tasks: None,
            torn_down: false,
            lost: HashSet::new(),
        }
    }

    /// Until the pod is gone from the API and from this node, or the kubelet stops.
    pub async fn run(mut self) {
        let write = writer::run(
            Arc::clone(&self.context),
            Arc::clone(&self.pod),
            self.intents.subscribe(),
            self.written.0.clone(),
        );
        self.tasks.spawn_until_cancelled("pod status writer", write);
        self.take_up().await;
        loop {
            self.refresh().await;
            self.sync();
            if self.is_over() {
                break;
            }
            match self.next().await {
                Event::Stop => return,
                event => self.take(event),
            }
        }
        self.tasks.cancel();
        self.context.tokens.forget(uid(&self.pod));
        let logs = self.context.log_dir(&self.pod);
        if let Err(error) = tokio::fs::remove_dir_all(&logs).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(pod = uid(&self.pod), %error, "pod logs were not removed");
        }
    }

    fn is_over(&self) -> bool {
        self.observed.ending && self.torn_down
    }

    async fn next(&mut self) -> Event {
        let now = self.context.clock.now();
        let pause = self.wake_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO));
        let timer = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = async { self.context.tasks.token().cancelled().await } => Event::Stop,
            changed = self.updates.changed() => if changed.is_ok() { Event::Update } else { Event::Stop },
            Some(outcome) = self.outcomes.1.recv() => Event::Outcome(outcome),
            Some(verdict) = self.verdicts.1.recv() => Event::Verdict(verdict),
            Some(written) = self.written.1.recv() => Event::Written(written),
            () = self.runtime_changed.notified() => Event::Runtime,
            () = timer => Event::Time,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Update => self.take_update(),
            Event::Outcome(outcome) => self.take_outcome(outcome),
            Event::Verdict(verdict) => self.take_verdict(&verdict),
            Event::Written(Written::Final) => self.observed.final_status_written = true,
            Event::Written(Written::Gone) => self.observed.ending = true,
            Event::Runtime | Event::Time | Event::Stop => {}
        }
    }

    fn take_update(&mut self) {
        let update = self.updates.borrow_and_update().clone();
        self.observed.ending |= update.gone;
        if !update.gone {
            self.pod = update.pod;
        }
        if let (Some(_), Some(grace)) = (self.grace, self.pod.metadata.deletion_grace_period_seconds) {
            self.shorten_deadline(grace, self.context.clock.now());
        }
        self.publish_place();
    }

    fn publish_place(&self) {
        let place = Place {
            pod: Arc::clone(&self.pod),
            ips: self.observed.ips.clone(),
            host_ips: self.observed.host_ips.clone(),
        };
        self.places.send_replace(place);
    }

    fn observation(&mut self, name: &str) -> &mut Observation {
        self.observed.containers.entry(name.to_owned()).or_default()
    }

    fn take_outcome(&mut self, outcome: Outcome) {
        let now = self.context.clock.now();
        match outcome {
            Outcome::Volumes(result) => self.volumes_done(result, now),
            Outcome::Sandbox(result) => self.sandbox_done(result, now),
            Outcome::Started { name, result } => self.start_done(&name, result, now),
            Outcome::Stopped { name } => {
                let seen = self.observation(&name);
                (seen.busy, seen.unhealthy) = (None, None);
            }
            Outcome::TornDown(result) => self.tear_down_done(result),
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
                self.lost.insert(name.to_owned());
                self.observed.sandbox_ready = false;
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

    fn tear_down_done(&mut self, result: Result<(), String>) {
        self.observed.sandbox_busy = false;
        match result {
            Ok(()) => {
                self.torn_down = true;
                self.observed.sandbox_exists = false;
                self.observed.sandbox_ready = false;
                self.observed.volumes_ready = false;
            }
            Err(error) => {
                tracing::error!(pod = uid(&self.pod), error, "pod was not torn down");
                self.wake_at = Some(self.context.clock.now() + RETRY);
            }
        }
    }

    fn take_verdict(&mut self, verdict: &Verdict) {
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

    /// What an earlier agent left of this pod. Its sandbox keeps its addresses.
    async fn take_up(&mut self) {
        let exists = self.context.runtime.status(uid(&self.pod)).await;
        self.observed.sandbox_exists = matches!(exists, Ok(Some(_)));
        if self.observed.sandbox_exists {
            let written = self.pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
            self.observed.ips = written.filter_map(|address| address.ip.parse().ok()).collect();
            self.publish_place();
        }
    }

    /// Reads the runtime's records.
    async fn refresh(&mut self) {
        let status = match self.context.runtime.status(uid(&self.pod)).await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(pod = uid(&self.pod), %error, "runtime records are not readable");
                return;
            }
        };
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
    }

    /// An instance without a record has ended as well, with a reason, though nobody saw it.
    fn end_vanished(&mut self, found: &[ContainerStatus]) {
        for seen in self.observed.containers.values_mut() {
            let Some(current) = &mut seen.current else { continue };
            let ended = current.state.exit().is_some();
            if ended || found.iter().any(|container| container.config.id == current.id) {
                continue;
            }
            let started_at = match current.state {
                ContainerState::Running { started_at, .. } => Some(started_at),
                _ => None,
            };
            current.state = ContainerState::Exited(Exit {
                code: 137,
                signal: None,
                reason: ExitReason::Unknown,
                message: "The container could not be located when the pod was looked at".to_owned(),
                started_at,
                finished_at: self.context.clock.now(),
            });
            (seen.ready, seen.unhealthy) = (false, None);
            if let Some(sender) = self.ended.get(&current.id) {
                sender.send_replace(true);
            }
            self.probed.remove(&current.id).into_iter().for_each(|tasks| tasks.cancel());
        }
    }

    fn refresh_container(&mut self, name: &str, mut list: Vec<ContainerStatus>) {
        let Some(current) = list.pop().map(|status| self.instance(status)) else { return };
        let previous = list.pop().map(|status| self.instance(status));
        let pod = Arc::clone(&self.pod);
        let Some((_, container)) = find_container(&pod, name) else { return };
        let seen = self.observed.containers.entry(name.to_owned()).or_default();
        let fresh = seen.current.as_ref().is_none_or(|known| known.id != current.id);
        if fresh {
            // Of an instance that an earlier agent knew, its probes go on from what they said.
            let known = written_status(&pod, name).filter(|status| is_of(status, &current));
            seen.started =
                container.startup_probe.is_none() || known.is_some_and(|status| status.started == Some(true));
            seen.ready = container.readiness_probe.is_none() || known.is_some_and(|status| status.ready);
            seen.unhealthy = None;
        }
        seen.restarts = i32::try_from(current.attempt).unwrap_or(i32::MAX);
        let running = current.state.is_running();
        let ended = current.state.exit().is_some();
        let unseen = current.state.exit().is_some_and(|exit| exit.reason == ExitReason::Unknown);
        let id = current.id.clone();
        (seen.current, seen.previous) = (Some(current), previous);
        if unseen && self.lost.insert(id.clone()) {
            self.observed.sandbox_ready = false;
        }
        if ended {
            seen.ready = false;
            seen.unhealthy = None;
            if let Some(sender) = self.ended.get(&id) {
                sender.send_replace(true);
            }
            self.probed.remove(&id).into_iter().for_each(|tasks| tasks.cancel());
        } else if running && self.observed.sandbox_ready {
            // Before that, the address to probe is not known.
            self.probe(container, &id);
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
            attempt: config.attempt,
            state: status.state.clone(),
            message,
        }
    }

    /// The container's last words; its last log lines only after a failure, and only if it wants that.
    fn termination_message(&mut self, config: &container::ContainerConfig, code: i32) -> String {
        if let Some(known) = self.messages.get(&config.id) {
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
        self.messages.insert(config.id.clone(), message.clone());
        message
    }

    /// Probes of a running instance: those that may run now and do not yet.
    fn probe(&mut self, container: &Container, id: &str) {
        let started = self.observed.container(&container.name).started;
        let kinds: &[Kind] = if started { &[Kind::Liveness, Kind::Readiness] } else { &[Kind::Startup] };
        let key = format!("{id}/{started}");
        if self.probed.contains_key(&key) || self.observed.container(&container.name).busy == Some(Busy::Stopping) {
            return;
        }
        let tasks = self.probed.entry(id.to_owned()).or_insert_with(|| self.tasks.child()).clone();
        self.probed.insert(key, tasks.clone());
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

    /// One pass: plan, act, tell.
    fn sync(&mut self) {
        let now = self.context.clock.now();
        let plan = plan_pod(&self.pod, &self.observed, now);
        self.wake_at = plan.wake_at;
        self.tell_backoffs(now);
        let mut delete = false;
        for action in plan.actions {
            match action {
                Action::Delete => delete = true,
                action => self.apply(action, now),
            }
        }
        self.write_status(delete, now);
    }

    fn write_status(&self, delete: bool, now: Timestamp) {
        if self.observed.ending {
            return;
        }
        let all = containers(&self.pod);
        let quiet = all.iter().all(|(_, container)| self.observed.container(&container.name).is_quiet());
        let over = self.pod.metadata.deletion_timestamp.is_some()
            || self.observed.failed.is_some()
            || plan::is_complete(&self.pod, &self.observed);
        let is_final = quiet && over && !self.observed.sandbox_busy;
        let status = (!self.observed.final_status_written).then(|| plan_status(&self.pod, &self.observed, now));
        self.intents.send_if_modified(|intent| {
            let fresh = status.is_some() && (status != intent.status || is_final != intent.is_final);
            if fresh {
                (intent.status, intent.is_final) = (status, is_final);
            }
            let begins = delete && !intent.delete;
            intent.delete |= delete;
            fresh || begins
        });
    }

    /// One event for each instance that has to wait for its restart.
    fn tell_backoffs(&mut self, now: Timestamp) {
        let metadata = &self.pod.metadata;
        for (_, container) in containers(&self.pod) {
            let seen = self.observed.container(&container.name);
            let (Some(current), Some(exit)) = (&seen.current, seen.exit()) else { continue };
            if seen.backoff.waits_until(exit.finished_at, now).is_none() || !self.told.insert(current.id.clone()) {
                continue;
            }
            let text = format!(
                "Back-off restarting failed container {} in pod {}_{}({})",
                container.name,
                metadata.name.as_deref().unwrap_or_default(),
                metadata.namespace.as_deref().unwrap_or_default(),
                uid(&self.pod),
            );
            self.context.recorder.warning(&pod_reference(&self.pod, Some(&container.name)), "BackOff", text);
        }
    }

    fn apply(&mut self, action: Action, now: Timestamp) {
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
        let anew = !self.lost.is_empty();
        self.spawn("make the sandbox", async move { Outcome::Sandbox(make_sandbox(&context, &pod, anew).await) });
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
                remove_instance(&context, uid(&place.pod), &id).await;
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
        };
        let Some(id) = self.observed.container(name).current.as_ref().map(|current| current.id.clone()) else { return };
        let (ended, receiver) = watch::channel(false);
        self.ended.insert(id.clone(), ended);
        self.probed.remove(&id).into_iter().for_each(|tasks| tasks.cancel());
        let deadline = match reason {
            StopReason::Ending => self.ending_deadline(grace, now),
            StopReason::Unhealthy(_) => watch::Sender::new(now + SignedDuration::from_secs(grace)).subscribe(),
        };
        self.observation(name).busy = Some(Busy::Stopping);
        let (context, place, name) = (Arc::clone(&self.context), self.places.borrow().clone(), name.to_owned());
        self.spawn("stop a container", async move {
            if let Some(config) = config_of(&context, uid(&place.pod), &id).await {
                stop(Arc::clone(&context), Stop { place, config, deadline, ended: receiver, message }).await;
            }
            Outcome::Stopped { name }
        });
    }

    fn grace_of(&self, name: &str, reason: &StopReason) -> i64 {
        let of_pod = spec(&self.pod).termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        match reason {
            StopReason::Ending => self.pod.metadata.deletion_grace_period_seconds.unwrap_or(of_pod),
            StopReason::Unhealthy(_) => {
                let probe = find_container(&self.pod, name).and_then(|(_, container)| container.liveness_probe.clone());
                probe.and_then(|probe| probe.termination_grace_period_seconds).unwrap_or(of_pod)
            }
        }
    }

    /// One deadline for all containers of an ending pod; asking again with less time moves it earlier.
    fn ending_deadline(&mut self, grace: i64, now: Timestamp) -> watch::Receiver<Timestamp> {
        self.shorten_deadline(grace, now);
        self.deadline.subscribe()
    }

    fn shorten_deadline(&mut self, grace: i64, now: Timestamp) {
        let end = now + SignedDuration::from_secs(grace.max(0));
        match self.grace {
            None => drop(self.deadline.send_replace(end)),
            Some(known) if grace < known => {
                self.deadline.send_modify(|deadline| *deadline = end.min(*deadline));
            }
            Some(_) => return,
        }
        self.grace = Some(grace);
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
                remove_instance(&context, &pod_uid, &old.config.id).await;
                let _ = std::fs::remove_file(&old.config.log.path);
            }
        });
    }

    fn apply_tear_down(&mut self) {
        self.observed.sandbox_busy = true;
        self.volume_tasks.take().into_iter().for_each(|tasks| tasks.cancel());
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(&self.pod));
        self.spawn("tear down", async move { Outcome::TornDown(tear_down(&context, &pod).await) });
    }
}

fn pod_ref(pod: &Pod) -> PodRef {
    let metadata = &pod.metadata;
    PodRef {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: uid(pod).to_owned(),
    }
}

async fn config_of(context: &Context, uid: &str, id: &str) -> Option<container::ContainerConfig> {
    let status = context.runtime.status(uid).await.ok()??;
    status.containers.into_iter().map(|container| container.config).find(|config| config.id == id)
}

async fn remove_instance(context: &Context, uid: &str, id: &str) {
    if let Err(error) = context.runtime.remove_container(uid, id).await {
        tracing::warn!(pod = uid, container = id, %error, "container was not removed");
        return;
    }
    if let Err(error) = context.images.remove_snapshot(id).await {
        tracing::warn!(pod = uid, container = id, %error, "snapshot was not removed");
    }
}

/// `anew`: an earlier sandbox of this pod was lost, and its network has to be let go of first.
async fn make_sandbox(context: &Context, pod: &Pod, anew: bool) -> Result<Vec<IpAddr>, String> {
    if anew && !host_network(pod) {
        context.network.detach(&pod_ref(pod), None).await.map_err(|error| error.to_string())?;
    }
    let spec = spec(pod);
    let sysctls = spec.security_context.as_ref().and_then(|context| context.sysctls.clone()).unwrap_or_default();
    let config = SandboxConfig {
        uid: uid(pod).to_owned(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        hostname: files::hostname(pod, &context.config.node_name),
        host_network: host_network(pod),
        host_ipc: spec.host_ipc.unwrap_or(false),
        host_pid: spec.host_pid.unwrap_or(false),
        share_process_namespace: spec.share_process_namespace.unwrap_or(false),
        sysctls: sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
        cgroup: qos::cgroup(&context.config.cgroup_root, pod),
        resources: qos::pod_resources(pod),
        ..SandboxConfig::default()
    };
    let sandbox = context.runtime.create_sandbox(&config).await.map_err(|error| error.full_text())?;
    let Some(netns) = &sandbox.netns else { return Ok(vec![context.config.node_ip]) };
    let attached = context.network.attach(&pod_ref(pod), netns, &host_ports(pod)).await;
    let addresses = attached.map_err(|error| format!("failed to set up the network of the pod: {error}"))?;
    Ok(addresses.ips)
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let all = containers(pod).into_iter().filter(|(role, _)| *role != Role::Init);
    let ports = all.flat_map(|(_, container)| container.ports.iter().flatten());
    let port = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    ports
        .filter_map(|mapping| {
            Some(HostPort {
                protocol: mapping.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                host_ip: mapping.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: port(mapping.host_port?)?,
                container_port: port(mapping.container_port)?,
            })
        })
        .collect()
}

/// Network, sandbox, snapshots, volumes. Each step is idempotent, so that a failed one is tried again with all others.
pub async fn tear_down(context: &Context, pod: &Pod) -> Result<(), String> {
    let pod_uid = uid(pod);
    let status = context.runtime.status(pod_uid).await.map_err(|error| error.full_text())?;
    let netns = status.as_ref().and_then(|status| status.netns.clone());
    if status.as_ref().is_some_and(|status| !status.config.host_network) {
        context.network.detach(&pod_ref(pod), netns.as_deref()).await.map_err(|error| error.to_string())?;
    }
    let ids: Vec<String> =
        status.into_iter().flat_map(|status| status.containers).map(|container| container.config.id).collect();
    context.runtime.remove_sandbox(pod_uid).await.map_err(|error| error.full_text())?;
    for id in ids {
        context.images.remove_snapshot(&id).await.map_err(|error| error.to_string())?;
    }
    let dir = context.pod_dir(pod_uid);
    let unmounted = tokio::task::spawn_blocking(move || volumes::unmount_all(&dir)).await;
    unmounted.expect("unmounting does not panic").map_err(|error| format!("remove the pod's volumes: {error}"))
}
