//! Amounts of resources, as whole numbers: what a pod asks for, what a node has.

use std::collections::BTreeMap;

use api::corev1::{Container, ContainerStatus, Pod, PodSpec, ResourceRequirements};
use api::k8s::apimachinery::pkg::api::resource::Quantity as Text;
use apimachinery::Quantity;

type List = BTreeMap<String, Text>;

/// What a container without a request counts as when nodes are scored: otherwise such pods would pile up on one node.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    /// Extended resources and huge pages.
    pub scalar: BTreeMap<String, i64>,
}

impl Resources {
    pub fn from_list(list: Option<&List>) -> Self {
        let mut resources = Self::default();
        for (name, text) in list.into_iter().flatten() {
            resources.set(name, text);
        }
        resources
    }

    fn set(&mut self, name: &str, text: &Text) {
        let quantity: Quantity = text.0.parse().unwrap_or_default();
        match name {
            "cpu" => self.milli_cpu = quantity.milli_value(),
            "memory" => self.memory = quantity.value(),
            "ephemeral-storage" => self.ephemeral_storage = quantity.value(),
            "pods" => {}
            _ => drop(self.scalar.insert(name.to_owned(), quantity.value())),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.merge(other, i64::saturating_add);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.merge(other, i64::saturating_sub);
    }

    pub fn raise_to(&mut self, other: &Self) {
        self.merge(other, i64::max);
    }

    fn merge(&mut self, other: &Self, combine: fn(i64, i64) -> i64) {
        self.milli_cpu = combine(self.milli_cpu, other.milli_cpu);
        self.memory = combine(self.memory, other.memory);
        self.ephemeral_storage = combine(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            match self.scalar.get_mut(name) {
                Some(own) => *own = combine(*own, *amount),
                None => drop(self.scalar.insert(name.clone(), combine(0, *amount))),
            }
        }
    }

    pub fn scalar(&self, name: &str) -> i64 {
        self.scalar.get(name).copied().unwrap_or_default()
    }

    pub fn is_zero(&self) -> bool {
        self.milli_cpu == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.scalar.values().all(|amount| *amount == 0)
    }
}

/// What the pod takes of a node.
pub fn pod_requests(pod: &Pod) -> Resources {
    requests(pod, container_requests)
}

/// The same for scoring: a container that asks for no CPU or memory counts as asking for a little.
pub fn pod_requests_for_scoring(pod: &Pod) -> Resources {
    requests(pod, |container, pod| {
        let mut resources = container_requests(container, pod);
        let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        if asked.is_none_or(|asked| !asked.contains_key("cpu")) {
            resources.milli_cpu = resources.milli_cpu.max(DEFAULT_MILLI_CPU);
        }
        if asked.is_none_or(|asked| !asked.contains_key("memory")) {
            resources.memory = resources.memory.max(DEFAULT_MEMORY);
        }
        resources
    })
}

/// Containers and sidecars run together; each init container runs beside the sidecars that were started before it.
fn requests(pod: &Pod, of_container: impl Fn(&Container, &Pod) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut running = Resources::default();
    spec.containers.iter().for_each(|container| running.add(&of_container(container, pod)));
    let (mut sidecars, mut peak) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let own = of_container(container, pod);
        let mut together = sidecars.clone();
        together.add(&own);
        peak.raise_to(&together);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&own);
            sidecars = together;
        }
    }
    running.raise_to(&peak);
    pod_level(spec, &mut running);
    running.add(&Resources::from_list(spec.overhead.as_ref()));
    running
}

/// Requests of the pod as a whole replace the sum of its containers'.
fn pod_level(spec: &PodSpec, resources: &mut Resources) {
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let counts = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    for (name, text) in whole.into_iter().flatten().filter(|(name, _)| counts(name)) {
        resources.set(name, text);
    }
}

/// While a container is resized in place, it may hold what it had, and what it is to have.
fn container_requests(container: &Container, pod: &Pod) -> Resources {
    let list = |resources: Option<&ResourceRequirements>| {
        Resources::from_list(resources.and_then(|resources| resources.requests.as_ref()))
    };
    let wanted = list(container.resources.as_ref());
    let Some(status) = status(container, pod).filter(|status| status.resources.is_some()) else { return wanted };
    let mut held = list(status.resources.as_ref());
    held.raise_to(&Resources::from_list(status.allocated_resources.as_ref()));
    if !resize_is_infeasible(pod) {
        held.raise_to(&wanted);
    }
    held
}

fn status<'a>(container: &Container, pod: &'a Pod) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.into_iter().find(|status| status.name == container.name)
}

fn resize_is_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(spec: Value, want: Expect) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        let (plain, scored) = (pod_requests(&pod), pod_requests_for_scoring(&pod));
        want.assert_eq(&format!(
            "{}m {} {:?} | scored {}m {}",
            plain.milli_cpu, plain.memory, plain.scalar, scored.milli_cpu, scored.memory
        ));
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn containers_add_up_and_init_containers_raise() {
        check(
            json!({"containers": [container("100m", "1Gi"), container("1", "1Gi")]}),
            expect!["1100m 2147483648 {} | scored 1100m 2147483648"],
        );
        check(
            json!({"containers": [container("1", "0")], "initContainers": [container("3", "0"), container("2", "0")]}),
            expect!["3000m 0 {} | scored 3000m 0"],
        );
    }

    #[test]
    fn a_sidecar_runs_beside_all_that_follows_it() {
        let mut sidecar = container("500m", "0");
        sidecar["restartPolicy"] = "Always".into();
        check(
            json!({"containers": [container("1", "0")], "initContainers": [container("1", "0"), sidecar, container("2", "0")]}),
            expect!["2500m 0 {} | scored 2500m 0"],
        );
    }

    #[test]
    fn overhead_is_added_and_pod_level_requests_replace() {
        check(
            json!({"containers": [container("1", "0")], "overhead": {"cpu": "250m"}, "resources": {"requests": {"cpu": "3"}}}),
            expect!["3250m 0 {} | scored 3250m 0"],
        );
    }

    #[test]
    fn a_container_without_requests_counts_a_little_when_scored() {
        check(
            json!({"containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"example.com/gpu": "2"}}}]}),
            expect![[r#"0m 0 {"example.com/gpu": 2} | scored 200m 419430400"#]],
        );
    }
}
