//! The scheduler without its I/O: events go in, steps come out.

use std::sync::Arc;

use api::corev1::{Node, Pod};
use client::Object;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rt::CancellationToken;
use tokio::time::Instant;

use crate::SCHEDULER_NAME;
use crate::cache::Cache;
use crate::cluster::Cluster;
use crate::event::ClusterEvent;
use crate::framework::cycle::{Cursor, Outcome, schedule};
use crate::framework::preemption::{Preemption, preempt};
use crate::framework::{Cycle, FitError, Plugins};
use crate::nominator::Nominator;
use crate::pod_info::PodInfo;
use crate::queue::{QueuedPod, SchedulingQueue};

const NO_NODES: &str = "no nodes available to schedule pods";
/// Upstream's plugin for dynamic resource allocation speaks first; here no pod has claims to give back.
const NO_CLAIMS: &str = "no new claims to deallocate";

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// The pod is assumed to be on the node: bind it, then tell [`Core::bound`] or [`Core::bind_failed`].
    Bind { pod: QueuedPod, node: String },
    /// The pod waits again: say why. The victims are to be deleted.
    Reject(Box<Rejected>),
    /// Nothing, until something happens or the time comes.
    Wait(Option<Instant>),
}

#[derive(Debug)]
pub struct Rejected {
    pub pod: QueuedPod,
    pub message: String,
    /// The node to be written as the nominated one. `None`: leave it as it is.
    pub nominate: Option<String>,
    pub victims: Vec<Arc<PodInfo>>,
    /// To be cancelled when the write has been answered.
    pub write: CancellationToken,
}

pub struct Core {
    pub cache: Cache,
    queue: SchedulingQueue,
    nominator: Nominator,
    cursor: Cursor,
    plugins: Plugins,
}

impl Core {
    pub fn new(plugins: Plugins, seed: u64) -> Self {
        Self {
            cache: Cache::default(),
            queue: SchedulingQueue::default(),
            nominator: Nominator::default(),
            cursor: Cursor { start: 0, random: StdRng::seed_from_u64(seed) },
            plugins,
        }
    }

    /// Tries the next pod.
    pub fn step(&mut self, cluster: &Cluster, now: Instant) -> Step {
        let Some(pod) = self.queue.pop(now) else { return Step::Wait(self.queue.next_deadline()) };
        let info = pod.info.clone();
        let cycle = Cycle { pod: &info, cache: &self.cache, cluster };
        match schedule(&cycle, &self.plugins, &self.nominator, &mut self.cursor) {
            Outcome::Fits(node) => {
                self.cache.assume(&info, &node);
                Step::Bind { pod, node }
            }
            Outcome::NoNodes => {
                self.reject(pod, FitError::default(), NO_NODES.into(), Some(String::new()), Vec::new(), now)
            }
            Outcome::Unfit(error) => self.post_filter(pod, *error, cluster, now),
        }
    }

    fn post_filter(&mut self, pod: QueuedPod, mut error: FitError, cluster: &Cluster, now: Instant) -> Step {
        let cycle = Cycle { pod: &pod.info, cache: &self.cache, cluster };
        let preemption = match pod.is_preempting() {
            true => Preemption::Wait("preemption: waiting for the preemption for this pod to be finished".into()),
            false => preempt(&cycle, &self.plugins, &error, &self.nominator, &mut self.cursor.random),
        };
        let (nominate, victims) = match preemption {
            Preemption::Nominate { node, victims } => (Some(node), victims),
            Preemption::Wait(why) => {
                error.post_filter = format!("{NO_CLAIMS}, {why}");
                (None, Vec::new())
            }
            Preemption::Impossible(why) => {
                error.post_filter = format!("{NO_CLAIMS}, {why}");
                (Some(String::new()), Vec::new())
            }
        };
        let message = error.to_string();
        self.reject(pod, error, message, nominate, victims, now)
    }

    fn reject(
        &mut self,
        pod: QueuedPod,
        error: FitError,
        message: String,
        nominate: Option<String>,
        victims: Vec<Arc<PodInfo>>,
        now: Instant,
    ) -> Step {
        if let Some(node) = &nominate {
            self.nominator.nominate(&pod.info, node);
        }
        let write = CancellationToken::new();
        let preempts = !victims.is_empty();
        let rejected = Rejected { pod: pod.clone(), message, nominate, victims, write: write.clone() };
        let uid = pod.info.uid.clone();
        self.queue.give_back_rejected(pod, error.plugins, now);
        self.queue.note_write(&uid, &write, preempts);
        Step::Reject(Box::new(rejected))
    }

