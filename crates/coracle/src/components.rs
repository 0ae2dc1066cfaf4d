//! The controllers and the scheduler as programs of their own, beside an API server that is elsewhere.
//!
//! Of several instances one leads: the one that holds the Lease. One that loses it ends, and is to be started again.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use api::corev1::Pod;
use apiserver::Ipv4Cidr;
use clap::{ArgAction, Args};
use client::kubeconfig::Kubeconfig;
use client::{Client, Endpoint, HttpsTransport, Identity, ServiceAccountTransport};
use controller_runtime::{Informers, LeaderElection};
use rt::{SystemClock, TaskSet};

use crate::join::random_secret;
use crate::signing::KeyFiles;
use crate::{logging, system_pods};

/// What both have.
#[derive(Args)]
struct Connection {
    /// The API server, and who this program is to it
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Work only while holding the Lease that other instances wait for
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    leader_elect: bool,
    #[arg(long, default_value = "kube-system")]
    leader_elect_resource_namespace: String,
}

/// Flags have the names of kube-controller-manager's.
#[derive(Args)]
pub struct ControllerManager {
    #[command(flatten)]
    connection: Connection,
    /// The certificate that pods are given to trust the API by [default: the kubeconfig's]
    #[arg(long)]
    root_ca_file: Option<PathBuf>,
    #[arg(long, default_value = "10.244.0.0/16")]
    cluster_cidr: Ipv4Cidr,
    /// Let each controller act as a service account of its own instead of as the kubeconfig's user
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    use_service_account_credentials: bool,
    #[command(flatten)]
    keys: KeyFiles,
}

/// Flags have the names of kube-scheduler's.
#[derive(Args)]
pub struct Scheduler {
    #[command(flatten)]
    connection: Connection,
}

pub async fn controller_manager(arguments: ControllerManager) -> anyhow::Result<()> {
    logging::start();
    let endpoint = arguments.connection.endpoint()?;
    let ca_pem = match &arguments.root_ca_file {
        Some(path) => std::fs::read(path).with_context(|| format!("read {}", path.display()))?,
        None => endpoint.ca_pem.clone(),
    };
    let config = controllers::Config {
        cluster_cidr: range(arguments.cluster_cidr)?,
        ca_pem: String::from_utf8(ca_pem).context("the root certificate is PEM")?,
        certificate_signer: arguments.keys.certificate_signer()?,
        token_signer: arguments.keys.token_signer()?,
        ..controllers::Config::default()
    };
    let client = Client::new(Arc::new(HttpsTransport::new(endpoint.clone())?), "kube-controller-manager");
    if arguments.use_service_account_credentials && !arguments.keys.signs_tokens() {
        tracing::warn!("service accounts are used as identities, and no key signs their tokens in secrets");
    }
    let client_for = clients(&client, &endpoint, arguments.use_service_account_credentials)?;
    let start = |tasks: &TaskSet| {
        controllers::start(&controllers::Context {
            informers: controllers::informers(&client, tasks),
            client_for,
            tasks: tasks.clone(),
            clock: Arc::new(SystemClock),
            config: Arc::new(config),
        });
    };
    arguments.connection.lead(&client, "kube-controller-manager", start).await
}

type ClientFor = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// The clients of controllers: the program's own, or one for each service account.
fn clients(client: &Client, endpoint: &Endpoint, by_account: bool) -> anyhow::Result<ClientFor> {
    const NAMESPACE: &str = "kube-system";
    let own = client.clone();
    let agent = |name: &str| format!("kube-controller-manager/{name}");
    if !by_account {
        return Ok(Arc::new(move |name| own.as_agent(&agent(name))));
    }
    let plain = Arc::new(HttpsTransport::new(Endpoint { identity: Identity::None, ..endpoint.clone() })?);
    Ok(Arc::new(move |name| {
        let transport = ServiceAccountTransport::new(&own, plain.clone(), NAMESPACE, name);
        Client::new(Arc::new(transport), &agent(name))
    }))
}

pub async fn scheduler(arguments: Scheduler) -> anyhow::Result<()> {
    logging::start();
    let transport = HttpsTransport::new(arguments.connection.endpoint()?)?;
    let client = Client::new(Arc::new(transport), "kube-scheduler");
    let start = |tasks: &TaskSet| scheduler::start(&client, &Informers::new(&client, tasks).as_text::<Pod>(), tasks);
    arguments.connection.lead(&client, "kube-scheduler", start).await
}

impl Connection {
    /// The kubeconfig's current context.
    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let kubeconfig = Kubeconfig::read(&self.kubeconfig)?;
        let base = self.kubeconfig.parent().unwrap_or(Path::new(""));
        kubeconfig.endpoint(None, base).with_context(|| format!("read {}", self.kubeconfig.display()))
    }

    /// Starts the work once this instance leads, and ends it when the program is told to stop or leads no longer.
    async fn lead(&self, client: &Client, name: &str, start: impl FnOnce(&TaskSet)) -> anyhow::Result<()> {
        let tasks = TaskSet::new();
        let token = tasks.token();
        let stopped = system_pods::until_stopped(&token);
        tokio::pin!(stopped);
        if !self.leader_elect {
            start(&tasks);
            stopped.await?;
            tasks.shutdown().await;
            return Ok(());
        }
        let mut election = LeaderElection::new(client, &self.leader_elect_resource_namespace, name, &identity()?);
        tokio::select! {
            stopped = &mut stopped => return stopped,
            () = election.acquire() => start(&tasks),
        }
        let ended = tokio::select! {
            stopped = &mut stopped => stopped,
            lost = election.keep() => Err(lost.into()),
        };
        tasks.shutdown().await;
        if ended.is_ok() {
            election.release().await;
        }
        ended
    }
}

/// Of this process alone.
fn identity() -> anyhow::Result<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(format!("{host}_{}", random_secret()))
}

/// A range as controllers take it.
pub fn range(cidr: Ipv4Cidr) -> anyhow::Result<(Ipv4Addr, u8)> {
    let text = cidr.to_string();
    let (base, prefix) = text.split_once('/').context("the cluster's range has a length")?;
    Ok((base.parse()?, prefix.parse()?))
}
