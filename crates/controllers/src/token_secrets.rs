//! Fills secrets of the type `kubernetes.io/service-account-token`, and deletes those whose service account is gone.
//!
//! Reads: Secrets of that type, ServiceAccounts.  Writes: Secrets.  Does not know: keys ([`crate::TokenSigner`] signs).
//! Start at [`plan`].

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::{Secret, ServiceAccount};
use api::k8s::ByteString;
use apimachinery::ObjectKey;
use async_trait::async_trait;
use client::{Api, BoxError, Client, DeleteParams, Object};
use controller_runtime::{Change, Lister, ReconcileError, Reconciler, Requeue, Selection, WorkQueue};

use crate::ignore::ignore_gone;
use crate::pods::{annotation, is_deleted};
use crate::{Context, TokenSigner};

const NAME: &str = "serviceaccount-token-controller";
const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const WORKERS: usize = 5;

pub(crate) fn start(context: &Context) {
    let Some(signer) = context.config.token_signer.clone() else {
        tracing::info!(controller = NAME, "the controller does not run: there is no private key of service accounts");
        return;
    };
    let accounts = context.informers.lister::<ServiceAccount>();
    let selection = Selection { field_selector: format!("type={TYPE}"), ..Selection::default() };
    let secrets = context.informers.lister_for::<Secret>(selection);
    let queue = WorkQueue::new();
    let by_secret = queue.clone();
    secrets.subscribe(move |change| by_secret.add(change.object().key()));
    let (by_account, known) = (queue.clone(), secrets.clone());
    accounts.subscribe(move |change: &Change<ServiceAccount>| {
        let account = change.object();
        let secrets = known.namespace(account.namespace());
        let own = secrets.iter().filter(|secret| annotation(&secret.metadata, ACCOUNT_NAME) == account.name());
        own.for_each(|secret| by_account.add(secret.key()));
    });
    let reconciler = TokenReconciler {
        // Upstream gives this controller no role of its own: it writes as the controller manager.
        client: context.informers.client().clone(),
        ca_pem: context.config.ca_pem.clone(),
        signer,
        secrets: secrets.clone(),
        accounts: accounts.clone(),
    };
    context.run(NAME, reconciler, queue, WORKERS, async move {
        secrets.synced().await;
        accounts.synced().await;
    });
}

/// What is to become of a secret.
#[derive(Debug, PartialEq)]
enum Plan {
    Keep,
    Delete,
    Write(Box<Secret>),
}

fn plan(
    secret: &Secret,
    account: Option<&ServiceAccount>,
    ca_pem: &str,
    sign: impl FnOnce(&ServiceAccount) -> Result<String, BoxError>,
) -> Result<Plan, BoxError> {
    if is_deleted(&secret.metadata) || annotation(&secret.metadata, ACCOUNT_NAME).is_empty() {
        return Ok(Plan::Keep);
    }
    let uid = annotation(&secret.metadata, ACCOUNT_UID);
    let Some(account) = account.filter(|account| uid.is_empty() || uid == account.uid()) else {
        return Ok(Plan::Delete);
    };
    let mut filled = secret.clone();
    let data = filled.data.get_or_insert_default();
    if !ca_pem.is_empty() {
        data.insert("ca.crt".into(), ByteString(ca_pem.into()));
    }
    fill(data, "namespace", || Ok(account.namespace().to_owned()))?;
    fill(data, "token", || sign(account))?;
    let annotations = filled.metadata.annotations.get_or_insert_default();
    annotations.insert(ACCOUNT_UID.into(), account.uid().into());
    Ok(if filled == *secret { Plan::Keep } else { Plan::Write(Box::new(filled)) })
}

fn fill(
    data: &mut BTreeMap<String, ByteString>,
    name: &str,
    value: impl FnOnce() -> Result<String, BoxError>,
) -> Result<(), BoxError> {
    if data.get(name).is_none_or(|bytes| bytes.0.is_empty()) {
        data.insert(name.into(), ByteString(value()?.into_bytes()));
    }
    Ok(())
}

struct TokenReconciler {
    client: Client,
    ca_pem: String,
    signer: Arc<dyn TokenSigner>,
    secrets: Lister<Secret>,
    accounts: Lister<ServiceAccount>,
}

#[async_trait]
impl Reconciler for TokenReconciler {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Some(secret) = self.secrets.get(key) else { return Ok(Requeue::AwaitChange) };
        let account = self.account(&secret).await?;
        let sign = |account: &ServiceAccount| {
            let (account, secret) = ((account.name(), account.uid()), (secret.name(), secret.uid()));
            self.signer.secret_token(&key.namespace, account, secret)
        };
        let api = Api::<Secret>::namespaced(&self.client, &key.namespace);
        match plan(&secret, account.as_ref(), &self.ca_pem, sign).map_err(ReconcileError::GiveUp)? {
            Plan::Keep => {}
            Plan::Delete => ignore_gone(api.delete(&key.name, &DeleteParams::uid(secret.uid())).await)?,
            Plan::Write(filled) => ignore_gone(api.update(&filled).await)?,
        }
        Ok(Requeue::AwaitChange)
    }
}

impl TokenReconciler {
    /// The cache may be behind: of an account that it lacks, the server is asked.
    async fn account(&self, secret: &Secret) -> Result<Option<ServiceAccount>, client::Error> {
        let name = annotation(&secret.metadata, ACCOUNT_NAME);
        if name.is_empty() {
            return Ok(None);
        }
        match self.accounts.get(&ObjectKey::new(secret.namespace(), name)) {
            Some(account) => Ok(Some(account.as_ref().clone())),
            None => Api::namespaced(&self.client, secret.namespace()).get_opt(name).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(annotations: Value) -> Secret {
        let metadata = json!({"name": "t", "namespace": "ns", "uid": "s", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "type": TYPE})).unwrap()
    }

    fn planned(secret: &Secret, account: Option<&str>) -> Plan {
        let account = account.map(|uid| -> ServiceAccount {
            serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "ns", "uid": uid}})).unwrap()
        });
        plan(secret, account.as_ref(), "ca", |account| Ok(format!("token of {}", account.uid()))).unwrap()
    }

    #[test]
    fn a_secret_is_filled_once() {
        let Plan::Write(filled) = planned(&secret(json!({ACCOUNT_NAME: "a"})), Some("u")) else { panic!("a write") };
        let data = filled.data.clone().unwrap();
        let text = |name: &str| String::from_utf8(data[name].0.clone()).unwrap();
        assert_eq!([text("ca.crt"), text("namespace"), text("token")], ["ca", "ns", "token of u"]);
        assert_eq!(annotation(&filled.metadata, ACCOUNT_UID), "u");
        assert_eq!(planned(&filled, Some("u")), Plan::Keep);
    }

    #[test]
    fn a_secret_goes_with_its_account() {
        assert_eq!(planned(&secret(json!({ACCOUNT_NAME: "a"})), None), Plan::Delete);
        assert_eq!(planned(&secret(json!({ACCOUNT_NAME: "a", ACCOUNT_UID: "old"})), Some("new")), Plan::Delete);
        assert_eq!(planned(&secret(json!({})), None), Plan::Keep);
    }
}
