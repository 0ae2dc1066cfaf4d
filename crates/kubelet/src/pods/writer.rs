//! The one writer of a pod's status, and of its deletion. Keeps trying; only the newest status counts.

use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Pod, PodStatus};
use client::{Api, DeleteParams, Patch};
use rt::Backoff;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::model::uid;
use super::status::differs;
use crate::context::Context;

#[derive(Debug, Clone, Default)]
pub struct Intent {
    pub status: Option<PodStatus>,
    /// All containers have ended: this status is the last.
    pub is_final: bool,
    pub delete: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    Final,
    /// The API has forgotten the pod.
    Gone,
}

/// Ends when the pod is gone from the API, or with the worker.
pub async fn run(
    context: Arc<Context>,
    pod: Arc<Pod>,
    mut intents: watch::Receiver<Intent>,
    notes: mpsc::Sender<Written>,
) {
    let api = Api::<Pod>::namespaced(&context.client, pod.metadata.namespace.as_deref().unwrap_or_default());
    let mut known: Pod = pod.as_ref().clone();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), 2.0);
    while intents.changed().await.is_ok() {
        loop {
            let intent = intents.borrow_and_update().clone();
            let error = match write(&api, &mut known, &intent).await {
                Ok(true) => {
                    backoff.reset();
                    if intent.delete {
                        let _ = notes.send(Written::Gone).await;
                        return;
                    }
                    if intent.is_final && notes.send(Written::Final).await.is_err() {
                        return;
                    }
                    break;
                }
                Ok(false) => {
                    let _ = notes.send(Written::Gone).await;
                    return;
                }
                Err(error) => error,
            };
            tracing::warn!(pod = uid(&known), %error, "pod status was not written");
            let pause = tokio::time::sleep(backoff.next());
            tokio::select! {
                () = pause => {}
                changed = intents.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// False when there is no such pod any more.
async fn write(api: &Api<Pod>, known: &mut Pod, intent: &Intent) -> Result<bool, client::Error> {
    let name = known.metadata.name.clone().unwrap_or_default();
    let pod_uid = uid(known).to_owned();
    if let Some(status) = intent.status.as_ref().filter(|status| differs(known, status)) {
        let patch = json!({ "metadata": { "uid": pod_uid }, "status": status });
        match api.patch_status(&name, &Patch::Strategic(patch)).await {
            Ok(pod) => *known = pod,
            Err(error) if is_gone(api, &name, &pod_uid, &error).await => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    if !intent.delete {
        return Ok(true);
    }
    let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::uid(pod_uid.clone()) };
    match api.delete(&name, &params).await {
        Ok(()) => Ok(true),
        Err(error) if is_gone(api, &name, &pod_uid, &error).await => Ok(false),
        Err(error) => Err(error),
    }
}

/// Not there, or another pod under the same name. A conflict alone says neither.
async fn is_gone(api: &Api<Pod>, name: &str, pod_uid: &str, error: &client::Error) -> bool {
    if !error.is_conflict() {
        return error.is_not_found();
    }
    matches!(api.get_opt(name).await, Ok(found) if found.as_ref().is_none_or(|found| uid(found) != pod_uid))
}
