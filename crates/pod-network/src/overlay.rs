use std::sync::Arc;
use std::time::Duration;

use api::corev1::Node;
use controller_runtime::{Informers, Lister};
use netlink::{Change, Ipv4Cidr, Monitor};
use nft::Notice;
use rt::{Backoff, CancellationToken};
use tokio::sync::Notify;

use crate::tunnel::masquerade_table;
use crate::{Error, Tunnel, member};

#[derive(Clone, Debug)]
pub struct OverlayConfig {
    pub node_name: String,
    /// Addresses of all pods of the cluster: what goes elsewhere takes the node's own address.
    pub cluster_cidr: Ipv4Cidr,
    pub device: String,
    pub vni: u32,
    pub port: u16,
}

impl OverlayConfig {
    pub fn new(node_name: impl Into<String>, cluster_cidr: Ipv4Cidr) -> Self {
        Self { node_name: node_name.into(), cluster_cidr, device: "coracle.1".to_owned(), vni: 1, port: 8472 }
    }
}

/// Keeps the tunnel to the other nodes, from Node objects and whatever happens to the device.
pub struct Overlay {
    config: OverlayConfig,
    nodes: Lister<Node>,
    tunnel: Tunnel,
}

impl Overlay {
    /// Works in the network namespace of the calling thread.
    pub fn new(config: OverlayConfig, informers: &Informers) -> Result<Self, Error> {
        Ok(Self { nodes: informers.lister(), tunnel: Tunnel::open(config.clone())?, config })
    }

    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut links = Monitor::open()?;
        let mut rules = nft::Monitor::open()?;
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        self.nodes.subscribe(move |_| wake.notify_one());
        tracing::info!(device = %self.config.device, "watching nodes for the pod network");
        if shutdown.run_until_cancelled(self.nodes.synced()).await.is_none() {
            return Ok(());
        }
        self.tunnel.prepare()?;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 2.0);
        loop {
            let retry = self.sync_and_report(&mut backoff);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = changed.notified() => {}
                () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
                changes = links.changes() => self.report_changes(&changes?),
                notice = rules.next() => self.repair_rules(&notice?)?,
            }
        }
    }

    /// One pass; after a failure, in how long to try again.
    fn sync_and_report(&self, backoff: &mut Backoff) -> Option<Duration> {
        match self.sync() {
            Ok(()) => {
                backoff.reset();
                None
            }
            Err(error) => {
                let retry = backoff.next();
                tracing::warn!(error = %chain(&error), ?retry, "pod network not in order; trying again");
                Some(retry)
            }
        }
    }

    fn sync(&self) -> Result<(), Error> {
        let (mine, others): (Vec<_>, Vec<_>) = self
            .nodes
            .list()
            .iter()
            .filter_map(|node| member(node))
            .partition(|member| member.name == self.config.node_name);
        let Some(me) = mine.into_iter().next() else {
            tracing::info!("waiting for this node's address and pod range");
            return Ok(());
        };
        self.tunnel.converge(&me, &others)
    }

    fn report_changes(&self, changes: &[Change]) {
        let removed = |change: &Change| matches!(change, Change::LinkDeleted(link) if link.name == self.config.device);
        if changes.iter().any(removed) {
            tracing::warn!(device = %self.config.device, "the pod network's device was removed by another program; restoring");
        }
    }

    fn repair_rules(&self, notice: &Notice) -> Result<(), Error> {
        let Notice::Committed { port, by, changes } = notice else {
            return self.tunnel.restore_rules();
        };
        let ours = |change: &nft::Change| change.deleted && change.table == masquerade_table().name;
        if *port != self.tunnel.rules_port() && changes.iter().any(ours) {
            tracing::warn!(program = %by.name, pid = by.id, "pod network rules were removed by another program; restoring");
            self.tunnel.restore_rules()?;
        }
        Ok(())
    }
}

/// An error with all its causes, for a log line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
