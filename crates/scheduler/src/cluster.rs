//! What plugins read of the cluster beside nodes and pods.

use std::sync::Arc;

use api::appsv1::{ReplicaSet, StatefulSet};
use api::corev1::{Namespace, PersistentVolume, PersistentVolumeClaim, ReplicationController, Service};
use api::policyv1::PodDisruptionBudget;
use api::storagev1::StorageClass;
use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use controller_runtime::{Informers, Lister};

#[derive(Clone)]
pub struct Cluster {
    pub namespaces: Lister<Namespace>,
    pub services: Lister<Service>,
    pub replication_controllers: Lister<ReplicationController>,
    pub replica_sets: Lister<ReplicaSet>,
    pub stateful_sets: Lister<StatefulSet>,
    pub claims: Lister<PersistentVolumeClaim>,
    pub volumes: Lister<PersistentVolume>,
    pub storage_classes: Lister<StorageClass>,
    pub budgets: Lister<PodDisruptionBudget>,
}

impl Cluster {
    pub fn new(informers: &Informers) -> Self {
        Self {
            namespaces: informers.lister(),
            services: informers.lister(),
            replication_controllers: informers.lister(),
            replica_sets: informers.lister(),
            stateful_sets: informers.lister(),
            claims: informers.lister(),
            volumes: informers.lister(),
            storage_classes: informers.lister(),
            budgets: informers.lister(),
        }
    }

    /// A cluster with nothing in it, to be filled by a test.
    pub fn empty() -> Self {
        Self {
            namespaces: Lister::of(Vec::new()),
            services: Lister::of(Vec::new()),
            replication_controllers: Lister::of(Vec::new()),
            replica_sets: Lister::of(Vec::new()),
            stateful_sets: Lister::of(Vec::new()),
            claims: Lister::of(Vec::new()),
            volumes: Lister::of(Vec::new()),
            storage_classes: Lister::of(Vec::new()),
            budgets: Lister::of(Vec::new()),
        }
    }

    pub async fn synced(&self) {
        self.namespaces.synced().await;
        self.services.synced().await;
        self.replication_controllers.synced().await;
        self.replica_sets.synced().await;
        self.stateful_sets.synced().await;
        self.claims.synced().await;
        self.volumes.synced().await;
        self.storage_classes.synced().await;
        self.budgets.synced().await;
    }

    pub fn namespace_matches(&self, name: &str, selector: &Selector) -> bool {
        let namespace: Option<Arc<Namespace>> = self.namespaces.get(&ObjectKey::new("", name));
        let labels = namespace.as_ref().and_then(|namespace| namespace.metadata.labels.as_ref());
        selector.matches_with(|key| labels.and_then(|labels| labels.get(key)).map(String::as_str))
    }
}
