use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use api::corev1::{Service, ServicePort, ServiceSpec};
use api::discoveryv1::{Endpoint as SliceEndpoint, EndpointSlice};
use netlink::Ipv4Cidr;
use nft::{Data, Datum, Element, Verdict};

use crate::connections::UdpFrontend;
use crate::layout::{
    ALLOWED_SOURCES, ANY_NODE_ADDRESS, CLUSTER_IPS, EXTERNAL_LOCAL, HAIRPIN, MASQUERADE_ALL, MASQUERADE_NODE_PORTS,
    NODE_PORTS, NODE_PORTS_LOCAL, NodeFacts, Pick, REFUSE, RESTRICTED, SERVICES, Way,
};

const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
const AFFINITY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10_800);
const UDP: u8 = 17;

/// What one service needs in the kernel and on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePlan {
    pub picks: BTreeSet<Pick>,
    pub elements: Vec<(&'static str, Element)>,
    pub udp: Vec<UdpFrontend>,
    /// The port on which a load balancer asks whether this node has endpoints.
    pub health_port: Option<u16>,
    pub local_endpoints: usize,
    /// Endpoints of all ports, for the log.
    pub endpoints: usize,
}

/// An endpoint of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Backend {
    address: Ipv4Addr,
    port: u16,
}

#[derive(Clone, Debug)]
struct Candidate {
    backend: Backend,
    ready: bool,
    serving: bool,
    terminating: bool,
    local: bool,
}

/// Plans one service on one node. A service that this proxy does not serve gives an empty plan.
pub fn plan_service(service: &Service, slices: &[Arc<EndpointSlice>], facts: &NodeFacts) -> ServicePlan {
    let mut plan = ServicePlan::default();
    let Some(spec) = served(service) else {
        return plan;
    };
    let name = format!(
        "{}/{}",
        service.metadata.namespace.as_deref().unwrap_or_default(),
        service.metadata.name.as_deref().unwrap_or_default()
    );
    plan.add_cluster_ips(spec, &name);
    let mut local = BTreeSet::new();
    for port in spec.ports.iter().flatten() {
        let candidates = candidates(port, slices, facts);
        local.extend(choose(&candidates, true).into_iter().map(|backend| backend.address));
        if let Some(planner) = PortPlanner::new(service, spec, port, &name, &candidates) {
            planner.plan(&mut plan);
        }
        plan.add_hairpin(&candidates);
    }
    plan.local_endpoints = local.len();
    plan.health_port = health_port(spec);
    plan
}

/// The spec, if the service has an address and belongs to this proxy.
fn served(service: &Service) -> Option<&ServiceSpec> {
    let labels = service.metadata.labels.as_ref();
    if labels.is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL)) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let headless = matches!(spec.cluster_ip.as_deref(), None | Some("" | "None"));
    let external = spec.type_.as_deref() == Some("ExternalName");
    (!headless && !external).then_some(spec)
}

fn health_port(spec: &ServiceSpec) -> Option<u16> {
    let wanted = spec.type_.as_deref() == Some("LoadBalancer") && external_local(spec);
    spec.health_check_node_port.filter(|_| wanted).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn external_local(spec: &ServiceSpec) -> bool {
    spec.external_traffic_policy.as_deref() == Some("Local")
}

/// The endpoints of one service port, whose slices name the port alike; they say which number it has there.
fn candidates(port: &ServicePort, slices: &[Arc<EndpointSlice>], facts: &NodeFacts) -> Vec<Candidate> {
    let mut found: BTreeMap<Backend, Candidate> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let Some(number) = slice_port(port, slice) else {
            continue;
        };
        for candidate in slice.endpoints.iter().flatten().filter_map(|endpoint| candidate(endpoint, number, facts)) {
            let known = found.entry(candidate.backend).or_insert_with(|| candidate.clone());
            if candidate.ready && !known.ready {
                *known = candidate;
            }
        }
    }
    found.into_values().collect()
}

fn slice_port(port: &ServicePort, slice: &EndpointSlice) -> Option<u16> {
    let name = port.name.as_deref().unwrap_or_default();
    let same = |other: &&api::discoveryv1::EndpointPort| {
        other.name.as_deref().unwrap_or_default() == name
            && protocol_name(other.protocol.as_deref()) == protocol_name(port.protocol.as_deref())
    };
    let found = slice.ports.iter().flatten().find(same)?;
    u16::try_from(found.port?).ok()
}

fn candidate(endpoint: &SliceEndpoint, port: u16, facts: &NodeFacts) -> Option<Candidate> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    Some(Candidate {
        backend: Backend { address: endpoint.addresses.first()?.parse().ok()?, port },
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        local: endpoint.node_name.as_deref() == Some(facts.name.as_str()),
    })
}

