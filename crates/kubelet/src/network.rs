//! The seam to the pod network.

use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A port of the node that leads to the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub protocol: String,
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
}

/// The pod's addresses, the primary one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodAddresses {
    pub ips: Vec<IpAddr>,
}

/// Why a pod could not be attached; the text is shown to users.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NetworkError {
    pub message: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl NetworkError {
    pub fn new(message: impl Into<String>) -> Self {
        NetworkError { message: message.into(), source: None }
    }
}

/// Connects pods. Both calls are idempotent: attaching an attached pod gives its addresses again.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    async fn attach(&self, pod: &PodRef, netns: &Path, host_ports: &[HostPort]) -> Result<PodAddresses, NetworkError>;

    /// `netns` may be gone already.
    async fn detach(&self, pod: &PodRef, netns: Option<&Path>) -> Result<(), NetworkError>;

    /// Whether pods can be attached; until then the node is not ready, for the reason given.
    async fn ready(&self) -> Result<(), NetworkError>;

    /// Returns when what [`PodNetwork::ready`] says may have changed since the last call.
    async fn changed(&self) {
        std::future::pending().await
    }
}
