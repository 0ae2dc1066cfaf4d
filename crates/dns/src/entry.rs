use std::net::IpAddr;
use std::sync::Arc;

use api::corev1::Service;
use api::discoveryv1::EndpointSlice;

/// What DNS knows of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Reached under addresses of its own.
    Addressed { addresses: Vec<IpAddr>, ports: Vec<Port> },
    /// Its name stands for its endpoints.
    Headless,
    /// An alias for a name elsewhere.
    External(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    pub number: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Given by the pod, or made from the address.
    pub hostname: String,
    pub address: IpAddr,
    pub ports: Vec<Port>,
}

/// The entry of a service; none when it has neither address nor alias.
pub fn entry(service: &Service, slices: &[Arc<EndpointSlice>]) -> Option<Entry> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.clone()?;
        return Some(Entry { kind: EntryKind::External(target), endpoints: Vec::new() });
    }
    let mut endpoints: Vec<_> = slices.iter().flat_map(|slice| endpoints(slice)).collect();
    endpoints.sort_by_key(|endpoint| endpoint.address);
    endpoints.dedup_by(|again, first| again.address == first.address && again.ports == first.ports);
    let kind = match spec.cluster_ip.as_deref() {
        None | Some("") => return None,
        Some("None") => EntryKind::Headless,
        Some(first) => {
            let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
            let mut addresses: Vec<IpAddr> = listed.chain([first]).filter_map(|text| text.parse().ok()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            EntryKind::Addressed { addresses, ports: service_ports(spec) }
        }
    };
    Some(Entry { kind, endpoints })
}

fn service_ports(spec: &api::corev1::ServiceSpec) -> Vec<Port> {
    let ports = spec.ports.iter().flatten();
    ports.filter_map(|port| make_port(port.name.as_deref(), port.protocol.as_deref(), Some(port.port))).collect()
}

fn make_port(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_lowercase(),
        protocol: protocol.unwrap_or("TCP").to_lowercase(),
        number: u16::try_from(number?).ok()?,
    })
}

fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    if slice.address_type == "FQDN" {
        return Vec::new();
    }
    let ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| make_port(port.name.as_deref(), port.protocol.as_deref(), port.port))
        .collect();
    let ready = slice
        .endpoints
        .iter()
        .flatten()
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true));
    ready
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (endpoint, address)))
        .filter_map(|(endpoint, address)| {
            let address = address.parse().ok()?;
            let hostname = endpoint.hostname.as_deref().map(str::to_lowercase);
            Some(Endpoint { hostname: hostname.unwrap_or_else(|| dashed(address)), address, ports: ports.clone() })
        })
        .collect()
}

/// An address as a label: `10-244-1-3`.
pub(crate) fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}
