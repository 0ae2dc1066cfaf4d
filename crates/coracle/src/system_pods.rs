//! What runs in the cluster's own pods, from the built-in image.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use clap::Args;
use controller_runtime::Informers;
use dns::{Dns, DnsConfig};
use load_balancer::{Announcer, AnnouncerConfig, Pool};
use netlink::Ipv4Cidr;
use pod_network::{Overlay, OverlayConfig};
use rt::{CancellationToken, TaskSet};
use service_proxy::{NodeFacts, ProxyConfig, ServiceProxy};

use crate::{logging, pod_client};

#[derive(Args)]
pub struct NetworkAgent {
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    #[arg(long, env = "NODE_IP")]
    node_ip: Ipv4Addr,
    #[arg(long, default_value = "10.244.0.0/16")]
    cluster_cidr: Ipv4Cidr,
    /// Addresses for services of type LoadBalancer: ranges, networks, addresses
    #[arg(long, default_value = "")]
    load_balancer_pool: Pool,
}

#[derive(Args)]
pub struct DnsServer {
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// The address of the DNS service itself
    #[arg(long, default_value = "10.96.0.10")]
    own_address: IpAddr,
}

pub async fn network_agent(arguments: NetworkAgent) -> anyhow::Result<()> {
    logging::start();
    let client = pod_client::open("coracle-network-agent")?;
    let tasks = TaskSet::new();
    let informers = Informers::new(&client, &tasks);
    let NetworkAgent { node_name, node_ip, cluster_cidr, load_balancer_pool } = arguments;
    let overlay = Overlay::new(OverlayConfig::new(node_name.clone(), cluster_cidr), &informers)?;
    let proxy =
        ServiceProxy::new(ProxyConfig { node: NodeFacts { name: node_name.clone(), cluster_cidr } }, &informers)?;
    let announcer =
        Announcer::new(AnnouncerConfig { node_name, node_ip, pool: load_balancer_pool }, &client, &informers)?;
    let token = tasks.token();
    supervise(&tasks, "overlay", overlay.run(token.clone()));
    supervise(&tasks, "service proxy", proxy.run(token.clone()));
    supervise(&tasks, "announcer", announcer.run(token.clone()));
    until_stopped(&token).await?;
    tasks.shutdown().await;
    Ok(())
}

pub async fn dns(arguments: DnsServer) -> anyhow::Result<()> {
    logging::start();
    let client = pod_client::open("coracle-dns")?;
    let tasks = TaskSet::new();
    let informers = Informers::new(&client, &tasks);
    let config = DnsConfig {
        domain: arguments.cluster_domain,
        own_addresses: vec![arguments.own_address],
        ..DnsConfig::default()
    };
    let token = tasks.token();
    supervise(&tasks, "dns", Dns::new(config, &informers).run(token.clone()));
    until_stopped(&token).await?;
    tasks.shutdown().await;
    Ok(())
}

/// A part that fails ends the program: the kubelet starts it again, and says so.
fn supervise<E>(tasks: &TaskSet, name: &'static str, part: impl Future<Output = Result<(), E>> + Send + 'static)
where
    E: std::error::Error + 'static,
{
    let token = tasks.token();
    tasks.spawn(name, async move {
        if let Err(error) = part.await {
            tracing::error!(part = name, error = &error as &dyn std::error::Error, "stopped");
            token.cancel();
        }
    });
}

/// Waits for the signal that ends a program, or for the tasks to be cancelled by one of them.
pub async fn until_stopped(token: &CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = token.cancelled() => anyhow::bail!("a part of the program failed"),
    }
}
