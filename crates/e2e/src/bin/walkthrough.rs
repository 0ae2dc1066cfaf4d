//! Walks through a running dev cluster and prints a tick for each way of access.

use std::path::PathBuf;

use clap::Parser;
use e2e::walkthrough::{Walk, run};
use e2e::{Cluster, cluster};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "demo")]
    name: String,
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The kubectl to type with [default: our own]
    #[arg(long)]
    kubectl: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let home = || std::env::home_dir().unwrap_or_else(|| "/root".into()).join(".kube/config");
    let given = std::env::var_os("KUBECONFIG").and_then(|paths| std::env::split_paths(&paths).next());
    let kubeconfig = arguments.kubeconfig.or(given).unwrap_or_else(home);
    let cluster = Cluster::existing(&arguments.name, kubeconfig);
    let own = cluster::binary();
    let program: Vec<&str> = match &arguments.kubectl {
        Some(path) => vec![path],
        None => vec![own.to_str().unwrap_or("coracle"), "kubectl"],
    };
    let walk = Walk { cluster: &cluster, kubectl: cluster.kubectl(&program), requests: 60 };
    run(&walk, &mut |what| println!("  \u{2713} {what}"))
}