    /// The API took the binding.
    pub fn bound(&mut self, uid: &str) {
        self.queue.remove(uid);
        self.nominator.remove(uid);
    }

    /// The pod is not on its node after all. It is tried again after a pause, unless it is `gone`.
    pub fn bind_failed(&mut self, pod: QueuedPod, gone: bool, now: Instant) {
        let info = pod.info.clone();
        let assumed = self.cache.forget(&info.uid).is_some();
        if gone {
            self.queue.remove(&info.uid);
        } else {
            self.queue.give_back_failed(pod, now);
        }
        if assumed {
            self.tell(&ClusterEvent::AssignedPodDeleted(&info), now);
        }
    }

    /// Tells the pods that wait what has happened.
    pub fn tell(&mut self, event: &ClusterEvent, now: Instant) {
        self.queue.on_event(event, now, &self.plugins);
    }

    pub fn node_changed(&mut self, old: Option<&Arc<Node>>, new: Option<&Arc<Node>>, now: Instant) {
        match (old, new) {
            (_, None) => {
                let Some(old) = old else { return };
                self.cache.remove_node(old.name());
                self.tell(&ClusterEvent::NodeDeleted(old), now);
            }
            (None, Some(new)) => {
                self.cache.put_node(new);
                self.tell(&ClusterEvent::NodeAdded(new), now);
            }
            (Some(old), Some(new)) => {
                let event = ClusterEvent::NodeUpdated { old, new };
                self.cache.put_node(new);
                self.tell(&event, now);
            }
        }
    }

    /// A pod of any kind has changed. Both states are of the same pod.
    pub fn pod_changed(&mut self, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>, now: Instant) {
        let was_assigned = old.is_some_and(|pod| is_assigned(pod));
        match new {
            Some(pod) if is_assigned(pod) => self.assigned(old.filter(|_| was_assigned), pod, now),
            _ if was_assigned => self.gone(old.expect("it was assigned"), now),
            Some(pod) if is_ours(pod) => {
                let info = Arc::new(PodInfo::new(pod));
                self.restore_nomination(&info);
                self.queue.update(info, now, &self.plugins);
            }
            _ => self.left_the_queue(old, now),
        }
    }

    fn assigned(&mut self, old: Option<&Arc<Pod>>, new: &Arc<Pod>, now: Instant) {
        let info = Arc::new(PodInfo::new(new));
        self.cache.put_pod(&info);
        self.queue.remove(&info.uid);
        self.nominator.remove(&info.uid);
        match old {
            Some(old) => {
                let old = PodInfo::new(old);
                self.tell(&ClusterEvent::AssignedPodUpdated { old: &old, new: &info }, now);
            }
            None => self.tell(&ClusterEvent::AssignedPodAdded(&info), now),
        }
    }

    fn gone(&mut self, old: &Arc<Pod>, now: Instant) {
        let info = PodInfo::new(old);
        self.cache.remove_pod(&info.uid);
        self.tell(&ClusterEvent::AssignedPodDeleted(&info), now);
    }

    fn left_the_queue(&mut self, old: Option<&Arc<Pod>>, now: Instant) {
        let Some(old) = old else { return };
        self.queue.remove(old.uid());
        let nominated = self.nominator.remove(old.uid()).is_some();
        let assumed = self.cache.forget(old.uid()).is_some();
        if nominated || assumed {
            let info = PodInfo::new(old);
            self.tell(&ClusterEvent::AssignedPodDeleted(&info), now);
        }
    }

    /// After a restart the API knows who was nominated.
    fn restore_nomination(&mut self, info: &Arc<PodInfo>) {
        if self.nominator.node_of(&info.uid).is_none() && !self.queue.contains(&info.uid) {
            self.nominator.nominate(info, info.nominated_node());
        }
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn is_assigned(pod: &Pod) -> bool {
    !node_name(pod).is_empty() && !has_ended(pod)
}

/// Whether the pod waits for this scheduler.
fn is_ours(pod: &Pod) -> bool {
    let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(SCHEDULER_NAME);
    let waits = node_name(pod).is_empty() && !has_ended(pod) && pod.metadata.deletion_timestamp.is_none();
    waits && scheduler == SCHEDULER_NAME
}
