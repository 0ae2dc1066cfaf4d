//! A node: the kubelet with its images, its containers and its part of the pod network.

mod membership;
mod network;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use api::corev1::Taint;
use auth::join::JoinToken;
use auth::pki::{self, ClientTrust};
use clap::Args;
use container::LinuxRuntime;
use image::{Images, Registries};
use kubelet::{Caller, Dependencies, Identify, Kubelet, Thresholds};
use names::Names;
use rt::TaskSet;

use crate::join::Joining;
use crate::{logging, system_pods};
pub use membership::Membership;
use membership::{KubeletFlags, Member};
use network::Network;

pub const DATA_DIR: &str = "/var/lib/coracle";
pub const RUN_DIR: &str = "/run/coracle";
pub const REGISTRIES: &str = "/etc/coracle/registries.yaml";
/// The built-in image: our own binary and nothing else.
pub const SYSTEM_IMAGE: &str = concat!("coracle.local/system:v", env!("CARGO_PKG_VERSION"));

#[derive(Args)]
pub struct Arguments {
    /// The server, `https://host:6443`
    #[arg(short, long, env = "CORACLE_URL", requires = "token")]
    server: Option<String>,
    /// The token that the server wrote to `<data dir>/server/token`
    #[arg(short, long, env = "CORACLE_TOKEN")]
    token: Option<JoinToken>,
    #[command(flatten)]
    kubelet: KubeletFlags,
    #[command(flatten)]
    node: NodeArguments,
}

/// What a node is started with, alone or beside a server.
#[derive(Args, Clone)]
pub struct NodeArguments {
    /// Flags by their long names, as YAML; the files of `<FILE>.d` follow. The command line goes first
    #[arg(short, long, value_name = "FILE", env = "CORACLE_CONFIG_FILE", default_value = crate::config_file::DEFAULT)]
    pub config: PathBuf,
    /// The name of the node [default: the host's name]
    #[arg(long, env = "CORACLE_NODE_NAME")]
    pub node_name: Option<String>,
    /// The address of the node [default: the one that leads to the server]
    #[arg(short = 'i', long)]
    pub node_ip: Option<IpAddr>,
    /// `key=value` labels of the node
    #[arg(long, value_parser = parse_label)]
    pub node_label: Vec<(String, String)>,
    /// `key=value:effect` taints of the node
    #[arg(long, value_parser = parse_taint)]
    pub node_taint: Vec<Taint>,
    #[arg(short, long, default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    #[arg(long, default_value = RUN_DIR)]
    pub run_dir: PathBuf,
    /// Mirrors and credentials of registries
    #[arg(long, default_value = REGISTRIES)]
    pub private_registry: PathBuf,
    /// Below these the node is under pressure and gets no more pods: `signal<amount` of memory.available, nodefs.available,
    /// pid.available, with commas between [default: memory.available<100Mi,nodefs.available<5%,pid.available<5%]
    #[arg(long, value_name = "THRESHOLDS")]
    pub eviction_hard: Option<Thresholds>,
    /// The cgroup below which pods live
    #[arg(long, default_value = "/kubepods")]
    pub cgroup_root: String,
    /// The address of the cluster's DNS
    #[arg(long, default_value = "10.96.0.10")]
    pub cluster_dns: IpAddr,
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_taint(text: &str) -> Result<Taint, String> {
    let (rest, effect) = text.rsplit_once(':').ok_or("a taint is key=value:effect or key:effect")?;
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(format!("{effect} is no effect: NoSchedule, PreferNoSchedule or NoExecute"));
    }
    let (key, value) = rest.split_once('=').map_or((rest, None), |(key, value)| (key, Some(value.to_owned())));
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

impl NodeArguments {
    pub fn name(&self) -> anyhow::Result<String> {
        if let Some(name) = &self.node_name {
            return Ok(name.clone());
        }
        let name = nix::unistd::gethostname().context("read the host's name")?;
        Ok(name.to_string_lossy().to_lowercase())
    }

