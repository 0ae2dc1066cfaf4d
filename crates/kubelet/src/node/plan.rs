//! The Node object that should be. Pure.

use std::collections::BTreeMap;

use api::corev1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo,
};
use api::k8s::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use api::metav1::{ObjectMeta, Time};
use apimachinery::Quantity;
use image::ImageInfo;
use jiff::Timestamp;

use super::machine::Machine;
use super::thresholds::Thresholds;
use crate::config::Config;
use crate::pods::status::RUNTIME;

/// The most images that a node tells of; the largest first.
const IMAGES_MAX: usize = 50;

pub fn labels(config: &Config, machine: &Machine) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/arch"), machine.architecture.to_owned());
        labels.insert(format!("{prefix}/os"), "linux".to_owned());
    }
    labels.insert("kubernetes.io/hostname".to_owned(), config.node_name.to_lowercase());
    labels.extend(config.labels.clone());
    labels
}

/// The object as it is registered: labels and taints are there before the first pod.
pub fn new_node(config: &Config, machine: &Machine, status: NodeStatus) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config, machine)),
            annotations: Some(BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..NodeSpec::default()
        }),
        status: Some(status),
    }
}

fn capacity(config: &Config, machine: &Machine) -> BTreeMap<String, ApiQuantity> {
    let kibi = |bytes: u64| format!("{}Ki", bytes / 1024);
    let mut map = BTreeMap::from([
        ("cpu".to_owned(), machine.cpus.to_string()),
        ("memory".to_owned(), kibi(machine.memory_bytes)),
        ("ephemeral-storage".to_owned(), kibi(machine.disk_bytes)),
        ("pods".to_owned(), config.max_pods.to_string()),
    ]);
    for (size, bytes) in &machine.huge_pages {
        let unit = if size % (1 << 20) == 0 { format!("{}Gi", size >> 20) } else { format!("{}Mi", size >> 10) };
        map.insert(
            format!("hugepages-{unit}"),
            if *bytes == 0 { "0".to_owned() } else { format!("{}Mi", bytes >> 20) },
        );
    }
    map.into_iter().map(|(name, text)| (name, ApiQuantity(text))).collect()
}

fn allocatable(config: &Config, capacity: &BTreeMap<String, ApiQuantity>) -> BTreeMap<String, ApiQuantity> {
    let less = |name: &String, whole: &ApiQuantity| {
        let reserved = config.system_reserved.get(name)?.parse::<Quantity>().ok()?;
        let whole: Quantity = whole.0.parse().ok()?;
        Some(if name == "cpu" {
            format!("{}m", (whole.milli_value() - reserved.milli_value()).max(0))
        } else {
            (whole.value() - reserved.value()).max(0).to_string()
        })
    };
    capacity
        .iter()
        .map(|(name, whole)| (name.clone(), less(name, whole).map_or_else(|| whole.clone(), ApiQuantity)))
        .collect()
}

/// What is known besides the machine.
pub struct Surroundings {
    pub images: Vec<ImageInfo>,
    /// Why the node cannot take pods yet.
    pub not_ready: Option<String>,
}

pub fn plan_status(
    config: &Config,
    machine: &Machine,
    around: &Surroundings,
    before: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let capacity = capacity(config, machine);
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        allocatable: Some(allocatable(config, &capacity)),
        capacity: Some(capacity),
        conditions: Some(conditions(config, machine, around, before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
        }),
        images: Some(images(&around.images)),
        node_info: Some(node_info(config, machine)),
        ..NodeStatus::default()
    }
}

fn address(kind: &str, address: String) -> NodeAddress {
    NodeAddress { type_: kind.to_owned(), address }
}

