//! Which slices a Service is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::corev1::{Pod, Service, ServicePort};
use api::discoveryv1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use api::metav1::{ObjectMeta, OwnerReference};
use apimachinery::labels::Selector;
use client::Object;
use controller_runtime::Lister;

use crate::pods::{self, is_deleted, is_ready, phase};

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const ENDPOINTS_MAX: usize = 100;

#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Create(Box<EndpointSlice>),
    Update(Box<EndpointSlice>),
    Delete(Box<EndpointSlice>),
}

/// What slices are told apart by: the family, and the ports as they are on these pods.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    family: &'static str,
    ports: Vec<(String, String, i32, Option<String>)>,
}

pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    let labels = pod.metadata.labels.as_ref();
    !selector.is_empty()
        && selector.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

/// The pods that a service's selector picks.
pub(crate) fn selected(service: &Service, all: &Lister<Pod>) -> Vec<Arc<Pod>> {
    let labels = service.spec.as_ref().and_then(|spec| spec.selector.clone());
    let selector = Selector::from_map(serde_json::to_value(labels).ok().as_ref());
    let mut found = all.matching(service.namespace(), &selector);
    found.retain(|pod| selects(service, pod));
    found
}

/// Whether the pod can be an endpoint at all: it has an address and is not over.
pub(crate) fn is_endpoint(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let addressed = status.and_then(|status| status.pod_ip.as_deref()).is_some_and(|address| !address.is_empty());
    addressed && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// Ready for traffic: the readiness of a pod that is not ending, or anything where the service asks for unready ones.
fn pod_ready(service: &Service, pod: &Pod) -> bool {
    let unready_too = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    unready_too || (is_ready(pod) && !is_deleted(&pod.metadata))
}

/// Whether nothing that an endpoint shows has changed.
pub(super) fn looks_the_same(old: &Pod, new: &Pod) -> bool {
    let view = |pod: &Pod| {
        let status = pod.status.as_ref();
        (
            status.and_then(|status| status.pod_ips.clone()),
            phase(pod).to_owned(),
            is_ready(pod),
            is_deleted(&pod.metadata),
            pod.spec.as_ref().map(|spec| (spec.node_name.clone(), spec.hostname.clone(), spec.subdomain.clone())),
        )
    };
    old.metadata.labels == new.metadata.labels && view(old) == view(new)
}

/// The number that a service's port means on this pod.
pub(crate) fn port_number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let spec = pod.spec.as_ref()?;
            let sidecars = spec.init_containers.iter().flatten();
            let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let ports =
                spec.containers.iter().chain(sidecars).filter_map(|container| container.ports.as_ref()).flatten();
            let mut named = ports.filter(|port| port.name.as_deref() == Some(name));
            named.find(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol).map(|port| port.container_port)
        }
    }
}

/// The changes that bring `existing` to what the service and its pods say.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: Vec<Arc<EndpointSlice>>,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Vec<Action> {
    if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return existing.iter().map(|slice| Action::Delete(Box::new(slice.as_ref().clone()))).collect();
    }
    let mut wanted = grouped(service, pods, zone);
    let mut actions = Vec::new();
    let mut groups: BTreeMap<Group, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        groups.entry(group_of(&slice)).or_default().push(slice);
    }
    for group in groups.keys().chain(wanted.clone().keys()).cloned().collect::<BTreeSet<_>>() {
        let slices = groups.remove(&group).unwrap_or_default();
        let endpoints = wanted.remove(&group);
        plan_group(service, &group, endpoints, slices, &mut actions);
    }
    actions
}

/// The endpoints by group. A service without pods keeps one empty slice, so that consumers know that it was looked at.
fn grouped(
    service: &Service,
    pods: &[Arc<Pod>],
    zone: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<Group, Vec<Endpoint>> {
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for family in families(service) {
        for pod in pods.iter().filter(|pod| is_endpoint(pod)) {
            let Some(address) = address(pod, family) else { continue };
            let group = Group { family, ports: ports(service, pod) };
            groups.entry(group).or_default().push(endpoint(service, pod, address, zone));
        }
        if !groups.keys().any(|group| group.family == family) {
            groups.insert(Group { family, ports: Vec::new() }, Vec::new());
        }
    }
    groups
}

fn families(service: &Service) -> Vec<&'static str> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).unwrap_or_default();
    let mut names: Vec<_> = families.iter().map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if names.is_empty() {
        names.push("IPv4");
    }
    names
}

fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let addresses = status.pod_ips.iter().flatten().map(|address| address.ip.clone()).chain(status.pod_ip.clone());
    addresses.into_iter().find(|address| address.contains(':') == (family == "IPv6"))
}

fn ports(service: &Service, pod: &Pod) -> Vec<(String, String, i32, Option<String>)> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let mut found: Vec<_> = ports
        .filter_map(|port| {
            let number = port_number(port, pod)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone()))
        })
        .collect();
    found.sort();
    found
}

fn group_of(slice: &EndpointSlice) -> Group {
    let family = if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" };
    let ports = slice.ports.iter().flatten();
    let mut ports: Vec<_> = ports
        .map(|port| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            (text(&port.name), text(&port.protocol), port.port.unwrap_or(0), port.app_protocol.clone())
        })
        .collect();
    ports.sort();
    Group { family, ports }
}

fn endpoint(service: &Service, pod: &Pod, address: String, zone: &dyn Fn(&str) -> Option<String>) -> Endpoint {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let terminating = is_deleted(&pod.metadata);
    let unready_too = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(pod_ready(service, pod)),
            serving: Some(unready_too || is_ready(pod)),
            terminating: Some(terminating),
        }),
        zone: node.as_deref().and_then(zone),
        node_name: node,
        hostname: hostname(service, pod),
        target_ref: Some(pods::target_ref(pod)),
        ..Endpoint::default()
    }
}

/// A pod whose subdomain is the service gets a name of its own.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let own = spec.subdomain.as_deref() == Some(service.name());
    spec.hostname.clone().filter(|hostname| own && !hostname.is_empty())
}

/// Changes as few slices as can be: endpoints stay where they are, new ones fill up slices that change anyway, or the
/// fullest with room.
fn plan_group(
    service: &Service,
    group: &Group,
    endpoints: Option<Vec<Endpoint>>,
    mut slices: Vec<Arc<EndpointSlice>>,
    actions: &mut Vec<Action>,
) {
    let Some(endpoints) = endpoints else {
        actions.extend(slices.iter().map(|slice| Action::Delete(Box::new(slice.as_ref().clone()))));
        return;
    };
    let mut left: BTreeMap<String, Endpoint> =
        endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    slices.sort_by(|a, b| a.name().cmp(b.name()));
    let mut next: Vec<Vec<Endpoint>> = slices
        .iter()
        .map(|slice| {
            let kept = slice.endpoints.iter().flatten().filter_map(|endpoint| left.remove(&identity(endpoint)));
            kept.collect()
        })
        .collect();
    let mut order: Vec<usize> = (0..next.len()).collect();
    order.sort_by_key(|at| (same(&slices[*at], &next[*at]), std::cmp::Reverse(next[*at].len())));
    let mut added = left.into_values();
    for at in order {
        let room = ENDPOINTS_MAX.saturating_sub(next[at].len());
        next[at].extend(added.by_ref().take(room));
    }
    let rest: Vec<Endpoint> = added.collect();
    let empty_kept = rest.is_empty().then(|| next.iter().position(|endpoints| !endpoints.is_empty()).unwrap_or(0));
    for (at, (slice, endpoints)) in slices.iter().zip(next).enumerate() {
        if endpoints.is_empty() && empty_kept != Some(at) {
            actions.push(Action::Delete(Box::new(slice.as_ref().clone())));
            continue;
        }
        let updated = updated(service, slice, endpoints);
        if updated != **slice {
            actions.push(Action::Update(Box::new(updated)));
        }
    }
    if rest.is_empty() && slices.is_empty() {
        actions.push(Action::Create(Box::new(new_slice(service, group, Vec::new()))));
    }
    actions.extend(
        rest.chunks(ENDPOINTS_MAX).map(|part| Action::Create(Box::new(new_slice(service, group, part.into())))),
    );
}

fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{uid} {}", endpoint.addresses.first().map_or("", String::as_str))
}

fn same(slice: &EndpointSlice, endpoints: &[Endpoint]) -> bool {
    slice.endpoints.as_deref().unwrap_or_default() == endpoints
}

fn updated(service: &Service, slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut updated = slice.clone();
    updated.metadata.labels = Some(labels(service));
    updated.endpoints = if endpoints.is_empty() && slice.endpoints.is_none() { None } else { Some(endpoints) };
    updated
}

