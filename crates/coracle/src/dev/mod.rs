//! Clusters of several nodes on this machine, without Docker or virtual machines.
//!
//! A node is a set of namespaces (network, mounts, processes, host name) on a virtual LAN; its first process keeps
//! `coracle server` or `coracle agent` running as a machine's service manager would. See [`lan`] for the wires, [`roles`] for
//! what runs in a node, [`state`] for what is on disk.

mod down;
pub mod enter;
mod lan;
mod ready;
pub mod roles;
pub mod state;
mod status;
mod up;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub const DEFAULT_NAME: &str = "dev";

#[derive(Subcommand)]
pub enum Command {
    /// Start a cluster and wait until it is ready
    Up(Up),
    /// End a cluster and remove every trace of it
    Down {
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// The file from which the cluster's context is removed [default: the one that `up` wrote]
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
    },
    /// Show clusters and their nodes
    Status {
        #[arg(long)]
        name: Option<String>,
    },
    /// Run a command on a node
    Exec(Exec),
    /// Run a command on a machine of the same LAN that is not in the cluster
    Client(OnClient),
    /// Switch a node off, as if its power was cut
    Stop(OneNode),
    /// Switch a node on again
    Start(OneNode),
}

#[derive(Args)]
pub struct Up {
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// How many nodes beside the control plane's
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub workers: u8,
    /// The file to which the cluster's context is added [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Image archives that every node is to have from the start
    #[arg(long = "import")]
    pub imports: Vec<PathBuf>,
    /// Mirrors and credentials of registries, for every node (as k3s' registries.yaml)
    #[arg(long)]
    pub registries: Option<PathBuf>,
}

#[derive(Args)]
pub struct OneNode {
    pub node: String,
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
}

#[derive(Args)]
pub struct Exec {
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    pub node: String,
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

#[derive(Args)]
pub struct OnClient {
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(arguments) => up::run(arguments).await,
        Command::Down { name, kubeconfig } => down::run(&name, kubeconfig),
        Command::Status { name } => status::run(name.as_deref()),
        Command::Stop(node) => down::stop(&node),
        Command::Start(node) => up::start_again(&node),
        Command::Exec(_) | Command::Client(_) => anyhow::bail!("this command runs before the runtime starts"),
    }
}
