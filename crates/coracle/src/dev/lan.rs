//! The wires: a switch in a network namespace of its own, a port for each machine, and no way out.
//!
//! ```text
//! lan: bridge lan0 (172.28.128.254, answers "unreachable" for everything else)
//!   ├─ eth0 of k8s-master     172.28.128.14
//!   ├─ eth0 of k8s-node1 …    172.28.128.10 …
//!   └─ eth0 of client         172.28.128.1, without a default route
//! ```

use std::fs::File;
use std::net::Ipv4Addr;

use anyhow::Context;
use netlink::{Handle, Ipv4Cidr, Route, RouteTarget, VethPeer, netns};

use super::state::Cluster;

pub const LAN: &str = "lan";
pub const CLIENT: &str = "client";
const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 28, 128, 1);
const ROUTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 28, 128, 254);
/// Given to services of type LoadBalancer.
pub const POOL: &str = "172.28.128.200-172.28.128.250";
const PREFIX: u8 = 24;
const MTU: u32 = 1500;
const BRIDGE: &str = "lan0";

/// Makes the LAN with all its machines.
pub fn create(cluster: &Cluster) -> anyhow::Result<()> {
    let lan = cluster.netns(LAN);
    netns::create(&lan)?;
    let switch = Handle::open_in(&lan)?;
    switch.add_bridge(BRIDGE, MTU)?;
    let bridge = switch.link(BRIDGE)?;
    switch.add_address(&bridge, cidr(ROUTER_ADDRESS)?)?;
    switch.set_up(&bridge)?;
    // The router knows no way out: it says so at once instead of letting senders wait.
    netns::in_netns(&lan, || netlink::sysctl::set("ipv4/ip_forward", "1"))??;
    plug(cluster, CLIENT, "port-client", CLIENT_ADDRESS, false)?;
    for (number, node) in cluster.nodes.iter().enumerate() {
        plug(cluster, &node.name, &format!("port-{number}"), node.address, true)?;
    }
    Ok(())
}

/// Makes a machine's network namespace and its cable.
fn plug(cluster: &Cluster, machine: &str, port: &str, address: Ipv4Addr, routed: bool) -> anyhow::Result<()> {
    let path = cluster.netns(machine);
    netns::create(&path)?;
    let namespace = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let switch = Handle::open_in(&cluster.netns(LAN))?;
    switch.add_veth(port, MTU, &VethPeer { name: "eth0", netns: Some(&namespace) })?;
    switch.set_controller(&switch.link(port)?, &switch.link(BRIDGE)?)?;
    switch.set_up_by_name(port)?;
    let own = Handle::open_in(&path)?;
    let link = own.link("eth0")?;
    own.add_address(&link, cidr(address)?)?;
    own.set_up(&link)?;
    if routed {
        let target = RouteTarget::Gateway { link: link.index, gateway: ROUTER_ADDRESS };
        own.replace_route(&Route { destination: "0.0.0.0/0".parse()?, target, source: None })?;
    }
    Ok(())
}

fn cidr(address: Ipv4Addr) -> anyhow::Result<Ipv4Cidr> {
    Ok(format!("{address}/{PREFIX}").parse()?)
}

/// Removes every namespace of the LAN, and with them the links.
pub fn delete(cluster: &Cluster) -> anyhow::Result<()> {
    let directory = cluster.run_directory().join("netns");
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(()) };
    for entry in entries {
        netns::delete(&entry?.path())?;
    }
    Ok(())
}
