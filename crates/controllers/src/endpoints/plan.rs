//! The subsets of a Service: addresses that share their ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::corev1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};
use client::Object;

use crate::pods::{self, is_deleted, is_ready};
use crate::slices::{is_endpoint, port_number};

type Ports = Vec<(Option<String>, i32, String, Option<String>)>;

#[derive(Default)]
struct Addresses {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

/// The subsets, and whether addresses had to be left out.
pub(super) fn subsets(service: &Service, pods: &[Arc<Pod>], max: usize) -> (Vec<EndpointSubset>, bool) {
    let unready_too = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let counted = |pod: &&Arc<Pod>| is_endpoint(pod) && (unready_too || !is_deleted(&pod.metadata));
    let mut groups: BTreeMap<Ports, Addresses> = BTreeMap::new();
    let found: Vec<_> = pods.iter().filter(counted).collect();
    for pod in found.iter().take(max) {
        let addresses = groups.entry(ports(service, pod)).or_default();
        let ready = unready_too || is_ready(pod);
        let side = if ready { &mut addresses.ready } else { &mut addresses.not_ready };
        side.push(address(service, pod));
    }
    groups.retain(|ports, _| !ports.is_empty() || service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_none());
    (groups.into_iter().map(subset).collect(), found.len() > max)
}

fn ports(service: &Service, pod: &Pod) -> Ports {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let mut found: Ports = ports
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            let name = port.name.clone().filter(|name| !name.is_empty());
            Some((name, port_number(port, pod)?, protocol, port.app_protocol.clone()))
        })
        .collect();
    found.sort();
    found
}

fn address(service: &Service, pod: &Pod) -> EndpointAddress {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.subdomain.as_deref()) == Some(service.name());
    EndpointAddress {
        ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default(),
        node_name: spec.and_then(|spec| spec.node_name.clone()),
        hostname: spec.and_then(|spec| spec.hostname.clone()).filter(|hostname| own && !hostname.is_empty()),
        target_ref: Some(pods::target_ref(pod)),
    }
}

fn subset((ports, mut addresses): (Ports, Addresses)) -> EndpointSubset {
    let some = |mut list: Vec<EndpointAddress>| {
        list.sort_by(|a, b| a.ip.cmp(&b.ip));
        (!list.is_empty()).then_some(list)
    };
    let ports: Vec<_> = ports
        .into_iter()
        .map(|(name, port, protocol, app_protocol)| EndpointPort { name, port, protocol: Some(protocol), app_protocol })
        .collect();
    EndpointSubset {
        addresses: some(std::mem::take(&mut addresses.ready)),
        not_ready_addresses: some(addresses.not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}
