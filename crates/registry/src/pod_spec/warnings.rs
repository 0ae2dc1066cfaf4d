//! What is accepted but probably not meant.

use apimachinery::Quantity;

use crate::at::At;

const DEAD_VOLUMES: [(&str, &str); 9] = [
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const OLD_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// Of the spec of a pod or a template.
pub fn spec_warnings(spec: &At<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, at) in spec.at("nodeSelector").entries() {
        let old = OLD_LABELS.iter().find(|(label, _, _)| *label == key);
        warnings
            .extend(old.map(|(_, since, new)| format!("{}: deprecated since {since}; use {new:?} instead", at.path)));
    }
    for volume in spec.at("volumes").items() {
        let dead = DEAD_VOLUMES.iter().filter(|(kind, _)| volume.at(kind).present());
        warnings.extend(dead.map(|(kind, why)| format!("{}: {why}", volume.path.child(kind))));
    }
    for list in ["containers", "initContainers"] {
        spec.at(list).items().iter().for_each(|container| container_warnings(container, &mut warnings));
    }
    let grace = spec.at("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", grace.path));
    }
    warnings
}

fn container_warnings(container: &At<'_>, warnings: &mut Vec<String>) {
    duplicate_env(&container.at("env"), warnings);
    duplicate_ports(&container.at("ports"), warnings);
    for list in ["requests", "limits"] {
        let memory = container.at("resources").at(list).value.get("memory");
        if let Some(memory) = memory.filter(|memory| !Quantity::of(memory).is_integer()) {
            let path = container.path.child("resources").child(list).key("memory");
            warnings.push(format!("{path}: fractional byte value {memory} is invalid, must be an integer"));
        }
    }
}

fn duplicate_env(env: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for entry in env.items() {
        let name = entry.at("name").text();
        let appended = entry.at("value").text().contains(&format!("$({name})"));
        if seen.contains(&name) && !appended {
            let path = &entry.path;
            warnings
                .push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
        seen.push(name);
    }
}

fn duplicate_ports(ports: &At<'_>, warnings: &mut Vec<String>) {
    let mut seen: Vec<(i64, &str, At<'_>)> = Vec::new();
    for port in ports.items() {
        let (number, protocol) = (port.at("containerPort").int().unwrap_or_default(), port.at("protocol").text());
        let first = seen.iter().find(|(other, same, _)| (*other, *same) == (number, protocol));
        if let Some((_, _, first)) = first {
            warnings.push(format!("{}: duplicate port definition with {}", port.path, first.path));
        }
        seen.push((number, protocol, port));
    }
}