fn new_slice(service: &Service, group: &Group, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let ports = group.ports.iter().map(|(name, protocol, number, app_protocol)| EndpointPort {
        name: Some(name.clone()),
        protocol: Some(protocol.clone()),
        port: Some(*number),
        app_protocol: app_protocol.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Service".into(),
                name: service.name().into(),
                uid: service.uid().into(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        address_type: group.family.into(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

/// The service's own labels, and those that slices are found by.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), service.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let headless = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
    if headless {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn pod(words: &str) -> Arc<Pod> {
        let words: Vec<_> = words.split_whitespace().collect();
        let has = |word: &str| words.contains(&word);
        let ready = json!([{"type": "Ready", "status": if has("unready") { "False" } else { "True" }}]);
        let mut pod = json!({"metadata": {"name": words[0], "uid": words[0], "namespace": "default", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": if has("old") { 8080 } else { 80 }}]}]},
            "status": {"phase": "Running", "podIP": format!("10.244.1.{}", words[0].len()), "conditions": ready}});
        if has("ending") {
            pod["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z".into();
        }
        if has("failed") {
            pod["status"]["phase"] = "Failed".into();
        }
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default", "uid": "s"},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ports": [{"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"}]}}))
        .expect("a service")
    }

    fn show(actions: &[Action]) -> String {
        let mut text = String::new();
        for action in actions {
            let (verb, slice) = match action {
                Action::Create(slice) => ("create", slice),
                Action::Update(slice) => ("update", slice),
                Action::Delete(slice) => ("delete", slice),
            };
            let port = slice
                .ports
                .iter()
                .flatten()
                .map(|port| port.port.unwrap_or(0).to_string())
                .collect::<Vec<_>>()
                .join(",");
            text += &format!("{verb} {}:{port}", slice.name());
            for endpoint in slice.endpoints.iter().flatten() {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let flags = [(conditions.ready, "r"), (conditions.serving, "s"), (conditions.terminating, "t")];
                let flags: String =
                    flags.into_iter().filter(|(flag, _)| *flag == Some(true)).map(|(_, letter)| letter).collect();
                text += &format!(" {}={flags}", endpoint.addresses[0]);
            }
            text.push('\n');
        }
        text
    }

    fn stored(actions: Vec<Action>) -> Vec<Arc<EndpointSlice>> {
        let slices = actions.into_iter().enumerate().filter_map(|(number, action)| match action {
            Action::Create(slice) | Action::Update(slice) => {
                let mut slice = *slice;
                slice.metadata.name.get_or_insert(format!("web-{number}"));
                Some(Arc::new(slice))
            }
            Action::Delete(_) => None,
        });
        slices.collect()
    }

    fn check(first: &[&str], second: &[&str], want: Expect) {
        let pods = |words: &[&str]| words.iter().map(|words| pod(words)).collect::<Vec<_>>();
        let made = plan(&service(), &pods(first), Vec::new(), &|_| None);
        let mut text = show(&made);
        text += "then\n";
        text += &show(&plan(&service(), &pods(second), stored(made), &|_| None));
        want.assert_eq(&text);
    }

    #[test]
    fn conditions_follow_the_pods() {
        check(
            &["a", "bb unready", "ccc ending", "dddd failed", "eeeee ending unready"],
            &["a", "bb", "ccc ending"],
            expect![[r#"
                create :80 10.244.1.1=rs 10.244.1.2= 10.244.1.3=st 10.244.1.5=t
                then
                update web-0:80 10.244.1.1=rs 10.244.1.2=rs 10.244.1.3=st
            "#]],
        );
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        check(
            &["a", "bb"],
            &["bb", "a"],
            expect![[r#"
            create :80 10.244.1.1=rs 10.244.1.2=rs
            then
        "#]],
        );
    }

    #[test]
    fn pods_with_other_ports_get_a_slice_of_their_own() {
        check(
            &["a", "bb old"],
            &[],
            expect![[r#"
            create :80 10.244.1.1=rs
            create :8080 10.244.1.2=rs
            then
            create :
            delete web-0:80 10.244.1.1=rs
            delete web-1:8080 10.244.1.2=rs
        "#]],
        );
    }

    #[test]
    fn a_slice_holds_a_hundred() {
        let pods: Vec<_> = (0..250).map(|number| format!("p{number}")).collect();
        let words: Vec<_> = pods.iter().map(|name| pod(name)).collect();
        let made = plan(&service(), &words, Vec::new(), &|_| None);
        let sizes: Vec<_> = stored(made).iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect();
        assert_eq!(sizes, [100, 100, 50]);
    }
}