fn images(list: &[ImageInfo]) -> Vec<ContainerImage> {
    let mut list: Vec<&ImageInfo> = list.iter().collect();
    list.sort_by_key(|image| std::cmp::Reverse(image.size));
    list.into_iter()
        .take(IMAGES_MAX)
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.iter().chain(&image.repo_tags).cloned().collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

fn node_info(config: &Config, machine: &Machine) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: machine.architecture.to_owned(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: format!("{RUNTIME}://{}", env!("CARGO_PKG_VERSION")),
        kernel_version: machine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: config.version.clone(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: machine.os_image.clone(),
        system_uuid: machine.system_uuid.clone(),
        ..NodeSystemInfo::default()
    }
}

struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn verdicts(config: &Config, machine: &Machine, around: &Surroundings) -> [Verdict; 4] {
    let pressure = |kind, holds, (bad, good): (&'static str, &'static str), (low, fine): (&str, &str)| Verdict {
        kind,
        holds,
        reason: if holds { bad } else { good },
        message: if holds { low } else { fine }.to_owned(),
    };
    let Thresholds { memory, disk, pids } = &config.eviction_hard;
    [
        pressure(
            "MemoryPressure",
            memory.is_undercut(machine.memory_available, machine.memory_bytes),
            ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            ("kubelet has insufficient memory available", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            disk.is_undercut(machine.disk_available, machine.disk_bytes),
            ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            ("kubelet has disk pressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            pids.is_undercut(machine.pids_available, machine.pids_max),
            ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            ("kubelet has insufficient PID available", "kubelet has sufficient PID available"),
        ),
        match &around.not_ready {
            None => Verdict {
                kind: "Ready",
                holds: true,
                reason: "KubeletReady",
                message: "kubelet is posting ready status".to_owned(),
            },
            Some(why) => Verdict { kind: "Ready", holds: false, reason: "KubeletNotReady", message: why.clone() },
        },
    ]
}

fn conditions(
    config: &Config,
    machine: &Machine,
    around: &Surroundings,
    before: Option<&NodeStatus>,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let now = Time(Timestamp::from_second(now.as_second()).expect("a whole second of a valid time"));
    let known =
        |kind: &str| before.and_then(|status| status.conditions.iter().flatten().find(|known| known.type_ == kind));
    verdicts(config, machine, around)
        .into_iter()
        .map(|verdict| {
            let status = if verdict.holds { "True" } else { "False" };
            let since = known(verdict.kind)
                .filter(|known| known.status == status)
                .and_then(|known| known.last_transition_time.clone());
            NodeCondition {
                type_: verdict.kind.to_owned(),
                status: status.to_owned(),
                reason: Some(verdict.reason.to_owned()),
                message: Some(verdict.message),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            }
        })
        .collect()
}

/// The same but for the time of the heartbeat.
pub fn same_but_heartbeat(a: &NodeStatus, b: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut conditions = status.conditions.clone().unwrap_or_default();
        conditions.retain(|condition| {
            matches!(condition.type_.as_str(), "Ready" | "MemoryPressure" | "DiskPressure" | "PIDPressure")
        });
        conditions.iter_mut().for_each(|condition| condition.last_heartbeat_time = None);
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        conditions
    };
    a.addresses == b.addresses
        && a.allocatable == b.allocatable
        && a.capacity == b.capacity
        && a.images.as_deref().unwrap_or_default() == b.images.as_deref().unwrap_or_default()
        && a.node_info == b.node_info
        && timeless(a) == timeless(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            cpus: 2,
            memory_bytes: 1 << 30,
            memory_available: 1 << 29,
            disk_bytes: 1 << 34,
            disk_available: 1 << 33,
            pids_max: 100,
            pids_available: 90,
            architecture: "amd64",
            ..Machine::default()
        }
    }

    fn config() -> Config {
        Config::new("n", "192.0.2.1".parse().expect("an address"), "/d", "/r")
    }

    fn status(machine: &Machine, not_ready: Option<&str>) -> NodeStatus {
        let around = Surroundings { images: Vec::new(), not_ready: not_ready.map(str::to_owned) };
        plan_status(&config(), machine, &around, None, Timestamp::from_second(5).expect("a time"))
    }

    fn holding(status: &NodeStatus) -> Vec<&str> {
        let all = status.conditions.iter().flatten();
        all.filter(|condition| condition.status == "True").map(|condition| condition.type_.as_str()).collect()
    }

    #[test]
    fn capacity_is_the_machines() {
        let status = status(&machine(), None);
        let capacity = status.capacity.as_ref().expect("a capacity");
        assert_eq!(
            (capacity["cpu"].0.as_str(), capacity["memory"].0.as_str(), capacity["pods"].0.as_str()),
            ("2", "1048576Ki", "110")
        );
        assert_eq!(holding(&status), ["Ready"]);
    }

    #[test]
    fn pressures_are_seen() {
        let low = Machine { memory_available: 1, disk_available: 1, pids_available: 1, ..machine() };
        assert_eq!(
            holding(&status(&low, Some("network is not ready"))),
            ["MemoryPressure", "DiskPressure", "PIDPressure"]
        );
    }

    #[test]
    fn a_heartbeat_alone_is_no_change() {
        let around = || Surroundings { images: Vec::new(), not_ready: None };
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let first = plan_status(&config(), &machine(), &around(), None, at(5));
        let second = plan_status(&config(), &machine(), &around(), Some(&first), at(9));
        assert!(same_but_heartbeat(&first, &second));
        assert!(!same_but_heartbeat(&first, &status(&machine(), Some("no"))));
    }
}
