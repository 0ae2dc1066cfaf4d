//! Quality of service: the class of a pod, its place among the cgroups, and its containers' limits. Pure.

use api::corev1::{Container, Pod, ResourceRequirements};
use apimachinery::Quantity;
use container::Resources;

use super::model::{containers, spec, uid};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

pub fn quantity(resources: Option<&ResourceRequirements>, limits: bool, name: &str) -> Option<Quantity> {
    let resources = resources?;
    let map = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
    map?.get(name)?.0.parse().ok()
}

pub fn request(container: &Container, name: &str) -> Option<Quantity> {
    quantity(container.resources.as_ref(), false, name)
}

pub fn limit(container: &Container, name: &str) -> Option<Quantity> {
    quantity(container.resources.as_ref(), true, name)
}

pub fn class(pod: &Pod) -> QosClass {
    if let Some(class) = pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        return match class {
            "Guaranteed" => QosClass::Guaranteed,
            "Burstable" => QosClass::Burstable,
            _ => QosClass::BestEffort,
        };
    }
    computed_class(pod)
}

fn computed_class(pod: &Pod) -> QosClass {
    let nonzero = |quantity: Option<Quantity>| quantity.filter(|quantity| !quantity.is_zero());
    let all = containers(pod);
    let asked = |(_, container): &(_, &Container)| {
        ["cpu", "memory"]
            .iter()
            .any(|name| nonzero(request(container, name)).is_some() || nonzero(limit(container, name)).is_some())
    };
    let guaranteed = |(_, container): &(_, &Container)| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = nonzero(limit(container, name));
            limit.is_some_and(|limit| request(container, name).is_none_or(|request| request == limit))
        })
    };
    match () {
        () if !all.iter().any(asked) => QosClass::BestEffort,
        () if all.iter().all(guaranteed) => QosClass::Guaranteed,
        () => QosClass::Burstable,
    }
}

/// The pod's cgroup below the root for all pods.
pub fn cgroup(root: &str, pod: &Pod) -> String {
    let root = root.trim_end_matches('/');
    let uid = uid(pod);
    match class(pod) {
        QosClass::Guaranteed => format!("{root}/pod{uid}"),
        QosClass::Burstable => format!("{root}/burstable/pod{uid}"),
        QosClass::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

const PERIOD: u64 = 100_000;
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
/// The kernel refuses shorter slices.
const QUOTA_MIN: i64 = 1000;

fn shares(milli_cpu: i64) -> u64 {
    u64::try_from(milli_cpu * 1024 / 1000).unwrap_or(0).clamp(SHARES_MIN, SHARES_MAX)
}

fn quota(milli_cpu: i64) -> i64 {
    (milli_cpu * 100).max(QUOTA_MIN)
}

pub fn container_resources(container: &Container) -> Resources {
    let cpu_limit = limit(container, "cpu").filter(|cpu| !cpu.is_zero());
    let cpu_request = request(container, "cpu").or(cpu_limit);
    Resources {
        cpu_shares: Some(shares(cpu_request.map_or(0, Quantity::milli_value))),
        cpu_quota: cpu_limit.map(|cpu| quota(cpu.milli_value())),
        cpu_period: cpu_limit.map(|_| PERIOD),
        memory_limit: limit(container, "memory").filter(|memory| !memory.is_zero()).map(Quantity::value),
        pids_limit: None,
    }
}

/// The pod's own limits: only if each of its containers has one.
pub fn pod_resources(pod: &Pod) -> Resources {
    let all = containers(pod);
    let each: Vec<Resources> = all.iter().map(|(_, container)| container_resources(container)).collect();
    let sum = |values: Vec<Option<i64>>| values.into_iter().sum::<Option<i64>>();
    let requested: i64 =
        all.iter().map(|(_, c)| request(c, "cpu").or(limit(c, "cpu")).map_or(0, Quantity::milli_value)).sum();
    let cpu_quota = sum(each.iter().map(|resources| resources.cpu_quota).collect());
    Resources {
        cpu_shares: Some(shares(requested)),
        cpu_quota,
        cpu_period: cpu_quota.map(|_| PERIOD),
        memory_limit: sum(each.iter().map(|resources| resources.memory_limit).collect()),
        pids_limit: None,
    }
}

/// Who is killed first for want of memory: the more of the node's memory a burstable container asks for, the later.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i32 {
    let critical = spec(pod).priority.unwrap_or(0) >= 2_000_000_000;
    match class(pod) {
        _ if critical => -997,
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let requested = request(container, "memory").map_or(0, Quantity::value);
            let share = 1000 * i128::from(requested) / i128::from(memory_capacity.max(1));
            i32::try_from(1000 - share).unwrap_or(999).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "uid": "u" },
            "spec": { "containers": [{ "name": "c", "resources": resources }] },
        }))
        .expect("a pod")
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        let check = |resources| computed_class(&pod(resources)).as_str();
        assert_eq!(check(json!({})), "BestEffort");
        assert_eq!(check(json!({ "requests": { "cpu": "1" } })), "Burstable");
        let both = json!({ "cpu": "1", "memory": "1Gi" });
        assert_eq!(check(json!({ "requests": both, "limits": both })), "Guaranteed");
    }

    #[test]
    fn limits_become_kernel_units() {
        let pod = pod(json!({ "requests": { "cpu": "250m" }, "limits": { "cpu": "500m", "memory": "64Mi" } }));
        let resources = container_resources(&spec(&pod).containers[0]);
        assert_eq!(
            (resources.cpu_shares, resources.cpu_quota, resources.memory_limit),
            (Some(256), Some(50_000), Some(64 << 20))
        );
        assert_eq!(cgroup("/kubepods", &pod), "/kubepods/burstable/podu");
    }
}
