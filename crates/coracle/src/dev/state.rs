//! What a dev cluster leaves on disk, and where.
//!
//! ```text
//! /var/lib/coracle/dev/<cluster>/cluster.json     names, addresses, ports
//!                               /images           shared by all nodes
//!                               /nodes/<node>/…   data (becomes /var/lib/coracle there), etc, log, pid
//! /run/coracle/dev/<cluster>/netns/…              the LAN's network namespaces
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

const STATE: &str = "/var/lib/coracle/dev";
const RUN: &str = "/run/coracle/dev";
const NAME_LEN_MAX: usize = 30;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    pub nodes: Vec<NodeRecord>,
    /// The API's port on this machine's loopback.
    pub api_port: u16,
    pub kubeconfig: PathBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    pub name: String,
    pub address: Ipv4Addr,
    pub control_plane: bool,
}

impl Cluster {
    /// A cluster that was started here.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        check_name(name)?;
        let path = Path::new(STATE).join(name).join("cluster.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("there is no dev cluster \"{name}\"; `coracle dev up --name {name}` starts one")
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))
    }

    /// Every cluster that was started here.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(STATE) else { return Ok(Vec::new()) };
        let mut clusters = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            clusters.extend(Self::open(&name).ok());
        }
        clusters.sort_by(|a: &Self, b| a.name.cmp(&b.name));
        Ok(clusters)
    }

    pub fn save(&self) -> anyhow::Result<()> {
        crate::join::write_private(&self.directory().join("cluster.json"), &serde_json::to_vec_pretty(self)?)
    }

    pub fn directory(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    pub fn images(&self) -> PathBuf {
        self.directory().join("images")
    }

    pub fn run_directory(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    pub fn netns(&self, name: &str) -> PathBuf {
        self.run_directory().join("netns").join(name)
    }

    pub fn node_directory(&self, node: &str) -> PathBuf {
        self.directory().join("nodes").join(node)
    }

    pub fn node(&self, name: &str) -> anyhow::Result<&NodeRecord> {
        let names = || self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| format!("cluster \"{}\" has no node \"{name}\"; it has {}", self.name, names()))
    }

    pub fn control_plane(&self) -> anyhow::Result<&NodeRecord> {
        self.nodes.iter().find(|node| node.control_plane).context("the cluster has no control plane")
    }

    /// The cgroup of everything in a node.
    pub fn cgroup(&self, node: &str) -> String {
        format!("/coracle-dev-{}/{node}", self.name)
    }

    /// The first process of a node, while it runs.
    pub fn pid(&self, node: &str) -> Option<i32> {
        let text = fs::read_to_string(self.node_directory(node).join("pid")).ok()?;
        let mut words = text.split_whitespace();
        let pid: i32 = words.next()?.parse().ok()?;
        // A process of the same number that began at another time is somebody else's.
        (start_time(pid)? == words.next()?).then_some(pid)
    }
}

/// When a process began, as the kernel counts it.
pub fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|time| (*time).to_owned()))?
}

pub fn check_name(name: &str) -> anyhow::Result<()> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let fits = name.len() <= NAME_LEN_MAX && name.bytes().all(valid);
    ensure!(
        fits && ends(name.bytes().next()) && ends(name.bytes().last()),
        "\"{name}\" cannot name a cluster: lower-case letters, digits and inner dashes, {NAME_LEN_MAX} at most"
    );
    Ok(())
}

/// The nodes of a new cluster: the names and addresses that its first users know.
pub fn nodes(workers: u8) -> Vec<NodeRecord> {
    let control_plane =
        NodeRecord { name: "k8s-master".into(), address: Ipv4Addr::new(172, 28, 128, 14), control_plane: true };
    let addresses = (10..=253).filter(|last| *last != 14);
    let worker = |(number, last): (u8, u8)| NodeRecord {
        name: format!("k8s-node{number}"),
        address: Ipv4Addr::new(172, 28, 128, last),
        control_plane: false,
    };
    std::iter::once(control_plane).chain((1..=workers).zip(addresses).map(worker)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_nodes_are_those_of_the_walk_through() {
        let names: Vec<_> = nodes(2).iter().map(|node| format!("{} {}", node.name, node.address)).collect();
        assert_eq!(names, ["k8s-master 172.28.128.14", "k8s-node1 172.28.128.10", "k8s-node2 172.28.128.11"]);
        assert!(nodes(100).iter().filter(|node| node.address.octets()[3] == 14).count() == 1);
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for name in ["", "..", "a/b", "-a", "a-", "A", &"a".repeat(31)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("dev-2").is_ok());
    }

    #[test]
    fn a_process_is_known_by_when_it_began() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(start_time(own).is_some());
        assert!(start_time(0).is_none());
    }
}
