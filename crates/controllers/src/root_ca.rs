//! Keeps the config map `kube-root-ca.crt`, the cluster's certificate authority, in every namespace.
//!
//! Reads: Namespaces, ConfigMaps of that name.  Writes: ConfigMaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::{ConfigMap, Namespace};
use api::metav1::ObjectMeta;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object};
use controller_runtime::{Lister, ReconcileError, Reconciler, Requeue, Selection, WorkQueue};

use crate::pods::is_deleted;
use crate::{Config, Context};

const NAME: &str = "root-ca-cert-publisher";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";

pub(crate) fn start(context: &Context) {
    let namespaces = context.informers.lister::<Namespace>();
    let selection = Selection { field_selector: format!("metadata.name={CONFIG_MAP}"), ..Selection::default() };
    let maps = context.informers.lister_for::<ConfigMap>(selection);
    let queue = WorkQueue::new();
    let by_namespace = queue.clone();
    namespaces.subscribe(move |change| by_namespace.add(change.object().key()));
    let by_map = queue.clone();
    maps.subscribe(move |change| by_map.add(ObjectKey::cluster(change.object().namespace())));
    let reconciler = RootCaReconciler {
        client: context.client(NAME),
        config: context.config.clone(),
        namespaces: namespaces.clone(),
        maps: maps.clone(),
    };
    context.run(NAME, reconciler, queue, 1, async move {
        namespaces.synced().await;
        maps.synced().await;
    });
}

struct RootCaReconciler {
    client: Client,
    config: Arc<Config>,
    namespaces: Lister<Namespace>,
    maps: Lister<ConfigMap>,
}

#[async_trait]
impl Reconciler for RootCaReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        if self.namespaces.get(key).is_none_or(|namespace| is_deleted(&namespace.metadata)) {
            return Ok(Requeue::AwaitChange);
        }
        let existing = self.maps.get(&ObjectKey::new(key.name.as_str(), CONFIG_MAP));
        let data = BTreeMap::from([("ca.crt".to_owned(), self.config.ca_pem.clone())]);
        let api = Api::<ConfigMap>::namespaced(&self.client, &key.name);
        let result = match existing {
            Some(existing) if existing.data.as_ref() == Some(&data) => return Ok(Requeue::AwaitChange),
            Some(existing) => api.update(&ConfigMap { data: Some(data), ..existing.as_ref().clone() }).await,
            None => api.create(&new_map(key, data)).await,
        };
        match result {
            Err(error) if error.is_not_found() || error.is_already_exists() || error.is_forbidden() => {}
            result => drop(result?),
        }
        Ok(Requeue::AwaitChange)
    }
}

fn new_map(key: &ObjectKey, data: BTreeMap<String, String>) -> ConfigMap {
    let description = "The certificate authority by which pods of this namespace can verify the API server.";
    let metadata = ObjectMeta {
        name: Some(CONFIG_MAP.into()),
        namespace: Some(key.name.clone()),
        annotations: Some(BTreeMap::from([(DESCRIPTION.to_owned(), description.to_owned())])),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}
