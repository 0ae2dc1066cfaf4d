//! What the scheduler writes: bindings, conditions, nominations, the deletion of victims, events.

use std::sync::Arc;

use api::corev1::{Binding, ObjectReference, Pod, PodCondition};
use api::metav1::{ObjectMeta, Time};
use client::events::EventRecorder;
use client::{Api, Client, DeleteParams, Error, Object, Patch};
use jiff::Timestamp;
use rt::Clock;
use serde_json::{Value, json};

use crate::SCHEDULER_NAME;
use crate::core::{Rejected, Step};
use crate::pod_info::PodInfo;
use crate::queue::QueuedPod;
use crate::run::Shared;

/// A message of an event may not be longer.
const EVENT_MESSAGE_MAX: usize = 1024;

#[derive(Clone)]
pub(crate) struct Writer {
    pub client: Client,
    pub events: EventRecorder,
    pub shared: Shared,
    pub clock: Arc<dyn Clock>,
}

impl Writer {
    pub async fn apply(&self, step: Step) {
        match step {
            Step::Bind { pod, node } => self.bind(pod, &node).await,
            Step::Reject(rejected) => self.reject(*rejected).await,
            Step::Wait(_) => {}
        }
    }

    fn pods(&self, pod: &PodInfo) -> Api<Pod> {
        Api::namespaced(&self.client, &pod.key.namespace)
    }

    async fn bind(&self, pod: QueuedPod, node: &str) {
        if let Some(write) = &pod.last_write {
            write.cancelled().await;
        }
        let info = pod.info.clone();
        let name = &info.key.name;
        let result = self.pods(&info).create_subresource::<_, Value>(name, "binding", &binding(&info, node)).await;
        match result {
            Ok(_) => {
                self.shared.change(|core, _| core.bound(&info.uid));
                let message = format!("Successfully assigned {}/{name} to {node}", info.key.namespace);
                self.events.normal(&info.reference(), "Scheduled", message);
                tracing::debug!(pod = %info.key, node, attempts = pod.attempts() + 1, "pod bound");
            }
            Err(error) => self.bind_failed(pod, node, &error).await,
        }
    }

    async fn bind_failed(&self, pod: QueuedPod, node: &str, error: &Error) {
        let info = pod.info.clone();
        let gone = error.is_not_found();
        if gone {
            self.shared.change(|core, now| core.bind_failed(pod, true, now));
            return;
        }
        tracing::warn!(pod = %info.key, node, error = error as &dyn std::error::Error, "pod not bound; it is tried again");
        let message = format!("binding rejected: {error}");
        self.events.warning(&info.reference(), "FailedScheduling", shorten(&message));
        // A conflict says that the pod has a node already: the informer is about to tell.
        if !error.is_conflict() {
            self.write_condition(&info, "SchedulerError", &message, None).await;
        }
        self.shared.change(|core, now| core.bind_failed(pod, false, now));
    }

    async fn reject(&self, rejected: Rejected) {
        let Rejected { pod, message, nominate, victims, write } = rejected;
        let _done = write.drop_guard();
        if let Some(earlier) = &pod.last_write {
            earlier.cancelled().await;
        }
        let info = &pod.info;
        tracing::debug!(pod = %info.key, message, "pod fits nowhere");
        self.events.warning(&info.reference(), "FailedScheduling", shorten(&message));
        let node = nominate.clone().unwrap_or_default();
        for victim in &victims {
            self.preempt(info, victim, &node).await;
        }
        self.write_condition(info, "Unschedulable", &message, nominate).await;
    }

    /// Writes the condition `PodScheduled`, if it is another than before.
    async fn write_condition(&self, info: &PodInfo, reason: &str, message: &str, nominate: Option<String>) {
        let Some(patch) = status_patch(info.pod(), reason, message, nominate, self.clock.now()) else { return };
        match self.pods(info).patch_status(&info.key.name, &patch).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(pod = %info.key, error = &error as &dyn std::error::Error, "condition not written");
            }
        }
    }

    async fn preempt(&self, preemptor: &PodInfo, victim: &PodInfo, node: &str) {
        let api = self.pods(victim);
        let marked = api.patch_status(&victim.key.name, &disruption_patch(victim, self.clock.now())).await;
        let deleted = match marked {
            Ok(_) => api.delete(&victim.key.name, &DeleteParams::uid(&victim.uid)).await,
            Err(error) => Err(error),
        };
        match deleted {
            Ok(()) => {
                let message = format!("Preempted by pod {} on node {node}", preemptor.uid);
                self.events.normal(&victim.reference(), "Preempted", message);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(pod = %victim.key, error = &error as &dyn std::error::Error, "victim not deleted");
            }
        }
    }
}

fn binding(info: &PodInfo, node: &str) -> Binding {
    Binding {
        metadata: ObjectMeta {
            name: Some(info.key.name.clone()),
            namespace: Some(info.key.namespace.clone()),
            uid: Some(info.uid.clone()),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    }
}

/// `None`: the pod says so already.
fn status_patch(pod: &Pod, reason: &str, message: &str, nominate: Option<String>, now: Timestamp) -> Option<Patch> {
    let known = condition(pod, "PodScheduled");
    let before = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone()).unwrap_or_default();
    let same = known.is_some_and(|known| {
        known.status == "False" && known.reason.as_deref() == Some(reason) && known.message.as_deref() == Some(message)
    });
    let nominate = nominate.filter(|node| *node != before);
    if same && nominate.is_none() {
        return None;
    }
    let since = known.filter(|known| known.status == "False").and_then(|known| known.last_transition_time.clone());
    let mut status = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or(Time(now)), "observedGeneration": pod.metadata.generation,
    }]});
    match nominate.as_deref() {
        None => {}
        Some("") => status["nominatedNodeName"] = Value::Null,
        Some(node) => status["nominatedNodeName"] = node.into(),
    }
    Some(of_uid(pod.uid(), &status))
}

fn disruption_patch(victim: &PodInfo, now: Timestamp) -> Patch {
    let message = format!("{SCHEDULER_NAME}: preempting to accommodate a higher priority pod");
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": message,
        "lastTransitionTime": Time(now), "observedGeneration": victim.version.generation,
    });
    of_uid(&victim.uid, &json!({"conditions": [condition]}))
}

/// The UID keeps the patch off another pod of the same name.
fn of_uid(uid: &str, status: &Value) -> Patch {
    Patch::Strategic(json!({"metadata": {"uid": uid}, "status": status}))
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn shorten(message: &str) -> String {
    if message.len() <= EVENT_MESSAGE_MAX {
        return message.to_owned();
    }
    let mut end = EVENT_MESSAGE_MAX - " ...".len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ...", &message[..end])
}
