//! Which pods have a worker: those that the API binds to this node, and those found here that it has forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use api::corev1::{Node, Pod};
use apimachinery::ObjectKey;
use client::Object;
use controller_runtime::{Change, Lister};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use super::admit::admit;
use super::model::{Failure, is_terminal, phase, uid};
use super::worker::{PodWorker, Update};
use crate::context::Context;

/// Keys that may wait. The handler of the watch must not block, so beyond it the relist has to find the pod.
const QUEUE_MAX: usize = 4096;

struct Worker {
    key: ObjectKey,
    updates: watch::Sender<Update>,
    runtime_changed: Arc<Notify>,
    rejected: bool,
}

/// The workers, for the loop and for those who look things up.
pub struct Manager {
    context: Arc<Context>,
    pods: Lister<Pod>,
    workers: Mutex<HashMap<String, Worker>>,
    /// This node as it was registered, until the watch has it.
    registered: OnceLock<Arc<Node>>,
}

impl Manager {
    pub fn new(context: Arc<Context>, pods: Lister<Pod>) -> Arc<Manager> {
        Arc::new(Manager { context, pods, workers: Mutex::default(), registered: OnceLock::new() })
    }

    pub fn pods(&self) -> &Lister<Pod> {
        &self.pods
    }

    /// Until the kubelet stops. The workers' containers go on.
    pub async fn run(self: Arc<Self>, registered: Node) {
        let _ = self.registered.set(Arc::new(registered));
        let (sender, mut changed) = mpsc::channel::<(ObjectKey, Option<Arc<Pod>>)>(QUEUE_MAX);
        let mut events = self.context.runtime.subscribe();
        self.pods.subscribe(move |change| {
            if let Change::Replaced { old, .. } = change {
                let _ = sender.try_send((old.key(), Some(Arc::clone(old))));
            }
            let gone = matches!(change, Change::Deleted(_)).then(|| Arc::clone(change.object()));
            let _ = sender.try_send((change.object().key(), gone));
        });
        self.pods.synced().await;
        self.context.nodes.synced().await;
        self.end_forgotten().await;
        let mut relist = tokio::time::interval(self.context.config.relist_period);
        loop {
            tokio::select! {
                () = async { self.context.tasks.token().cancelled().await } => return,
                Some((key, gone)) = changed.recv() => self.route(&key, gone.as_deref()),
                event = events.recv() => match event {
                    Ok(event) => self.wake(&event.sandbox),
                    Err(_) => self.wake_all(),
                },
                _ = relist.tick() => self.relist(),
            }
        }
    }

    fn wake(&self, uid: &str) {
        if let Some(worker) = self.workers.lock().get(uid) {
            worker.runtime_changed.notify_one();
        }
    }

    fn wake_all(&self) {
        self.workers.lock().values().for_each(|worker| worker.runtime_changed.notify_one());
    }

    /// The safety net: everything is looked at again.
    fn relist(self: &Arc<Self>) {
        let known: HashSet<String> = self.pods.list().iter().map(|pod| uid(pod).to_owned()).collect();
        for pod in self.pods.list() {
            self.route(&pod.key(), None);
        }
        for (pod_uid, worker) in self.workers.lock().iter() {
            if !known.contains(pod_uid) {
                worker.updates.send_modify(|update| update.gone = true);
            }
        }
        self.wake_all();
    }

    fn route(self: &Arc<Self>, key: &ObjectKey, gone: Option<&Pod>) {
        let present = self.pods.get(key);
        let present_uid = present.as_ref().map(|pod| uid(pod).to_owned());
        let workers = self.workers.lock();
        for (pod_uid, worker) in workers.iter().filter(|(_, worker)| worker.key == *key) {
            let is_gone = present_uid.as_ref() != Some(pod_uid) || gone.is_some_and(|gone| uid(gone) == *pod_uid);
            if is_gone {
                worker.updates.send_modify(|update| update.gone = true);
            }
        }
        let Some(pod) = present else { return };
        match workers.get(uid(&pod)) {
            Some(worker) => send_update(worker, pod),
            None => {
                drop(workers);
                self.begin(pod);
            }
        }
    }

    fn begin(self: &Arc<Self>, pod: Arc<Pod>) {
        let failed = self.rejection(&pod);
        if let Some(failure) = &failed {
            let about = crate::context::pod_reference(&pod, None);
            self.context.recorder.warning(&about, &failure.reason, failure.message.clone());
        }
        let pod_uid = uid(&pod).to_owned();
        let (updates, receiver) = watch::channel(Update { pod: Arc::clone(&pod), gone: false });
        let runtime_changed = Arc::new(Notify::new());
        let rejected = failed.is_some();
        let worker = PodWorker::new(Arc::clone(&self.context), receiver, Arc::clone(&runtime_changed), failed);
        let entry = Worker { key: pod.key(), updates, runtime_changed, rejected };
        self.workers.lock().insert(pod_uid.clone(), entry);
        let manager = Arc::clone(self);
        self.context.tasks.spawn("pod worker", async move {
            worker.run().await;
            manager.workers.lock().remove(&pod_uid);
        });
    }

    /// A pod that ran here before is not judged again.
    fn rejection(&self, pod: &Pod) -> Option<Failure> {
        let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if begun || pod.metadata.deletion_timestamp.is_some() || !matches!(phase(pod), "" | "Pending") {
            return None;
        }
        let node: Arc<Node> =
            self.context.nodes.list().into_iter().next().or_else(|| self.registered.get().cloned())?;
        let others: Vec<Arc<Pod>> = self.taken().into_iter().filter(|other| uid(other) != uid(pod)).collect();
        let others: Vec<&Pod> = others.iter().map(AsRef::as_ref).collect();
        admit(pod, &node, &others).err()
    }

    fn taken(&self) -> Vec<Arc<Pod>> {
        let workers = self.workers.lock();
        let taken = workers.values().filter(|worker| !worker.rejected);
        taken.map(|worker| Arc::clone(&worker.updates.borrow().pod)).filter(|pod| !is_terminal(pod)).collect()
    }

    /// Sandboxes of pods that were deleted while no agent ran.
    async fn end_forgotten(self: &Arc<Self>) {
        let known: HashSet<String> = self.pods.list().iter().map(|pod| uid(pod).to_owned()).collect();
        let found = match self.context.runtime.list().await {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "sandboxes were not listed"),
        };
        for sandbox in found.into_iter().filter(|sandbox| !known.contains(&sandbox.config.uid)) {
            let context = Arc::clone(&self.context);
            let pod = remembered_pod(&sandbox.config);
            tracing::info!(pod = uid(&pod), "ending a pod that the API has forgotten");
            self.context.tasks.spawn_until_cancelled("end a forgotten pod", async move {
                super::stop::stop_forgotten(&context, &sandbox).await;
                if let Err(error) = super::sandbox::tear_down(&context, &pod).await {
                    tracing::error!(pod = uid(&pod), error, "forgotten pod was not torn down");
                }
                let _ = tokio::fs::remove_dir_all(context.log_dir(&pod)).await;
            });
        }
    }
}

fn send_update(worker: &Worker, pod: Arc<Pod>) {
    worker.updates.send_if_modified(|update| {
        let changed = update.pod.resource_version() != pod.resource_version();
        if changed {
            update.pod = pod;
        }
        changed
    });
}

/// As much of a pod as its sandbox tells.
fn remembered_pod(config: &container::SandboxConfig) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.uid = Some(config.uid.clone());
    pod.metadata.name = Some(config.name.clone());
    pod.metadata.namespace = Some(config.namespace.clone());
    pod
}
