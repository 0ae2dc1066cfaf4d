//! One pod: what is heard of it, what is planned, and the jobs that do it. Start at [`PodWorker::run`].
//!
//! The loop never waits for a job: pulling an image or stopping a container happens in tasks of the pod's own set, whose
//! outcomes come back as notes.

mod apply;
mod deadline;
mod instances;
mod outcome;
mod refresh;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::Pod;
use jiff::Timestamp;
use rt::TaskSet;
use tokio::sync::{Notify, mpsc, watch};

use super::ephemeral::ephemeral_containers;
use super::model::{Failure, Observation, Observed, containers, is_terminal, uid};
use super::plan::{self, Action, plan_pod};
use super::sandbox;
use super::status::plan_status;
use super::writer::{self, Intent, Written};
use crate::context::Context;
use crate::probes::Verdict;
use crate::start::Place;
use deadline::Deadline;
use instances::Instances;
use outcome::Outcome;

/// Outcomes of a pod's jobs that may wait: a few for each container.
const NOTES_MAX: usize = 64;

/// The pod as the API has it now.
#[derive(Debug, Clone)]
pub struct Update {
    pub pod: Arc<Pod>,
    /// It is not there any more.
    pub gone: bool,
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
    deadline: Deadline,
    instances: Instances,
    wake_at: Option<Timestamp>,
    volume_tasks: Option<TaskSet>,
    tasks: TaskSet,
    /// A sandbox was found without its monitor: another one has to be made.
    sandbox_lost: bool,
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
            deadline: Deadline::new(now),
            instances: HashMap::new(),
            wake_at: None,
            volume_tasks: None,
            sandbox_lost: false,
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
            if plan::is_over(&self.observed) {
                break;
            }
            match self.next().await {
                Event::Stop => return,
                event => self.take(event),
            }
        }
        self.tasks.cancel();
        self.forget().await;
    }

    /// Nothing of the pod stays on this node.
    async fn forget(&self) {
        self.context.tokens.forget(uid(&self.pod));
        // Of a pod that never got its sandbox, volumes may be there in part.
        if let Err(error) = sandbox::remove_volumes(&self.context, uid(&self.pod)).await {
            tracing::warn!(pod = uid(&self.pod), error, "pod volumes were not removed");
        }
        let logs = self.context.log_dir(&self.pod);
        if let Err(error) = tokio::fs::remove_dir_all(&logs).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(pod = uid(&self.pod), %error, "pod logs were not removed");
        }
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
        if let Some(grace) = self.pod.metadata.deletion_grace_period_seconds {
            self.deadline.shorten(grace, self.context.clock.now());
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
        let quiet = all.iter().all(|(_, container)| self.observed.container(&container.name).is_quiet())
            && ephemeral_containers(&self.pod).all(|container| self.observed.container(&container.name).is_quiet());
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
}
