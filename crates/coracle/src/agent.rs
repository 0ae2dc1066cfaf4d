//! A node: the kubelet with its images, its containers and its part of the pod network.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use api::corev1::{Node, Taint};
use async_trait::async_trait;
use auth::join::JoinToken;
use clap::Args;
use client::{Client, Endpoint, HttpsTransport, Identity};
use container::LinuxRuntime;
use controller_runtime::{Informers, Selection};
use image::{Images, Registries};
use kubelet::{Dependencies, HostPort, Kubelet, NetworkError, PodAddresses, PodRef};
use names::Names;
use rt::TaskSet;

use crate::join::{Credentials, Joining};
use crate::{logging, system_pods};

pub const DATA_DIR: &str = "/var/lib/coracle";
pub const RUN_DIR: &str = "/run/coracle";
pub const REGISTRIES: &str = "/etc/coracle/registries.yaml";
/// The built-in image: our own binary and nothing else.
pub const SYSTEM_IMAGE: &str = concat!("coracle.local/system:v", env!("CARGO_PKG_VERSION"));

#[derive(Args)]
pub struct Arguments {
    /// The server, `https://host:6443`
    #[arg(short, long, env = "CORACLE_URL")]
    server: String,
    /// The token that the server wrote to `<data dir>/server/token`
    #[arg(short, long, env = "CORACLE_TOKEN")]
    token: JoinToken,
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
    let Arguments { server, token, node } = arguments;
    let (name, address) = (node.name()?, node.address(&server).await?);
    let directory = node.data_dir.join("agent");
    let joining = Joining { server: &server, token: &token, node_name: &name, node_ip: address, directory: &directory };
    let credentials = crate::join::credentials(&joining).await?;
    let identity = Identity::Certificate {
        cert_pem: credentials.client_cert_pem.clone().into_bytes(),
        key_pem: credentials.client_key_pem.clone().into_bytes(),
    };
    let endpoint = Endpoint { server, ca_pem: credentials.ca_pem.clone().into_bytes(), identity };
    let client = Client::new(Arc::new(HttpsTransport::new(endpoint)?), "coracle-agent");
    let tasks = TaskSet::new();
    start(&node, &name, address, client, &credentials, &tasks).await?;
    system_pods::until_stopped(&tasks.token()).await?;
    tasks.shutdown().await;
    Ok(())
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
    client: Client,
    credentials: &Credentials,
    tasks: &TaskSet,
) -> anyhow::Result<()> {
    let images = open_images(arguments).await?;
    let runtime = LinuxRuntime::new(&arguments.run_dir, tasks.child()).await.context("start the container runtime")?;
    let network = Network::open(arguments, name, &client, tasks)?;
    let mut config = kubelet::Config::new(name, address, arguments.data_dir.join("kubelet"), &arguments.run_dir);
    config.cgroup_root = arguments.cgroup_root.clone();
    config.cluster_dns = vec![arguments.cluster_dns];
    config.cluster_domain = arguments.cluster_domain.clone();
    config.labels = arguments.node_label.iter().cloned().collect();
    config.taints = arguments.node_taint.clone();
    let port = config.port;
    let kubelet = Kubelet::new(
        Dependencies { config, client, runtime: Arc::new(runtime), images: Arc::new(images), network },
        tasks,
    );
    let server = kubelet.server();
    let tls = serving_config(credentials)?;
    let listener = tokio::net::TcpListener::bind((address, port))
        .await
        .with_context(|| format!("listen on {address}:{port} for the kubelet"))?;
    // The TLS configuration lets in whom the cluster's authority vouches for; of those, only administrators and the API
    // server may command containers.
    tasks.spawn("kubelet server", server.serve(listener, tls, Arc::new(may_command)));
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

fn may_command(caller: &kubelet::Caller<'_>) -> bool {
    let user = caller.certificates.first().and_then(auth::authn::user_of_certificate);
    user.is_some_and(|user| user.in_group(auth::names::MASTERS))
}

/// Serves to whom the cluster's authority vouches for.
fn serving_config(credentials: &Credentials) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(credentials.ca_pem.as_bytes())?)?;
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain =
        CertificateDer::pem_slice_iter(credentials.serving_cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(credentials.serving_key_pem.as_bytes())?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// The kubelet's seam to the pod network, filled.
struct Network {
    network: Arc<pod_network::PodNetwork>,
    ranged: tokio::sync::watch::Receiver<bool>,
    /// The same, of which the kubelet waits for changes.
    news: tokio::sync::Mutex<tokio::sync::watch::Receiver<bool>>,
}

impl Network {
    fn open(arguments: &NodeArguments, name: &str, client: &Client, tasks: &TaskSet) -> anyhow::Result<Arc<Self>> {
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
