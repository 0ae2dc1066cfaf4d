//! Wires the core to the API: informers feed it, its steps become requests.

use std::sync::Arc;

use api::corev1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use api::storagev1::StorageClass;
use client::Client;
use client::events::EventRecorder;
use controller_runtime::{Change, Informers, Lister};
use parking_lot::Mutex;
use rt::{CancellationToken, Clock, SystemClock, TaskSet};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::SCHEDULER_NAME;
use crate::bind::Writer;
use crate::cluster::Cluster;
use crate::core::{Core, Step};
use crate::event::ClusterEvent;
use crate::plugins::default_plugins;

/// Bindings and status writes under way at once. More would only wait in the API server.
const WRITES_MAX: usize = 128;

/// The core, shared by the loop, the informers' handlers and the writers. Locked for one event or one cycle at a time.
#[derive(Clone)]
pub(crate) struct Shared {
    core: Arc<Mutex<Core>>,
    wake: Arc<Notify>,
}

impl Shared {
    /// Changes the core, and wakes the loop.
    pub fn change<R>(&self, change: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let result = change(&mut self.core.lock(), Instant::now());
        self.wake.notify_one();
        result
    }
}

/// Starts the scheduler. It reads by `informers`, whose caches it shares with whoever else has them, and writes by
/// `client`. It ends with `tasks`.
pub fn start(client: &Client, informers: &Informers, tasks: &TaskSet) {
    start_with(client, informers, tasks, rand::random(), Arc::new(SystemClock));
}

/// The same with a given source of chance and time.
pub fn start_with(client: &Client, informers: &Informers, tasks: &TaskSet, seed: u64, clock: Arc<dyn Clock>) {
    let core = Arc::new(Mutex::new(Core::new(default_plugins(), seed)));
    let shared = Shared { core, wake: Arc::default() };
    let events = EventRecorder::new(client, SCHEDULER_NAME, "", tasks);
    let writer = Writer { client: client.clone(), events, shared: shared.clone(), clock };
    let scheduler = Scheduler {
        cluster: Cluster::new(informers),
        pods: informers.lister(),
        nodes: informers.lister(),
        shared,
        writer,
        tasks: tasks.clone(),
    };
    tasks.spawn("scheduler", scheduler.run(tasks.token()));
}

struct Scheduler {
    cluster: Cluster,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    shared: Shared,
    writer: Writer,
    tasks: TaskSet,
}

impl Scheduler {
    async fn run(self, shutdown: CancellationToken) {
        self.subscribe();
        let _ = shutdown.run_until_cancelled(self.schedule()).await;
    }

    async fn schedule(&self) {
        self.cluster.synced().await;
        self.nodes.synced().await;
        self.pods.synced().await;
        tracing::info!("scheduler started");
        let permits = Arc::new(Semaphore::new(WRITES_MAX));
        loop {
            let permit = permits.clone().acquire_owned().await.expect("it is never closed");
            let step = self.next().await;
            let writer = self.writer.clone();
            self.tasks.spawn_until_cancelled("scheduler write", async move {
                writer.apply(step).await;
                drop(permit);
            });
            tokio::task::yield_now().await;
        }
    }

    /// The next step that is something to do.
    async fn next(&self) -> Step {
        loop {
            let step = self.shared.core.lock().step(&self.cluster, Instant::now());
            let Step::Wait(until) = step else { return step };
            let woken = self.shared.wake.notified();
            match until {
                Some(until) => drop(tokio::time::timeout_at(until, woken).await),
                None => woken.await,
            }
        }
    }

    fn subscribe(&self) {
        let shared = self.shared.clone();
        self.nodes.subscribe(move |change| match parts(change) {
            Parts::One { old, new } => shared.change(|core, now| core.node_changed(old, new, now)),
            Parts::Two { old, new } => shared.change(|core, now| {
                core.node_changed(Some(old), None, now);
                core.node_changed(None, Some(new), now);
            }),
        });
        let shared = self.shared.clone();
        self.pods.subscribe(move |change| {
            let changed = |old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>| {
                let (old, new) = (old.filter(|pod| is_live(pod)), new.filter(|pod| is_live(pod)));
                if old.is_some() || new.is_some() {
                    shared.change(|core, now| core.pod_changed(old, new, now));
                }
            };
            match parts(change) {
                Parts::One { old, new } => changed(old, new),
                Parts::Two { old, new } => {
                    changed(Some(old), None);
                    changed(None, Some(new));
                }
            }
        });
        self.tell_of_the_rest();
    }

    fn tell_of_the_rest(&self) {
        let shared = self.shared.clone();
        self.cluster.claims.subscribe(move |change: &Change<PersistentVolumeClaim>| {
            shared.change(|core, now| core.tell(&ClusterEvent::ClaimChanged(change.object()), now));
        });
        let shared = self.shared.clone();
        self.cluster.volumes.subscribe(move |change: &Change<PersistentVolume>| {
            shared.change(|core, now| core.tell(&ClusterEvent::VolumeChanged(change.object()), now));
        });
        let shared = self.shared.clone();
        self.cluster.storage_classes.subscribe(move |_: &Change<StorageClass>| {
            shared.change(|core, now| core.tell(&ClusterEvent::StorageClassChanged, now));
        });
        let shared = self.shared.clone();
        self.cluster.namespaces.subscribe(move |_: &Change<Namespace>| {
            shared.change(|core, now| core.tell(&ClusterEvent::NamespaceChanged, now));
        });
    }
}

/// Pods that have ended take no room.
fn is_live(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// A change as states of the same object; one made anew under the same name is two.
enum Parts<'a, K> {
    One { old: Option<&'a Arc<K>>, new: Option<&'a Arc<K>> },
    Two { old: &'a Arc<K>, new: &'a Arc<K> },
}

fn parts<K>(change: &Change<K>) -> Parts<'_, K> {
    match change {
        Change::Added(new) => Parts::One { old: None, new: Some(new) },
        Change::Updated { old, new } => Parts::One { old: Some(old), new: Some(new) },
        Change::Replaced { old, new } => Parts::Two { old, new },
        Change::Deleted(old) => Parts::One { old: Some(old), new: None },
    }
}
