//! `coracle dev up`: makes a cluster and waits until it is ready.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use auth::join::JoinToken;
use auth::pki::Pki;
use client::kubeconfig::Kubeconfig;
use client::{Client, HttpsTransport};
use image::{Config, Images, Registries};

use super::roles::{self, NodeSpec};
use super::state::{self, Cluster, NodeRecord};
use super::{OneNode, Up, down, lan, ready};
use crate::join::{random_secret, write_private};
use crate::server::{admin_endpoint, tls_dir};

const API_PORT: u16 = 6443;
/// In a node's data directory.
const REGISTRIES: &str = "registries.yaml";

pub async fn run(arguments: Up) -> anyhow::Result<()> {
    crate::agent::require_root()?;
    state::check_name(&arguments.name)?;
    check_machine()?;
    if let Ok(known) = Cluster::open(&arguments.name) {
        bail!(
            "the dev cluster \"{0}\" exists already (started with {1} nodes); `coracle dev down --name {0}` ends it",
            known.name,
            known.nodes.len()
        );
    }
    let began = Instant::now();
    let (cluster, socket) = plan(&arguments)?;
    match build(&cluster, &arguments, socket).await {
        Ok(()) => {
            println!("Cluster \"{}\" is ready after {:.1} s.", cluster.name, began.elapsed().as_secs_f64());
            println!("Context \"{}\" is current in {}.", context_name(&cluster.name), cluster.kubeconfig.display());
            Ok(())
        }
        Err(error) => {
            let logs = logs(&cluster);
            down::remove(&cluster).context("remove what was begun")?;
            Err(error.context(format!("start the cluster \"{}\"{logs}", cluster.name)))
        }
    }
}

/// What the kernel must be able to do, checked before anything is made.
fn check_machine() -> anyhow::Result<()> {
    let filesystems = fs::read_to_string("/proc/filesystems").context("read /proc/filesystems")?;
    ensure!(filesystems.contains("overlay"), "the kernel has no overlayfs; load it with `modprobe overlay`");
    ensure!(Path::new("/proc/self/ns/pid").exists(), "the kernel has no process namespaces");
    ensure!(Path::new("/sys/fs/cgroup").exists(), "no cgroup file system is mounted at /sys/fs/cgroup");
    Ok(())
}

fn plan(arguments: &Up) -> anyhow::Result<(Cluster, TcpListener)> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, API_PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("find a port on the loopback for the API")?;
    let cluster = Cluster {
        name: arguments.name.clone(),
        nodes: state::nodes(arguments.workers),
        api_port: socket.local_addr()?.port(),
        kubeconfig: arguments.kubeconfig.clone().unwrap_or_else(default_kubeconfig),
    };
    Ok((cluster, socket))
}

fn default_kubeconfig() -> PathBuf {
    if let Some(path) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
        // kubectl merges several files; the first is the one that it writes to.
        if let Some(first) = std::env::split_paths(&path).next() {
            return first;
        }
    }
    std::env::home_dir().unwrap_or_else(|| "/root".into()).join(".kube/config")
}

pub fn context_name(cluster: &str) -> String {
    format!("coracle-{cluster}")
}

async fn build(cluster: &Cluster, arguments: &Up, socket: TcpListener) -> anyhow::Result<()> {
    let progress = ready::Progress::new();
    cluster.save()?;
    progress.step("making the network");
    lan::create(cluster)?;
    fs::create_dir_all(cluster.images())?;
    import(cluster, &arguments.imports).await?;
    let control_plane = cluster.control_plane()?;
    let data = cluster.node_directory(&control_plane.name).join("data");
    let pki = Pki::open(&tls_dir(&data)).context("make the certificates")?;
    let token = JoinToken::new(pki.ca.digest(), &random_secret());
    copy_registries(cluster, arguments.registries.as_deref())?;
    progress.step("starting the nodes");
    start_node(cluster, control_plane, &token, Some(socket))?;
    for node in cluster.nodes.iter().filter(|node| !node.control_plane) {
        start_node(cluster, node, &token, None)?;
    }
    let endpoint = admin_endpoint(&pki, &format!("https://127.0.0.1:{}", cluster.api_port))?;
    let client = Client::new(std::sync::Arc::new(HttpsTransport::new(endpoint.clone())?), "coracle-dev");
    ready::wait(cluster, &client, &progress).await?;
    let mut kubeconfig = match Kubeconfig::read(&cluster.kubeconfig) {
        Ok(existing) => existing,
        Err(_) if !cluster.kubeconfig.exists() => Kubeconfig::default(),
        Err(error) => return Err(error).context("add the cluster to the kubeconfig"),
    };
    kubeconfig.merge(Kubeconfig::single(&context_name(&cluster.name), &endpoint));
    kubeconfig.write(&cluster.kubeconfig)?;
    progress.done();
    Ok(())
}

