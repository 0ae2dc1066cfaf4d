//! What every controller is given.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use client::events::EventRecorder;
use controller_runtime::{Informers, Reconciler, WorkQueue, run_reconciler};
use rt::{Clock, TaskSet};

use crate::signer::{CertificateSigner, TokenSigner};

/// What an administrator may choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pods' addresses: base and prefix length.
    pub cluster_cidr: (Ipv4Addr, u8),
    /// Prefix length of one node's share of it.
    pub node_cidr_mask: u8,
    /// The certificate of the cluster's authority, for `kube-root-ca.crt`.
    pub ca_pem: String,
    /// A node that is silent for so long is taken for lost.
    pub node_monitor_grace_period: Duration,
    /// Terminated pods beyond this number are deleted.
    pub terminated_pods_max: usize,
    /// Without it certificates are approved and cleared away, but not signed.
    pub certificate_signer: Option<Arc<dyn CertificateSigner>>,
    /// Without it secrets get no tokens of service accounts.
    pub token_signer: Option<Arc<dyn TokenSigner>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
            node_cidr_mask: 24,
            ca_pem: String::new(),
            node_monitor_grace_period: Duration::from_secs(50),
            terminated_pods_max: 12_500,
            certificate_signer: None,
            token_signer: None,
        }
    }
}

/// What every controller is given. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub informers: Informers,
    /// The client of a controller, by its name: it writes under `kube-system/<name>`.
    pub client_for: Arc<dyn Fn(&str) -> Client + Send + Sync>,
    pub tasks: TaskSet,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
}

impl Context {
    pub(crate) fn client(&self, controller: &str) -> Client {
        (self.client_for)(controller)
    }

    pub(crate) fn events(&self, client: &Client, component: &str) -> EventRecorder {
        EventRecorder::new(client, component, "", &self.tasks)
    }

    /// Runs a reconciler once `synced` says that its caches are complete.
    pub(crate) fn run<R: Reconciler>(
        &self,
        name: &'static str,
        reconciler: R,
        queue: WorkQueue<R::Key>,
        workers: usize,
        synced: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.tasks.token();
        self.tasks.spawn(name, async move {
            if token.run_until_cancelled(synced).await.is_some() {
                run_reconciler(name, Arc::new(reconciler), queue, workers, token).await;
            }
        });
    }
}
