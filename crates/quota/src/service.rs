//! What Services use.

use serde_json::Value;

use crate::usage::{Usage, count};

pub const NAMES: &[&str] = &["services", "services.loadbalancers", "services.nodeports", "count/services"];

pub fn usage(service: &Value) -> Usage {
    let spec = &service["spec"];
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("LoadBalancer") => (1, balancer_ports(spec)),
        Some("NodePort") => (0, ports(spec).count()),
        _ => (0, 0),
    };
    [("services", 1), ("count/services", 1), ("services.loadbalancers", balancers), ("services.nodeports", node_ports)]
        .map(|(name, number)| (name.to_owned(), count(number)))
        .into()
}

fn ports(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["ports"].as_array().into_iter().flatten()
}

/// All, unless node ports are not wanted: then those that were asked for.
fn balancer_ports(spec: &Value) -> usize {
    let all = spec["allocateLoadBalancerNodePorts"] != Value::Bool(false);
    ports(spec).filter(|port| all || port["nodePort"].as_i64().unwrap_or(0) != 0).count()
}