    /// The given address, or the one by which `server` is reached.
    pub async fn address(&self, server: &str) -> anyhow::Result<IpAddr> {
        if let Some(address) = self.node_ip {
            return Ok(address);
        }
        let uri: http::Uri = server.parse().with_context(|| format!("read the server's address {server:?}"))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let advice = || format!("find the way to {host}; --node-ip names the address");
        let addresses = Names::default().addresses(host).await.with_context(advice)?;
        let port = uri.port_u16().unwrap_or(443);
        let there: Vec<SocketAddr> = addresses.into_iter().map(|address| (address, port).into()).collect();
        source_address(&there).with_context(advice)
    }
}

/// The address that this machine has towards the first of these that it knows a way to.
pub fn source_address(there: &[SocketAddr]) -> std::io::Result<IpAddr> {
    // Connecting a datagram socket sends nothing: it only asks the routes.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(there)?;
    Ok(socket.local_addr()?.ip())
}

/// Where images are kept: the same below every data directory.
pub fn content_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("images")
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    logging::start();
    require_root()?;
    let tasks = TaskSet::new();
    let started = join_and_start(arguments, &tasks);
    tokio::pin!(started);
    let token = tasks.token();
    let stopped = system_pods::until_stopped(&token);
    tokio::pin!(stopped);
    // Somebody may have to approve a certificate first: until then it can be stopped like later.
    let ended = tokio::select! {
        ended = &mut stopped => ended,
        started = &mut started => match started {
            Ok(()) => stopped.await,
            failed => failed,
        },
    };
    tasks.shutdown().await;
    ended
}

async fn join_and_start(arguments: Arguments, tasks: &TaskSet) -> anyhow::Result<()> {
    let Arguments { server, token, kubelet, node } = arguments;
    let name = node.name()?;
    let (address, membership) = match (server.zip(token), &kubelet.kubeconfig) {
        (Some((server, token)), _) => {
            let (node_ip, directory) = (node.address(&server).await?, node.data_dir.join("agent"));
            let joining = Joining { server, token, node_name: name.clone(), node_ip, directory };
            (node_ip, membership::joined(joining, tasks).await?)
        }
        (None, Some(kubeconfig)) => {
            let endpoint = membership::endpoint(&kubelet, kubeconfig, &name, &node.data_dir, tasks).await?;
            let address = node.address(&endpoint.server).await?;
            let member = Member { name: &name, address, data_dir: &node.data_dir };
            (address, membership::by_kubeconfig(&kubelet, &member, endpoint, tasks).await?)
        }
        (None, None) => anyhow::bail!("a node needs --server and --token, or --kubeconfig"),
    };
    start(&node, &name, address, membership, tasks).await
}

pub fn require_root() -> anyhow::Result<()> {
    anyhow::ensure!(rustix::process::geteuid().is_root(), "this needs root: it makes namespaces, mounts and cgroups");
    Ok(())
}

/// Starts the node's parts in `tasks`.
pub async fn start(
    arguments: &NodeArguments,
    name: &str,
    address: IpAddr,
    membership: Membership,
    tasks: &TaskSet,
) -> anyhow::Result<()> {
    let Membership { client, serving, callers } = membership;
    let images = open_images(arguments).await?;
    let runtime = LinuxRuntime::new(&arguments.run_dir, tasks.child()).await.context("start the container runtime")?;
    let network = Network::open(arguments, name, &client, tasks)?;
    let mut config = kubelet::Config::new(name, address, arguments.data_dir.join("kubelet"), &arguments.run_dir);
    config.cgroup_root = arguments.cgroup_root.clone();
    config.cluster_dns = vec![arguments.cluster_dns];
    config.cluster_domain = arguments.cluster_domain.clone();
    config.labels = arguments.node_label.iter().cloned().collect();
    config.taints = arguments.node_taint.clone();
    config.eviction_hard = arguments.eviction_hard.clone().unwrap_or_default();
    let port = config.port;
    let kubelet = Kubelet::new(
        Dependencies { config, client, runtime: Arc::new(runtime), images: Arc::new(images), network },
        tasks,
    );
    let server = kubelet.server();
    let tls = pki::server_config(serving, &callers)?;
    let listener = tokio::net::TcpListener::bind((address, port))
        .await
        .with_context(|| format!("listen on {address}:{port} for the kubelet"))?;
    tasks.spawn("kubelet server", server.serve(listener, tls, identify(callers)));
    tasks.spawn("kubelet", kubelet.run());
    Ok(())
}

async fn open_images(arguments: &NodeArguments) -> anyhow::Result<Images> {
    let registries = Registries::read(&arguments.private_registry).map_err(anyhow::Error::msg)?;
    let config = image::Config {
        content: content_dir(&arguments.data_dir),
        snapshots: arguments.data_dir.join("snapshots"),
        registries,
    };
    let images = Images::open(config).context("open the images")?;
    let binary = std::env::current_exe().context("find the own binary")?;
    images.ensure_builtin(SYSTEM_IMAGE, &binary).await?;
    Ok(images)
}

/// Whom a trusted certificate stands for. A stranger's is let through the handshake, to be told that he is one.
fn identify(trust: ClientTrust) -> Box<Identify> {
    Box::new(move |chain| {
        trust.verify(chain).ok()?;
        let user = auth::authn::user_of_certificate(chain.first()?)?;
        Some(Caller { name: user.name, uid: user.uid, groups: user.groups, extra: user.extra })
    })
}