async fn import(cluster: &Cluster, archives: &[PathBuf]) -> anyhow::Result<()> {
    if archives.is_empty() {
        return Ok(());
    }
    let snapshots = cluster.directory().join("import");
    let images = Images::open(Config { content: cluster.images(), snapshots, registries: Registries::default() })?;
    for archive in archives {
        images.import(archive).await.with_context(|| format!("import {}", archive.display()))?;
    }
    Ok(())
}

/// Gives every node the file, if it is one that an agent can read.
fn copy_registries(cluster: &Cluster, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Registries::read(file).map_err(anyhow::Error::msg)?;
    for node in &cluster.nodes {
        write_private(&cluster.node_directory(&node.name).join("data").join(REGISTRIES), &text)?;
    }
    Ok(())
}

fn start_node(
    cluster: &Cluster,
    node: &NodeRecord,
    token: &JoinToken,
    socket: Option<TcpListener>,
) -> anyhow::Result<()> {
    let directory = cluster.node_directory(&node.name);
    fs::create_dir_all(directory.join("data/images"))?;
    write_etc(cluster, node, &directory.join("etc"))?;
    fs::create_dir_all(crate::agent::DATA_DIR)?;
    let spec = NodeSpec {
        hostname: node.name.clone(),
        netns: cluster.netns(&node.name),
        data: directory.join("data"),
        images: cluster.images(),
        etc: directory.join("etc"),
        log: directory.join("log"),
        pid_file: directory.join("pid"),
        arguments: arguments(cluster, node, token)?,
    };
    roles::start(&spec, &directory, socket)
}

fn write_etc(cluster: &Cluster, node: &NodeRecord, etc: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(etc)?;
    let hosts: String = cluster.nodes.iter().map(|node| format!("{} {}\n", node.address, node.name)).collect();
    fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n{hosts}"))?;
    fs::write(etc.join("hostname"), format!("{}\n", node.name))?;
    fs::write(etc.join("resolv.conf"), "# This LAN has no resolver.\n")?;
    Ok(())
}

/// What the node's program is started with.
fn arguments(cluster: &Cluster, node: &NodeRecord, token: &JoinToken) -> anyhow::Result<Vec<String>> {
    let common = [
        // The machine's own file is not about the nodes of a dev cluster.
        "--config=/dev/null".to_owned(),
        format!("--node-name={}", node.name),
        format!("--node-ip={}", node.address),
        format!("--cgroup-root={}", cluster.cgroup(&node.name)),
        format!("--token={token}"),
        // All nodes share this machine's disk, and none of them can make room on it.
        "--eviction-hard=nodefs.available<0%".to_owned(),
    ];
    let own: Vec<String> = if node.control_plane {
        vec![
            "server".into(),
            "--listen-on-stdin".into(),
            "--node-taint=node-role.kubernetes.io/control-plane:NoSchedule".into(),
            format!("--load-balancer-pool={}", lan::POOL),
        ]
    } else {
        vec!["agent".into(), format!("--server=https://{}:{API_PORT}", cluster.control_plane()?.address)]
    };
    let given = cluster.node_directory(&node.name).join("data").join(REGISTRIES).exists();
    let registries = given.then(|| format!("--private-registry={}/{REGISTRIES}", crate::agent::DATA_DIR));
    Ok(own.into_iter().chain(common).chain(registries).collect())
}

/// Switches a node on again, as it was.
pub fn start_again(arguments: &OneNode) -> anyhow::Result<()> {
    let cluster = Cluster::open(&arguments.name)?;
    let node = cluster.node(&arguments.node)?;
    ensure!(cluster.pid(&node.name).is_none(), "node {} runs", node.name);
    let directory = cluster.node_directory(&node.name);
    let spec: NodeSpec = serde_json::from_slice(&fs::read(directory.join("spec.json"))?)?;
    let socket = match node.control_plane {
        true => Some(TcpListener::bind((Ipv4Addr::LOCALHOST, cluster.api_port)).context("take the API's port again")?),
        false => None,
    };
    roles::start(&spec, &directory, socket)?;
    println!("Node {} is on.", node.name);
    Ok(())
}

/// The ends of the nodes' logs, to show with an error.
fn logs(cluster: &Cluster) -> String {
    let mut text = String::new();
    for node in &cluster.nodes {
        let log = fs::read_to_string(cluster.node_directory(&node.name).join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(5)..];
        if !last.is_empty() {
            text.push_str(&format!("\n--- {}\n{}", node.name, last.join("\n")));
        }
    }
    text
}
