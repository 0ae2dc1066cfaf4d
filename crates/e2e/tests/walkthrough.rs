//! The walk-through, typed with every kubectl that this machine has, and with our own.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use e2e::walkthrough::{Walk, run};
use e2e::{Cluster, cluster, kubectl};

/// Enough for chance to be told from a lean, and enough to see a service that answers at all.
const MANY: u32 = 3000;
const FEW: u32 = 60;

fn walk(cluster: &Cluster, program: &[&str], requests: u32) {
    eprintln!("with {}", program.join(" "));
    let walk = Walk { cluster, kubectl: cluster.kubectl(program), requests };
    run(&walk, &mut |what| eprintln!("  \u{2713} {what}")).expect("every step");
}

#[test]
fn the_walk_through_works_with_every_kubectl() {
    if !cluster::is_root() {
        eprintln!("SKIPPED: a dev cluster needs root");
        return;
    }
    let cluster = Cluster::start("e2e-walk").unwrap();
    let own = cluster::binary();
    walk(&cluster, &[own.to_str().unwrap(), "kubectl"], MANY);
    for version in ["1.27", "1.28", "1.30", "1.33", "1.36"] {
        match kubectl::of_version(version) {
            Some(path) => walk(&cluster, &[path.to_str().unwrap()], FEW),
            None => eprintln!("SKIPPED: kubectl {version} is not on this machine"),
        }
    }
}
