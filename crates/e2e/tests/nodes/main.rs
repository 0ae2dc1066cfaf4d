//! A cluster with workers, as its users and upstream's conformance tests use it: commands that need a node, service accounts in
//! pods, controllers of pods that run, servers that pods are, and agents that know their API server by TLS alone.
//!
//! One cluster for all. `CORACLE_NODES=text,text` runs only the steps whose name has one of the texts.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod agents;
mod commands;
mod copies;
mod debugging;
mod joining;
mod machinery;
mod servers;
mod user;
mod workloads;

use anyhow::Result;
use e2e::{Cluster, cluster, kubectl};

use user::User;

type Step = (&'static str, fn(&User<'_>) -> Result<()>);

#[test]
fn commands_conformance_and_agents_without_a_store_work_on_workers() {
    if !cluster::is_root() {
        eprintln!("SKIPPED: a dev cluster needs root");
        return;
    }
    let cluster = Cluster::start("e2e-nodes").unwrap();
    let own = User::new(&cluster, "own", &cluster::binary(), &["kubectl"]);
    let newest = kubectl::of_version("1.36");
    let real = newest.as_ref().map(|path| User::new(&cluster, "real", path, &[]));
    if real.is_none() {
        eprintln!("SKIPPED: kubectl 1.36 is not on this machine");
    }
    let mut failures = Vec::new();
    for user in [Some(&own), real.as_ref()].into_iter().flatten() {
        user.run_all(&commands::steps(), &mut failures);
    }
    let user = match &newest {
        Some(path) => User::new(&cluster, "conformance", path, &[]),
        None => User::new(&cluster, "conformance", &cluster::binary(), &["kubectl"]),
    };
    for steps in [accounts::STEPS, workloads::STEPS, machinery::STEPS, servers::STEPS, agents::STEPS, joining::STEPS] {
        user.run_all(steps, &mut failures);
    }
    assert!(failures.is_empty(), "{} steps failed:\n{}", failures.len(), failures.join("\n"));
}
