//! A pod with what scheduling asks of it, computed once.

use std::sync::{Arc, LazyLock};

use api::corev1::{Container, ObjectReference, Pod, PodAffinityTerm, PodSpec, Toleration};
use api::metav1::LabelSelector;
use apimachinery::ObjectKey;
use apimachinery::labels::Selector;
use client::Object;
use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::resources::{Resources, pod_requests, pod_requests_for_scoring};

/// A port on the node that a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

const ANY_ADDRESS: &str = "0.0.0.0";

impl HostPort {
    pub fn conflicts(&self, other: &Self) -> bool {
        let same_address = self.ip == other.ip || self.ip == ANY_ADDRESS || other.ip == ANY_ADDRESS;
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

/// One term of pod (anti-)affinity.
#[derive(Clone, Debug)]
pub struct AffinityTerm {
    namespaces: Vec<String>,
    namespace_selector: Option<Selector>,
    selector: Selector,
    pub topology_key: String,
}

impl AffinityTerm {
    fn new(term: &PodAffinityTerm, own_namespace: &str) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(own_namespace.to_owned());
        }
        Self {
            namespaces,
            namespace_selector: term.namespace_selector.as_ref().map(|own| selector(Some(own))),
            selector: selector(term.label_selector.as_ref()),
            topology_key: term.topology_key.clone(),
        }
    }

    pub fn matches(&self, pod: &PodInfo, cluster: &Cluster) -> bool {
        let namespace = &pod.key.namespace;
        let selected = || self.namespace_selector.as_ref().is_some_and(|own| cluster.namespace_matches(namespace, own));
        pod.matches(&self.selector) && (self.namespaces.contains(namespace) || selected())
    }
}

#[derive(Clone, Debug, Default)]
pub struct AffinityTerms {
    pub required: Vec<AffinityTerm>,
    pub required_anti: Vec<AffinityTerm>,
    /// With weights; those of anti-affinity are negative.
    pub preferred: Vec<(i64, AffinityTerm)>,
}

impl AffinityTerms {
    fn of(spec: &PodSpec, namespace: &str) -> Self {
        let Some(affinity) = &spec.affinity else { return Self::default() };
        let term = |term: &PodAffinityTerm| AffinityTerm::new(term, namespace);
        let mut terms = Self::default();
        if let Some(own) = &affinity.pod_affinity {
            let required = own.required_during_scheduling_ignored_during_execution.iter().flatten();
            terms.required = required.map(term).collect();
            let preferred = own.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(preferred.map(|own| (i64::from(own.weight), term(&own.pod_affinity_term))));
        }
        if let Some(own) = &affinity.pod_anti_affinity {
            let required = own.required_during_scheduling_ignored_during_execution.iter().flatten();
            terms.required_anti = required.map(term).collect();
            let preferred = own.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            terms.preferred.extend(preferred.map(|own| (-i64::from(own.weight), term(&own.pod_affinity_term))));
        }
        terms
    }

    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.required_anti.is_empty() && self.preferred.is_empty()
    }
}

#[derive(Clone, Debug)]
pub struct PodInfo {
    /// The pod itself, while it waits for a node. Of one that has a node the rest tells all that is asked.
    waiting: Option<Arc<Pod>>,
    pub uid: String,
    pub key: ObjectKey,
    pub labels: Labels,
    pub version: PodVersion,
    node_name: Box<str>,
    pub is_terminating: bool,
    /// It was this scheduler that asked the pod to go.
    pub is_preempted: bool,
    pub started: Option<Timestamp>,
    pub priority: i32,
    pub requests: Resources,
    /// CPU in thousandths, and memory, with a little for containers that ask for none.
    pub scored_requests: (i64, i64),
    pub host_ports: Vec<HostPort>,
    pub affinity: AffinityTerms,
}

/// What is written of a pod that is told of.
#[derive(Clone, Debug)]
pub struct PodVersion {
    pub resource_version: Box<str>,
    pub generation: Option<i64>,
}

/// The labels of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    fn of(pod: &Pod) -> Self {
        let labels = pod.metadata.labels.iter().flatten();
        Self(labels.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a pod has that waits no more.
static PLACED: LazyLock<Pod> = LazyLock::new(Pod::default);
/// What a pod without a spec has.
static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

impl PodInfo {
    pub fn new(pod: &Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref().unwrap_or(&NO_SPEC);
        let scored = pod_requests_for_scoring(pod);
        let node_name = spec.node_name.as_deref().unwrap_or_default();
        let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        Self {
            waiting: node_name.is_empty().then(|| pod.clone()),
            node_name: node_name.into(),
            labels: Labels::of(pod),
            version: PodVersion {
                resource_version: pod.resource_version().into(),
                generation: pod.metadata.generation,
            },
            is_terminating: pod.metadata.deletion_timestamp.is_some(),
            is_preempted: is_preempted(pod),
            started: started.map(|time| time.0),
            uid: pod.uid().to_owned(),
            key: pod.key(),
            priority: spec.priority.unwrap_or(0),
            requests: pod_requests(pod),
            scored_requests: (scored.milli_cpu, scored.memory),
            host_ports: host_ports(spec),
            affinity: AffinityTerms::of(spec, pod.namespace()),
        }
    }

    /// The pod itself. One that has a node is known by the other fields only.
    pub fn pod(&self) -> &Pod {
        self.waiting.as_deref().unwrap_or(&PLACED)
    }

    /// As [`Self::pod`].
    pub fn spec(&self) -> &PodSpec {
        self.pod().spec.as_ref().unwrap_or(&NO_SPEC)
    }

    pub fn tolerations(&self) -> &[Toleration] {
        self.spec().tolerations.as_deref().unwrap_or_default()
    }

    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    pub fn nominated_node(&self) -> &str {
        let status = self.pod().status.as_ref();
        status.and_then(|status| status.nominated_node_name.as_deref()).unwrap_or_default()
    }

    pub fn is_gated(&self) -> bool {
        self.spec().scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
    }

    pub fn matches(&self, selector: &Selector) -> bool {
        selector.matches_with(|name| self.labels.get(name))
    }

    /// How events name it.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.version.resource_version.to_string()).filter(|version| !version.is_empty()),
            field_path: None,
        }
    }

    /// The claims of the pod's volumes, and whether each is made for this pod alone.
    pub fn claims(&self) -> impl Iterator<Item = (String, bool)> {
        let volumes = self.spec().volumes.iter().flatten();
        volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some((claim.claim_name.clone(), false)),
            (None, Some(_)) => Some((format!("{}-{}", self.key.name, volume.name), true)),
            (None, None) => None,
        })
    }
}

fn is_preempted(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|condition| {
        condition.type_ == "DisruptionTarget"
            && condition.status == "True"
            && condition.reason.as_deref() == Some("PreemptionByScheduler")
    })
}

/// Of containers and of the init containers that go on running.
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(stays));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let text = |text: &Option<String>, default: &str| {
        text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let host_port = |port: &api::corev1::ContainerPort| {
        let number = port.host_port.filter(|port| *port > 0)?;
        Some(HostPort { ip: text(&port.host_ip, ANY_ADDRESS), protocol: text(&port.protocol, "TCP"), port: number })
    };
    ports.filter_map(host_port).collect()
}

/// One that is absent or wrong selects nothing.
pub fn selector(selector: Option<&LabelSelector>) -> Selector {
    let value = selector.and_then(|selector| serde_json::to_value(selector).ok());
    Selector::from_label_selector(value.as_ref()).unwrap_or_else(|_| Selector::nothing())
}
