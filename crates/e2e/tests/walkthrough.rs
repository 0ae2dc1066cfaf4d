//! The walk-through, typed with every kubectl that this machine has, and with our own.
#![allow(clippy::disallowed_methods, reason = "black-box tests run programs")]

use std::path::Path;

use e2e::walkthrough::{Walk, run};
use e2e::{Cluster, cluster};

/// Where kubectl binaries of several versions are found.
const PLACES: [&str; 5] = [
    "/usr/lib/google-cloud-sdk/bin/kubectl.1.27",
    "/usr/lib/google-cloud-sdk/bin/kubectl.1.28",
    "/usr/lib/google-cloud-sdk/bin/kubectl.1.30",
    "/usr/lib/google-cloud-sdk/bin/kubectl.1.33",
    "/usr/bin/kubectl",
];

fn walk(cluster: &Cluster, program: &[&str]) {
    eprintln!("with {}", program.join(" "));
    let walk = Walk { cluster, kubectl: cluster.kubectl(program) };
    run(&walk, &mut |what| eprintln!("  \u{2713} {what}")).unwrap();
}

#[test]
fn the_walk_through_works_with_every_kubectl() {
    let root = std::process::Command::new("id").arg("-u").output().unwrap();
    if root.stdout != b"0\n" {
        eprintln!("SKIPPED: a dev cluster needs root");
        return;
    }
    let cluster = Cluster::start("e2e-walk").unwrap();
    let own = cluster::binary();
    walk(&cluster, &[own.to_str().unwrap(), "kubectl"]);
    for place in PLACES {
        if Path::new(place).exists() {
            walk(&cluster, &[place]);
        } else {
            eprintln!("SKIPPED: {place} is not on this machine");
        }
    }
}
