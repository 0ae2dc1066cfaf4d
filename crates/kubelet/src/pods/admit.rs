//! Whether the node takes a pod that was bound to it. Pure; a pod that is not taken fails, with a reason.

use std::collections::BTreeMap;

use api::corev1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod};
use apimachinery::Quantity;

use super::model::{Failure, Role, containers, spec};
use super::qos::request;

fn failure(reason: &str, message: String) -> Failure {
    Failure { reason: reason.to_owned(), message }
}

/// `others` are the pods that the node has taken already and that have not ended.
pub fn admit(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), Failure> {
    check_os(pod)?;
    check_selector(pod, node)?;
    check_ports(pod, others)?;
    check_resources(pod, node, others)
}

fn check_os(pod: &Pod) -> Result<(), Failure> {
    match spec(pod).os.as_ref().map(|os| os.name.as_str()) {
        None | Some("linux") => Ok(()),
        Some(_) => {
            let text = "Failed to admit pod as the OS field doesn't match node OS";
            Err(failure("PodOSNotSupported", text.to_owned()))
        }
    }
}

fn check_selector(pod: &Pod, node: &Node) -> Result<(), Failure> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let by_selector = spec(pod).node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let terms = spec(pod)
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
        .map(|selector| &selector.node_selector_terms);
    let by_affinity = terms.is_none_or(|terms| terms.iter().any(|term| term_matches(term, &labels, name)));
    if by_selector && by_affinity {
        return Ok(());
    }
    let text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    Err(failure("NodeAffinity", text.to_owned()))
}

fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let empty = expressions.is_empty() && fields.is_empty();
    !empty
        && expressions.iter().all(|requirement| matches(requirement, labels.get(&requirement.key).map(String::as_str)))
        && fields.iter().all(|requirement| matches(requirement, Some(name)))
}

fn matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let contained = value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
    let number = value.and_then(|value| value.parse::<i64>().ok());
    let bound = values.first().and_then(|value| value.parse::<i64>().ok());
    match requirement.operator.as_str() {
        "In" => contained,
        "NotIn" => !contained,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number.zip(bound).is_some_and(|(number, bound)| number > bound),
        "Lt" => number.zip(bound).is_some_and(|(number, bound)| number < bound),
        _ => false,
    }
}

type Port = (String, String, i32);

fn host_ports(pod: &Pod) -> Vec<Port> {
    let all = containers(pod).into_iter().flat_map(|(_, container)| container.ports.iter().flatten());
    all.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let address = port.host_ip.clone().filter(|ip| ip != "0.0.0.0").unwrap_or_default();
        Some((protocol, address, port.host_port.filter(|port| *port > 0)?))
    })
    .collect()
}

fn check_ports(pod: &Pod, others: &[&Pod]) -> Result<(), Failure> {
    let taken: Vec<Port> = others.iter().flat_map(|other| host_ports(other)).collect();
    let clash = |wanted: &Port| {
        taken.iter().any(|port| {
            let same_address = port.1 == wanted.1 || port.1.is_empty() || wanted.1.is_empty();
            port.0 == wanted.0 && port.2 == wanted.2 && same_address
        })
    };
    if host_ports(pod).iter().any(clash) {
        let text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Err(failure("NodePorts", text.to_owned()));
    }
    Ok(())
}

/// What a pod needs at its peak: main containers and sidecars together, or an init container with the sidecars before it.
fn requested(pod: &Pod, name: &str) -> i64 {
    let amount =
        |container: &api::corev1::Container| request(container, name).map_or(0, |quantity| measure(name, quantity));
    let mut sidecars = 0;
    let mut peak = 0;
    let mut mains = 0;
    for (role, container) in containers(pod) {
        match role {
            Role::Init => peak = peak.max(sidecars + amount(container)),
            Role::Sidecar => sidecars += amount(container),
            Role::Main => mains += amount(container),
            // They have no resources of their own.
            Role::Ephemeral => {}
        }
    }
    let overhead = spec(pod).overhead.iter().flatten().find(|(key, _)| *key == name);
    let overhead =
        overhead.and_then(|(_, quantity)| quantity.0.parse().ok()).map_or(0, |quantity| measure(name, quantity));
    peak.max(mains + sidecars) + overhead
}

fn measure(name: &str, quantity: Quantity) -> i64 {
    if name == "cpu" { quantity.milli_value() } else { quantity.value() }
}

fn check_resources(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), Failure> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone()).unwrap_or_default();
    for (name, quantity) in &allocatable {
        let Ok(capacity) = quantity.0.parse::<Quantity>() else { continue };
        let (capacity, asked, used) = match name.as_str() {
            "pods" => (capacity.value(), 1, i64::try_from(others.len()).unwrap_or(i64::MAX)),
            name => {
                (measure(name, capacity), requested(pod, name), others.iter().map(|other| requested(other, name)).sum())
            }
        };
        if asked > 0 && asked + used > capacity {
            let text = format!(
                "Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"
            );
            return Err(failure(&format!("OutOf{name}"), text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": {}, "spec": spec })).expect("a pod")
    }

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "n", "labels": { "disk": "ssd" } },
            "status": { "allocatable": { "cpu": "1", "memory": "1Gi", "pods": "2" } },
        }))
        .expect("a node")
    }

    fn check(spec: Value, others: &[&Pod]) -> String {
        admit(&pod(spec), &node(), others).map_or_else(|failure| failure.reason, |()| "taken".to_owned())
    }

    fn cpu(amount: &str) -> Value {
        json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": amount } } }] })
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let other = pod(cpu("600m"));
        assert_eq!(check(cpu("400m"), &[&other]), "taken");
        assert_eq!(check(cpu("500m"), &[&other]), "OutOfcpu");
        assert_eq!(check(cpu("0"), &[&other, &other]), "OutOfpods");
    }

    #[test]
    fn a_selector_must_match() {
        assert_eq!(check(json!({ "nodeSelector": { "disk": "ssd" }, "containers": [] }), &[]), "taken");
        assert_eq!(check(json!({ "nodeSelector": { "disk": "hdd" }, "containers": [] }), &[]), "NodeAffinity");
    }

    #[test]
    fn a_taken_host_port_is_refused() {
        let port = json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 80 }] }] });
        let other = pod(port.clone());
        assert_eq!(check(port.clone(), &[]), "taken");
        assert_eq!(check(port, &[&other]), "NodePorts");
    }
}
