use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::corev1::Service;
use api::discoveryv1::EndpointSlice;
use apimachinery::ObjectKey;
use controller_runtime::{Index, Informers, Lister};
use nft::conntrack::KernelConntrack;
use nft::{Kernel, Monitor, Notice};
use parking_lot::Mutex;
use rt::{Backoff, CancellationToken, TaskSet};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::health::HealthServers;
use crate::layout::NodeFacts;
use crate::plan::{ServicePlan, plan_service};
use crate::rules::{Rules, removed_by_others};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open the kernel's tables")]
    Open(#[source] nft::Error),
    #[error("watch the kernel's tables")]
    Watch(#[source] nft::Error),
}

#[derive(Clone, Debug)]
pub struct ProxyConfig {
    pub node: NodeFacts,
}

/// Keeps the node's rules as the cluster's Services ask for.
pub struct ServiceProxy {
    services: Lister<Service>,
    slices: Lister<EndpointSlice>,
    slices_of: Index<EndpointSlice>,
    rules: Rules,
    /// Changes made through this socket are our own.
    own_port: u32,
}

/// Services whose rules may have to change.
#[derive(Clone, Default)]
struct Dirty {
    services: Arc<Mutex<HashSet<ObjectKey>>>,
    changed: Arc<Notify>,
}

impl Dirty {
    fn add(&self, service: ObjectKey) {
        self.services.lock().insert(service);
        self.changed.notify_one();
    }

    fn take(&self) -> BTreeSet<ObjectKey> {
        self.services.lock().drain().collect()
    }
}

impl ServiceProxy {
    /// Works in the network namespace of the calling thread.
    pub fn new(config: ProxyConfig, informers: &Informers) -> Result<Self, Error> {
        let kernel = Kernel::open().map_err(Error::Open)?;
        let conntrack = KernelConntrack::open().map_err(Error::Open)?;
        let slices: Lister<EndpointSlice> = informers.lister();
        Ok(Self {
            services: informers.lister(),
            slices_of: slices.index("service", slice_owner_names),
            slices,
            own_port: kernel.port(),
            rules: Rules::new(config.node, Box::new(kernel), Box::new(conntrack)),
        })
    }

    /// Runs until `shutdown`; the rules stay, so traffic goes on.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut monitor = Monitor::open().map_err(Error::Watch)?;
        let dirty = self.subscribe();
        tracing::info!(node = %self.rules.facts().name, "watching services and endpoint slices");
        let synced = async {
            self.services.synced().await;
            self.slices.synced().await;
        };
        if shutdown.run_until_cancelled(synced).await.is_none() {
            return Ok(());
        }
        let tasks = TaskSet::under(shutdown.clone());
        let mut health = HealthServers::new(tasks.clone());
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), 2.0);
        self.load(&dirty);
        loop {
            let retry = self.sync(&dirty, &mut backoff);
            health.sync(self.rules.ruleset()).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = dirty.changed.notified() => {}
                () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
                notice = monitor.next() => self.repair(&notice.map_err(Error::Watch)?),
            }
        }
        tasks.join().await;
        Ok(())
    }

    fn subscribe(&self) -> Dirty {
        let dirty = Dirty::default();
        let (of_services, of_slices) = (dirty.clone(), dirty.clone());
        self.services.subscribe(move |change| of_services.add(client::Object::key(change.object().as_ref())));
        self.slices.subscribe(move |change| {
            let objects = change.old().into_iter().chain([change.object()]);
            objects.filter_map(|slice| slice_owner(slice)).for_each(|service| of_slices.add(service));
        });
        dirty
    }

    /// The first pass: all services at once, in the place of the table that an earlier process may have left.
    fn load(&mut self, dirty: &Dirty) {
        let started = Instant::now();
        let plans: Vec<_> = dirty.take().into_iter().map(|key| (self.plan(&key), key)).collect();
        match self.rules.update(plans.into_iter().map(|(plan, key)| (key, plan)).collect()) {
            Ok(()) => {
                let count = self.rules.ruleset().services().count();
                tracing::info!(services = count, elapsed = ?started.elapsed(), "service rules are in the kernel");
            }
            Err(error) => tracing::error!(error = %chain(&error), "service rules not set"),
        }
    }

    /// Applies what changed, or all when the kernel is out of step; after a failure, in how long to try again.
    fn sync(&mut self, dirty: &Dirty, backoff: &mut Backoff) -> Option<Duration> {
        let plans = dirty.take().into_iter().map(|key| (self.plan(&key), key)).collect::<Vec<_>>();
        let changed: Vec<_> =
            plans.into_iter().filter(|(plan, key)| self.differs(key, plan)).map(|(plan, key)| (key, plan)).collect();
        let told: Vec<_> = changed.iter().map(|(key, plan)| told(key, plan)).collect();
        let result = match (changed.is_empty(), self.rules.in_step()) {
            (true, true) => return None,
            (true, false) => self.rules.restore(),
            (false, _) => self.rules.update(changed),
        };
        match result {
            Ok(()) => {
                told.into_iter().for_each(|(service, endpoints)| report(&service, endpoints));
                backoff.reset();
                None
            }
            Err(error) => {
                let retry = backoff.next();
                tracing::error!(error = %chain(&error), ?retry, "service rules not in order; trying again");
                Some(retry)
            }
        }
    }

    fn plan(&self, key: &ObjectKey) -> ServicePlan {
        match self.services.get(key) {
            Some(service) => plan_service(&service, &self.slices_of.get(&key.to_string()), self.rules.facts()),
            None => ServicePlan::default(),
        }
    }

    fn differs(&self, key: &ObjectKey, plan: &ServicePlan) -> bool {
        match self.rules.ruleset().plan(key) {
            Some(before) => before != plan,
            None => *plan != ServicePlan::default(),
        }
    }

    /// Puts back what another program took away.
    fn repair(&mut self, notice: &Notice) {
        let Some(what) = self.taken_away(notice) else {
            return;
        };
        let by = match notice {
            Notice::Committed { by, .. } => format!("{} ({})", by.name, by.id),
            Notice::Lost => "unknown".to_owned(),
        };
        tracing::warn!(missing = %what, program = %by, "service rules were removed by another program; restoring");
        match self.rules.restore() {
            Ok(()) => tracing::info!("service rules are restored"),
            Err(error) => tracing::error!(error = %chain(&error), "service rules not restored"),
        }
    }

    fn taken_away(&self, notice: &Notice) -> Option<String> {
        match notice {
            Notice::Committed { port, .. } if *port == self.own_port => None,
            Notice::Committed { changes, .. } => removed_by_others(changes),
            Notice::Lost => self.rules.missing().ok().flatten(),
        }
    }
}

/// The service and its endpoints, or none when it is not served any more.
fn told(service: &ObjectKey, plan: &ServicePlan) -> (ObjectKey, Option<usize>) {
    (service.clone(), (*plan != ServicePlan::default()).then_some(plan.endpoints))
}

fn report(service: &ObjectKey, endpoints: Option<usize>) {
    match endpoints {
        Some(endpoints) => tracing::info!(%service, endpoints, "service goes to its endpoints"),
        None => tracing::info!(%service, "service is not served any more"),
    }
}

fn slice_owner(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(slice.metadata.namespace.as_deref()?, name))
}

fn slice_owner_names(slice: &EndpointSlice) -> Vec<String> {
    slice_owner(slice).map(|key| key.to_string()).into_iter().collect()
}

/// An error with all its causes, for a log line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
