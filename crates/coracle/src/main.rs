//! The one binary: which program it is to be, and nothing else.
//!
//! Roles that fork or change namespaces come first: they need a process with one thread.

mod addons;
mod agent;
mod api_flags;
mod audit_flags;
mod components;
mod config_file;
mod dev;
mod images;
mod in_process;
mod join;
mod logging;
mod pod_client;
mod ps;
mod server;
mod service_account_flags;
mod signing;
mod system_pods;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Kubernetes you can carry.
#[derive(Parser)]
#[command(name = "coracle", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a control plane, and a node beside it
    Server(Box<server::Arguments>),
    /// Run a node
    Agent(Box<agent::Arguments>),
    /// Run the controllers, against an API server that is elsewhere
    ControllerManager(Box<components::ControllerManager>),
    /// Run the scheduler, against an API server that is elsewhere
    Scheduler(components::Scheduler),
    /// Clusters of several nodes on this machine
    #[command(subcommand)]
    Dev(dev::Command),
    /// Images of this node, or of a dev cluster
    #[command(subcommand)]
    Image(images::Command),
    /// List the containers of this node
    Ps(ps::Arguments),
    /// Talk to a cluster
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Keep a node's overlay, service rules and announced addresses (runs in the cluster)
    #[command(hide = true)]
    NetworkAgent(system_pods::NetworkAgent),
    /// Serve the cluster's names (runs in the cluster)
    #[command(hide = true)]
    Dns(system_pods::DnsServer),
}

fn main() -> ExitCode {
    if let Some(code) = container::dispatch(std::env::args_os()) {
        return code;
    }
    if let Some(code) = dev::roles::dispatch(std::env::args_os()) {
        return code;
    }
    if is_kubectl() {
        return kubectl::main(std::env::args().skip(1).collect());
    }
    let arguments = match config_file::complete(&Arguments::command(), std::env::args_os().collect()) {
        Ok(line) => Arguments::parse_from(line),
        Err(error) => return failed(&error),
    };
    if let Command::Kubectl { arguments } = arguments.command {
        return kubectl::main(arguments);
    }
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("Error: {error:#}");
    ExitCode::FAILURE
}

fn is_kubectl() -> bool {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    name.as_deref().and_then(std::path::Path::file_name).is_some_and(|name| name == "kubectl")
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // Commands that run inside a node's namespaces enter them before there is a second thread.
    let command = match command {
        Command::Dev(dev::Command::Exec(exec)) => return dev::enter::node(&exec),
        Command::Dev(dev::Command::Client(client)) => return dev::enter::client(&client),
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Server(arguments) => server::run(*arguments).await,
            Command::Agent(arguments) => agent::run(*arguments).await,
            Command::ControllerManager(arguments) => components::controller_manager(*arguments).await,
            Command::Scheduler(arguments) => components::scheduler(arguments).await,
            Command::Dev(command) => dev::run(command).await,
            Command::Image(command) => images::run(command).await,
            Command::Ps(arguments) => ps::run(&arguments),
            Command::NetworkAgent(arguments) => system_pods::network_agent(arguments).await,
            Command::Dns(arguments) => system_pods::dns(arguments).await,
            Command::Kubectl { .. } => unreachable!("answered above"),
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done.map(|()| ExitCode::SUCCESS)
}