/// The ready endpoints; when there are none, those that still serve while they end.
fn choose(candidates: &[Candidate], local_only: bool) -> Vec<Backend> {
    let near = || candidates.iter().filter(|candidate| candidate.local || !local_only);
    let ready: Vec<_> = near().filter(|c| c.ready).map(|c| c.backend).collect();
    match ready.is_empty() {
        true => near().filter(|c| c.serving && c.terminating).map(|c| c.backend).collect(),
        false => ready,
    }
}

impl ServicePlan {
    fn add(&mut self, set: &'static str, element: Element, comment: &Arc<str>) {
        self.elements.push((set, element.comment(comment.clone())));
    }

    fn add_cluster_ips(&mut self, spec: &ServiceSpec, name: &str) {
        let comment: Arc<str> = Arc::from(name);
        for address in cluster_ips(spec) {
            self.add(CLUSTER_IPS, Element::key([Datum::Addr(address)]), &comment);
        }
    }

    fn add_hairpin(&mut self, candidates: &[Candidate]) {
        let known: BTreeSet<_> = candidates.iter().filter(|c| c.local).map(|c| c.backend.address).collect();
        for address in known {
            self.elements.push((HAIRPIN, Element::key([Datum::Addr(address), Datum::Addr(address)])));
        }
    }
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<Ipv4Addr> {
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let mut addresses: Vec<_> = listed.filter_map(|address| address.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Plans one port of a service.
struct PortPlanner<'a> {
    spec: &'a ServiceSpec,
    protocol: u8,
    port: u16,
    node_port: Option<u16>,
    /// Addresses outside the cluster: of the load balancer, and external ones.
    load_balancer: Vec<Ipv4Addr>,
    external: Vec<Ipv4Addr>,
    comment: Arc<str>,
    sticky: Option<Duration>,
    all: Vec<Backend>,
    near: Vec<Backend>,
}

/// A set of addresses and ports under which a service is reached in one way.
#[derive(Clone, Copy)]
struct Front {
    way: Way,
    address: Ipv4Addr,
    port: u16,
}

impl<'a> PortPlanner<'a> {
    fn new(
        service: &Service,
        spec: &'a ServiceSpec,
        port: &ServicePort,
        name: &str,
        candidates: &[Candidate],
    ) -> Option<Self> {
        let comment = match port.name.as_deref() {
            None | Some("") => name.to_owned(),
            Some(port) => format!("{name}:{port}"),
        };
        Some(Self {
            spec,
            protocol: protocol_number(port.protocol.as_deref())?,
            port: u16::try_from(port.port).ok()?,
            node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
            load_balancer: load_balancer_ips(service),
            external: parse_addresses(spec.external_ips.iter().flatten()),
            comment: Arc::from(comment),
            sticky: sticky(spec),
            all: choose(candidates, false),
            near: choose(candidates, true),
        })
    }

    fn plan(&self, plan: &mut ServicePlan) {
        plan.endpoints += self.all.len();
        let internal_local = self.spec.internal_traffic_policy.as_deref() == Some("Local");
        let inside = if internal_local { &self.near } else { &self.all };
        for address in cluster_ips(self.spec) {
            self.front(plan, Front { way: Way::Service, address, port: self.port }, inside);
        }
        for address in self.load_balancer.iter().chain(&self.external) {
            self.external(plan, *address);
        }
        self.restrict(plan);
        if let Some(port) = self.node_port {
            self.node_port(plan, port);
        }
    }

    /// Clients outside get what the policy says; pods and the node itself always reach every endpoint.
    fn external(&self, plan: &mut ServicePlan, address: Ipv4Addr) {
        self.front(plan, Front { way: Way::Service, address, port: self.port }, &self.all);
        if external_local(self.spec) {
            self.front(plan, Front { way: Way::ExternalLocal, address, port: self.port }, &self.near);
        } else {
            let key = vec![Datum::Addr(address), Datum::Proto(self.protocol), Datum::Port(self.port)];
            plan.add(MASQUERADE_ALL, Element::key(key), &self.comment);
        }
    }

    fn node_port(&self, plan: &mut ServicePlan, port: u16) {
        let address = ANY_NODE_ADDRESS;
        self.front(plan, Front { way: Way::NodePort, address, port }, &self.all);
        if external_local(self.spec) {
            self.front(plan, Front { way: Way::NodePortLocal, address, port }, &self.near);
        } else {
            plan.add(
                MASQUERADE_NODE_PORTS,
                Element::key([Datum::Proto(self.protocol), Datum::Port(port)]),
                &self.comment,
            );
        }
    }

    /// One way to reach the service: the verdict for it, and the endpoints among which it draws.
    fn front(&self, plan: &mut ServicePlan, front: Front, backends: &[Backend]) {
        let verdict = self.verdict(plan, front, backends);
        let (map, key) = self.dispatch_key(front);
        plan.add(map, Element::new(key, Data::Verdict(verdict)), &self.comment);
        if self.protocol == UDP {
            plan.udp.push(UdpFrontend {
                address: Some(front.address).filter(|address| *address != ANY_NODE_ADDRESS),
                port: front.port,
                backends: backends.iter().map(|backend| (backend.address, backend.port)).collect(),
            });
        }
    }

    fn verdict(&self, plan: &mut ServicePlan, front: Front, backends: &[Backend]) -> Verdict {
        if backends.is_empty() {
            // With endpoints elsewhere the packet must not be refused: another node may have been meant.
            let elsewhere = !self.all.is_empty();
            return if elsewhere { Verdict::Drop } else { Verdict::Goto(REFUSE.to_owned()) };
        }
        let endpoints = u32::try_from(backends.len()).expect("a service has fewer than 2^32 endpoints");
        let pick = Pick { way: front.way, endpoints, sticky: self.sticky };
        for (index, backend) in (0..).zip(backends) {
            let key = vec![
                Datum::Addr(front.address),
                Datum::Proto(self.protocol),
                Datum::Port(front.port),
                Datum::Mark(index),
            ];
            let target = Data::Values(vec![Datum::Addr(backend.address), Datum::Port(backend.port)]);
            plan.add(pick.endpoints_map(), Element::new(key, target), &self.comment);
        }
        plan.picks.insert(pick);
        pick.verdict()
    }

    fn dispatch_key(&self, front: Front) -> (&'static str, Vec<Datum>) {
        let node_port = vec![Datum::Proto(self.protocol), Datum::Port(front.port)];
        let addressed = std::iter::once(Datum::Addr(front.address)).chain(node_port.clone()).collect();
        match front.way {
            Way::Service => (SERVICES, addressed),
            Way::ExternalLocal => (EXTERNAL_LOCAL, addressed),
            Way::NodePort => (NODE_PORTS, node_port),
            Way::NodePortLocal => (NODE_PORTS_LOCAL, node_port),
        }
    }

    /// Only the load balancer's addresses are restricted to the ranges.
    fn restrict(&self, plan: &mut ServicePlan) {
        let ranges: BTreeSet<Ipv4Cidr> = source_ranges(self.spec);
        if ranges.is_empty() {
            return;
        }
        for address in &self.load_balancer {
            let key = vec![Datum::Addr(*address), Datum::Proto(self.protocol), Datum::Port(self.port)];
            for range in &ranges {
                let allowed = key.iter().copied().chain([Datum::Prefix(*range)]).collect::<Vec<_>>();
                plan.add(ALLOWED_SOURCES, Element::key(allowed), &self.comment);
            }
            plan.add(RESTRICTED, Element::key(key), &self.comment);
        }
    }
}

/// The ranges that are not within another of them: intervals of a set must not overlap.
fn source_ranges(spec: &ServiceSpec) -> BTreeSet<Ipv4Cidr> {
    let ranges: BTreeSet<Ipv4Cidr> = spec
        .load_balancer_source_ranges
        .iter()
        .flatten()
        .filter_map(|range| range.trim().parse::<Ipv4Cidr>().ok())
        .map(Ipv4Cidr::truncated)
        .collect();
    let within =
        |inner: &Ipv4Cidr, outer: &Ipv4Cidr| outer.prefix() < inner.prefix() && outer.contains(inner.address());
    ranges.iter().filter(|range| !ranges.iter().any(|other| within(range, other))).copied().collect()
}

fn load_balancer_ips(service: &Service) -> Vec<Ipv4Addr> {
    let is_load_balancer = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let ingress =
        service.status.iter().flat_map(|status| &status.load_balancer).flat_map(|lb| lb.ingress.iter().flatten());
    let through_kernel = ingress.filter(|ingress| is_load_balancer && ingress.ip_mode.as_deref() != Some("Proxy"));
    parse_addresses(through_kernel.filter_map(|ingress| ingress.ip.as_ref()))
}

fn parse_addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<Ipv4Addr> {
    let unique: BTreeSet<_> = texts.filter_map(|text| text.parse().ok()).collect();
    unique.into_iter().collect()
}

fn sticky(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Some(seconds.map_or(AFFINITY_TIMEOUT_DEFAULT, Duration::from_secs))
}

fn protocol_name(protocol: Option<&str>) -> &str {
    protocol.unwrap_or("TCP")
}

fn protocol_number(protocol: Option<&str>) -> Option<u8> {
    match protocol_name(protocol) {
        "TCP" => Some(6),
        "UDP" => Some(UDP),
        "SCTP" => Some(132),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
