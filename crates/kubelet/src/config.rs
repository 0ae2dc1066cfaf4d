//! What the operator decides.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::corev1::Taint;
use std::collections::BTreeMap;

use crate::node::thresholds::Thresholds;

#[derive(Debug, Clone)]
pub struct Config {
    pub node_name: String,
    pub node_ip: IpAddr,
    /// Volumes, logs, what must survive a reboot.
    pub data_dir: PathBuf,
    /// Sandboxes and sockets, gone with a reboot.
    pub run_dir: PathBuf,
    /// The cgroup below which all pods live, an absolute path in the hierarchy.
    pub cgroup_root: String,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The file that pods with the host's resolver get.
    pub resolv_conf: PathBuf,
    pub max_pods: u32,
    pub taints: Vec<Taint>,
    pub labels: BTreeMap<String, String>,
    /// Where the kubelet's server listens; shown in the node's `daemonEndpoints`.
    pub port: u16,
    pub version: String,
    pub lease_duration: Duration,
    pub status_period: Duration,
    /// How often everything is looked at again although nothing was heard.
    pub relist_period: Duration,
    pub log_size_max: u64,
    pub log_files_max: u32,
    /// Kept back from pods: subtracted from the capacity.
    pub system_reserved: BTreeMap<String, String>,
    /// Below these the node says that it is under pressure, and gets no more pods.
    pub eviction_hard: Thresholds,
}

impl Config {
    /// Upstream's defaults for everything that has one.
    pub fn new(
        node_name: impl Into<String>,
        node_ip: IpAddr,
        data_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
    ) -> Self {
        Config {
            node_name: node_name.into(),
            node_ip,
            data_dir: data_dir.into(),
            run_dir: run_dir.into(),
            cgroup_root: "/kubepods".to_owned(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            max_pods: 110,
            taints: Vec::new(),
            labels: BTreeMap::new(),
            port: 10250,
            version: concat!("v1.36.2+coracle", env!("CARGO_PKG_VERSION")).to_owned(),
            lease_duration: Duration::from_secs(40),
            status_period: Duration::from_mins(5),
            relist_period: Duration::from_mins(1),
            log_size_max: 10 << 20,
            log_files_max: 5,
            system_reserved: BTreeMap::new(),
            eviction_hard: Thresholds::default(),
        }
    }
}
