//! The kubelet's seam to the pod network, filled.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use api::corev1::Node;
use async_trait::async_trait;
use client::Client;
use controller_runtime::{Informers, Selection};
use kubelet::{HostPort, NetworkError, PodAddresses, PodRef};
use rt::TaskSet;

use super::NodeArguments;

pub struct Network {
    network: Arc<pod_network::PodNetwork>,
    ranged: tokio::sync::watch::Receiver<bool>,
    /// The same, of which the kubelet waits for changes.
    news: tokio::sync::Mutex<tokio::sync::watch::Receiver<bool>>,
}

impl Network {
    pub fn open(arguments: &NodeArguments, name: &str, client: &Client, tasks: &TaskSet) -> anyhow::Result<Arc<Self>> {
        let config = pod_network::Config::new(arguments.data_dir.join("network"));
        let network = Arc::new(pod_network::PodNetwork::open(&config).context("open the pod network")?);
        let living: Vec<String> =
            container::list_run_dir(&arguments.run_dir)?.into_iter().map(|sandbox| sandbox.config.uid).collect();
        network
            .retain(|uid| living.iter().any(|known| known == uid))
            .context("free the addresses of pods that are gone")?;
        let (has_range, ranged) = tokio::sync::watch::channel(false);
        let nodes = Informers::new(client, tasks)
            .lister_for::<Node>(Selection { field_selector: format!("metadata.name={name}"), ..Selection::default() });
        let told = network.clone();
        nodes.subscribe(move |change| {
            let cidr = change.object().spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
            if let Some(cidr) = cidr.and_then(|cidr| cidr.parse().ok()) {
                told.set_pod_cidr(cidr);
                has_range.send_if_modified(|known| !std::mem::replace(known, true));
            }
        });
        let news = tokio::sync::Mutex::new(ranged.clone());
        Ok(Arc::new(Self { network, ranged, news }))
    }
}

fn network_error(error: &(dyn std::error::Error + 'static)) -> NetworkError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    NetworkError::new(text)
}

fn host_port(port: &HostPort) -> pod_network::HostPort {
    let protocol = match port.protocol.as_str() {
        "UDP" => pod_network::Protocol::Udp,
        "SCTP" => pod_network::Protocol::Sctp,
        _ => pod_network::Protocol::Tcp,
    };
    let host_ip = match port.host_ip {
        Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
        _ => None,
    };
    pod_network::HostPort { protocol, host_ip, host_port: port.host_port, container_port: port.container_port }
}

#[async_trait]
impl kubelet::PodNetwork for Network {
    async fn attach(&self, pod: &PodRef, netns: &Path, host_ports: &[HostPort]) -> Result<PodAddresses, NetworkError> {
        let (network, uid, netns) = (self.network.clone(), pod.uid.clone(), netns.to_owned());
        let ports: Vec<_> = host_ports.iter().map(host_port).collect();
        let attached = tokio::task::spawn_blocking(move || network.attach(&uid, &netns, &ports)).await;
        let ips = attached.map_err(|error| network_error(&error))?.map_err(|error| network_error(&error))?;
        Ok(PodAddresses { ips })
    }

    async fn detach(&self, pod: &PodRef, _netns: Option<&Path>) -> Result<(), NetworkError> {
        let (network, uid) = (self.network.clone(), pod.uid.clone());
        let detached = tokio::task::spawn_blocking(move || network.detach(&uid)).await;
        detached.map_err(|error| network_error(&error))?.map_err(|error| network_error(&error))
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        if *self.ranged.borrow() {
            return Ok(());
        }
        Err(NetworkError::new("the node has no range of pod addresses yet"))
    }

    async fn changed(&self) {
        if self.news.lock().await.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
