//! How many pods the owners of some pods want together.

use std::collections::HashMap;
use std::sync::Arc;

use api::appsv1::{Deployment, ReplicaSet, StatefulSet};
use api::autoscalingv1::Scale;
use api::corev1::{Pod, ReplicationController};
use api::metav1::OwnerReference;
use apimachinery::ObjectKey;
use client::{Client, Error, Object, discover};
use controller_runtime::{Informers, Lister};

use crate::ownership::controller_of;

/// What the owners want together, and whether some pods have none.
pub(super) struct Scales {
    pub total: i32,
    pub has_unmanaged: bool,
}

#[derive(Debug)]
pub(super) enum ScaleError {
    /// With the sentence that the budget's condition shows.
    Unknown(String),
    Api(Error),
}

impl From<Error> for ScaleError {
    fn from(error: Error) -> Self {
        Self::Api(error)
    }
}

/// Finds owners in the caches, and those of other kinds through their scale.
pub(super) struct Owners {
    client: Client,
    deployments: Lister<Deployment>,
    sets: Lister<ReplicaSet>,
    stateful: Lister<StatefulSet>,
    controllers: Lister<ReplicationController>,
}

impl Owners {
    pub fn new(client: &Client, informers: &Informers) -> Self {
        Owners {
            client: client.clone(),
            deployments: informers.lister(),
            sets: informers.lister(),
            stateful: informers.lister(),
            controllers: informers.lister(),
        }
    }

    pub fn synced(&self) -> impl Future<Output = ()> + Send + 'static {
        let (deployments, sets) = (self.deployments.clone(), self.sets.clone());
        let (stateful, controllers) = (self.stateful.clone(), self.controllers.clone());
        async move {
            deployments.synced().await;
            sets.synced().await;
            stateful.synced().await;
            controllers.synced().await;
        }
    }

    pub async fn scales(&self, pods: &[Arc<Pod>]) -> Result<Scales, ScaleError> {
        let mut seen: HashMap<String, (String, i32)> = HashMap::new();
        let mut has_unmanaged = false;
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                has_unmanaged = true;
                continue;
            };
            if seen.contains_key(&owner.uid) {
                continue;
            }
            let found = self.scale(pod.namespace(), owner).await?;
            let none = || ScaleError::Unknown(format!("found no controllers for pod {:?}", pod.name()));
            seen.insert(owner.uid.clone(), found.ok_or_else(none)?);
        }
        // Several ReplicaSets may have one Deployment.
        let by_owner: HashMap<String, i32> = seen.into_values().collect();
        Ok(Scales { total: by_owner.values().sum(), has_unmanaged })
    }

    /// The UID of who decides, and how many it wants.
    async fn scale(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<(String, i32)>, ScaleError> {
        let key = ObjectKey::new(namespace, owner.name.as_str());
        let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match (group, owner.kind.as_str()) {
            ("apps", "ReplicaSet") => {
                let set = same(self.sets.get(&key), owner);
                Ok(set.map(|set| self.of_replica_set(&set)))
            }
            ("apps", "StatefulSet") => {
                let set = same(self.stateful.get(&key), owner);
                Ok(set.map(|set| (set.uid().to_owned(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))))
            }
            ("", "ReplicationController") => {
                let set = same(self.controllers.get(&key), owner);
                Ok(set.map(|set| (set.uid().to_owned(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))))
            }
            _ => self.of_other(namespace, group, owner).await,
        }
    }

    /// A Deployment decides for its sets.
    fn of_replica_set(&self, set: &ReplicaSet) -> (String, i32) {
        let own = (set.uid().to_owned(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
        let Some(owner) = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment") else { return own };
        let key = ObjectKey::new(set.namespace(), owner.name.as_str());
        same(self.deployments.get(&key), owner).map_or(own, |deployment| {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            (deployment.uid().to_owned(), replicas)
        })
    }

    async fn of_other(
        &self,
        namespace: &str,
        group: &str,
        owner: &OwnerReference,
    ) -> Result<Option<(String, i32)>, ScaleError> {
        let kinds = discover(&self.client).await?;
        let resource = kinds.into_iter().find(|kind| kind.group == group && kind.kind == owner.kind);
        let Some(resource) = resource else { return Ok(None) };
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        let (version, name) = (&resource.version, &owner.name);
        let path = format!("{root}/{version}/namespaces/{namespace}/{}/{name}/scale", resource.name);
        match self.client.get::<Scale>(&path).await {
            Ok(scale) if scale.uid() == owner.uid => {
                Ok(Some((owner.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0))))
            }
            Ok(_) => Ok(None),
            Err(error) if error.code() == Some(404) => {
                let group = if group.is_empty() { String::new() } else { format!(".{group}") };
                Err(ScaleError::Unknown(format!("{}{group} does not implement the scale subresource", resource.name)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The object, when it is the one that the reference means.
fn same<K: Object>(object: Option<Arc<K>>, owner: &OwnerReference) -> Option<Arc<K>> {
    object.filter(|object| object.uid() == owner.uid)
}
