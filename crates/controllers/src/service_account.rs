//! Keeps the service account `default` in every namespace.
//!
//! Reads: Namespaces, ServiceAccounts.  Writes: ServiceAccounts.

use api::corev1::{Namespace, ServiceAccount};
use api::metav1::ObjectMeta;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, Client, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, WorkQueue};

use crate::Context;
use crate::pods::is_deleted;

const NAME: &str = "service-account-controller";
const DEFAULT: &str = "default";

pub(crate) fn start(context: &Context) {
    let (namespaces, accounts) =
        (context.informers.lister::<Namespace>(), context.informers.lister::<ServiceAccount>());
    let queue = WorkQueue::new();
    let by_namespace = queue.clone();
    namespaces.subscribe(move |change| by_namespace.add(change.object().key()));
    let by_account = queue.clone();
    accounts.subscribe(move |change: &Change<ServiceAccount>| {
        if matches!(change, Change::Deleted(account) if account.name() == DEFAULT) {
            by_account.add(ObjectKey::cluster(change.object().namespace()));
        }
    });
    let reconciler =
        AccountReconciler { client: context.client(NAME), namespaces: namespaces.clone(), accounts: accounts.clone() };
    context.run(NAME, reconciler, queue, 1, async move {
        namespaces.synced().await;
        accounts.synced().await;
    });
}

struct AccountReconciler {
    client: Client,
    namespaces: Lister<Namespace>,
    accounts: Lister<ServiceAccount>,
}

#[async_trait]
impl Reconciler for AccountReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let lives = self.namespaces.get(key).is_some_and(|namespace| !is_deleted(&namespace.metadata));
        if !lives || self.accounts.get(&ObjectKey::new(key.name.as_str(), DEFAULT)).is_some() {
            return Ok(Requeue::AwaitChange);
        }
        let metadata =
            ObjectMeta { name: Some(DEFAULT.into()), namespace: Some(key.name.clone()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        match Api::namespaced(&self.client, &key.name).create(&account).await {
            Err(error) if error.is_already_exists() || error.is_not_found() || error.is_forbidden() => {}
            result => drop(result?),
        }
        Ok(Requeue::AwaitChange)
    }
}
