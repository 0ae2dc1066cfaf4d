//! `coracle dev status`.

use super::state::Cluster;

pub fn run(name: Option<&str>) -> anyhow::Result<()> {
    let clusters = match name {
        Some(name) => vec![Cluster::open(name)?],
        None => Cluster::all()?,
    };
    if clusters.is_empty() {
        println!("No dev cluster is here; `coracle dev up` starts one.");
    }
    for cluster in clusters {
        println!("{}   https://127.0.0.1:{}", cluster.name, cluster.api_port);
        for node in &cluster.nodes {
            let state = cluster.pid(&node.name).map_or("off".to_owned(), |pid| format!("on (process {pid})"));
            let role = if node.control_plane { "control plane" } else { "worker" };
            println!("  {:<12} {:<16} {:<14} {state}", node.name, node.address, role);
        }
    }
    Ok(())
}
