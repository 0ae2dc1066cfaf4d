use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::Index;
use crate::entry::{Endpoint, Entry, EntryKind, Port};

/// The version of the specification that the records follow.
const SPECIFICATION_VERSION: &str = "1.1.0";

/// The part of the tree that the cluster answers for.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Name,
    text: String,
    pub ttl: u32,
}

impl Zone {
    /// `domain` as in `cluster.local`; `None` when it is no domain name.
    pub fn new(domain: &str, ttl: u32) -> Option<Self> {
        let text = domain.trim_matches('.').to_lowercase();
        let name = Name::from_ascii(format!("{text}.")).ok()?;
        Some(Self { name, text, ttl })
    }

    pub fn domain(&self) -> &str {
        &self.text
    }

    fn below(&self, labels: &str) -> Option<Name> {
        Name::from_ascii(format!("{labels}.{}.", self.text)).ok()
    }

    /// The record that goes with every "no".
    fn soa(&self, serial: u32) -> Record {
        let (server, person) = (self.below("ns.dns"), self.below("hostmaster"));
        let server = server.unwrap_or_else(|| self.name.clone());
        let person = person.unwrap_or_else(|| self.name.clone());
        let data = SOA::new(server, person, serial, 7200, 1800, 86_400, self.ttl);
        Record::from_rdata(self.name.clone(), self.ttl, RData::SOA(data))
    }
}

/// What there is to say to a question.
#[derive(Debug, Default)]
pub struct Answer {
    pub code: Option<ResponseCode>,
    pub records: Vec<Record>,
    pub additionals: Vec<Record>,
    pub authority: Option<Record>,
    /// A name outside of what we know, whose records belong into the answer too.
    pub follow: Option<Name>,
}

/// Answers from the index, or `None` when the question is not the cluster's to answer.
pub fn answer(index: &Index, zone: &Zone, name: &Name, kind: RecordType, serial: u32) -> Option<Answer> {
    let question = Question { index, zone, name, kind };
    let found = match labels_below(name, zone) {
        Some(labels) => question.in_zone(&labels),
        None => return question.reverse(),
    };
    Some(match found {
        Found::NoName => negative(ResponseCode::NXDomain, zone, serial),
        Found::Records(records, _, None) if records.is_empty() => negative(ResponseCode::NoError, zone, serial),
        Found::Records(records, additionals, follow) => {
            Answer { code: Some(ResponseCode::NoError), records, additionals, authority: None, follow }
        }
        Found::Zone => {
            Answer { code: Some(ResponseCode::NoError), records: vec![zone.soa(serial)], ..Answer::default() }
        }
    })
}

fn negative(code: ResponseCode, zone: &Zone, serial: u32) -> Answer {
    Answer { code: Some(code), authority: Some(zone.soa(serial)), ..Answer::default() }
}

/// The lower-case labels before the zone's own, or `None` outside of the zone.
fn labels_below(name: &Name, zone: &Zone) -> Option<Vec<String>> {
    if !zone.name.zone_of(name) {
        return None;
    }
    let own = name.iter().count().checked_sub(zone.name.iter().count())?;
    Some(name.iter().take(own).map(|label| String::from_utf8_lossy(label).to_lowercase()).collect())
}

enum Found {
    NoName,
    /// The name exists; these are its records of the type that was asked for, and what goes with them.
    Records(Vec<Record>, Vec<Record>, Option<Name>),
    Zone,
}

struct Question<'a> {
    index: &'a Index,
    zone: &'a Zone,
    name: &'a Name,
    kind: RecordType,
}

impl Question<'_> {
    fn in_zone(&self, labels: &[String]) -> Found {
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => self.apex(),
            ["dns-version"] => self.version(),
            ["svc" | "pod" | "dns"] => Found::Records(Vec::new(), Vec::new(), None),
            ["ns", "dns"] => self.own_server(),
            [namespace, "svc" | "pod"] => self.namespace(namespace),
            [service, namespace, "svc"] => self.service(namespace, service),
            [endpoint, service, namespace, "svc"] => self.endpoint(namespace, service, endpoint),
            [port, protocol, service, namespace, "svc"] => self.port(namespace, service, port, protocol),
            [address, namespace, "pod"] => self.pod(namespace, address),
            _ => Found::NoName,
        }
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), self.zone.ttl, data)
    }

    fn records(&self, data: impl IntoIterator<Item = RData>) -> Found {
        Found::Records(data.into_iter().map(|data| self.record(data)).collect(), Vec::new(), None)
    }

    fn apex(&self) -> Found {
        match self.kind {
            RecordType::SOA => Found::Zone,
            RecordType::NS => self.records(self.zone.below("ns.dns").map(|name| RData::NS(NS(name)))),
            _ => Found::Records(Vec::new(), Vec::new(), None),
        }
    }

    fn version(&self) -> Found {
        let text = || RData::TXT(TXT::new(vec![SPECIFICATION_VERSION.to_owned()]));
        self.records((self.kind == RecordType::TXT).then(text))
    }

    /// The cluster's name server is the service that pods ask.
    fn own_server(&self) -> Found {
        match self.index.service("kube-system", "kube-dns") {
            Some(entry) => self.records(self.addresses(entry_addresses(entry))),
            None => Found::NoName,
        }
    }

    fn namespace(&self, namespace: &str) -> Found {
        match self.index.has_namespace(namespace) {
            true => Found::Records(Vec::new(), Vec::new(), None),
            false => Found::NoName,
        }
    }

    fn service(&self, namespace: &str, service: &str) -> Found {
        let Some(entry) = self.index.service(namespace, service) else {
            return Found::NoName;
        };
        match &entry.kind {
            EntryKind::External(target) => self.alias(target),
            EntryKind::Headless if entry.endpoints.is_empty() => Found::NoName,
            EntryKind::Addressed { ports, .. } if self.kind == RecordType::SRV => {
                self.service_ports(namespace, service, entry, &ports.iter().collect::<Vec<_>>())
            }
            EntryKind::Headless if self.kind == RecordType::SRV => {
                self.endpoint_ports(namespace, service, entry, |_| true)
            }
            _ => self.records(self.addresses(entry_addresses(entry))),
        }
    }

    fn alias(&self, target: &str) -> Found {
        let Ok(target) = Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) else {
            return Found::Records(Vec::new(), Vec::new(), None);
        };
        let alias = self.record(RData::CNAME(CNAME(target.clone())));
        let follow = (self.kind != RecordType::CNAME).then_some(target);
        Found::Records(vec![alias], Vec::new(), follow)
    }

    fn endpoint(&self, namespace: &str, service: &str, hostname: &str) -> Found {
        let Some(entry) = self.index.service(namespace, service) else {
            return Found::NoName;
        };
        let matching: Vec<_> = entry.endpoints.iter().filter(|endpoint| endpoint.hostname == hostname).collect();
        match matching.is_empty() {
            // The empty name between a service and its ports exists as soon as a port does.
            true if self.is_protocol_of(entry, hostname) => Found::Records(Vec::new(), Vec::new(), None),
            true => Found::NoName,
            false => self.records(self.addresses(matching.iter().map(|endpoint| endpoint.address))),
        }
    }

    fn is_protocol_of(&self, entry: &Entry, label: &str) -> bool {
        let Some(protocol) = label.strip_prefix('_') else {
            return false;
        };
        ports(entry).any(|port| port.protocol == protocol)
    }

    fn port(&self, namespace: &str, service: &str, port: &str, protocol: &str) -> Found {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return Found::NoName;
        };
        let Some(entry) = self.index.service(namespace, service) else {
            return Found::NoName;
        };
        let wanted = |candidate: &Port| candidate.name == port && candidate.protocol == protocol;
        if !ports(entry).any(wanted) {
            return Found::NoName;
        }
        if self.kind != RecordType::SRV {
            return Found::Records(Vec::new(), Vec::new(), None);
        }
        match &entry.kind {
            EntryKind::Addressed { ports, .. } => {
                let ports: Vec<_> = ports.iter().filter(|candidate| wanted(candidate)).collect();
                self.service_ports(namespace, service, entry, &ports)
            }
            _ => self.endpoint_ports(namespace, service, entry, wanted),
        }
    }

    fn service_ports(&self, namespace: &str, service: &str, entry: &Entry, ports: &[&Port]) -> Found {
        let Some(target) = self.zone.below(&format!("{service}.{namespace}.svc")) else {
            return Found::NoName;
        };
        let weight = share(ports.len());
        let records =
            ports.iter().map(|port| self.record(RData::SRV(SRV::new(0, weight, port.number, target.clone()))));
        let additionals = entry_addresses(entry).map(|address| self.address_record(target.clone(), address));
        Found::Records(records.collect(), additionals.collect(), None)
    }

    fn endpoint_ports(&self, namespace: &str, service: &str, entry: &Entry, wanted: impl Fn(&Port) -> bool) -> Found {
        let pairs: Vec<(&Endpoint, &Port)> = entry
            .endpoints
            .iter()
            .flat_map(|endpoint| endpoint.ports.iter().map(move |port| (endpoint, port)))
            .filter(|(_, port)| wanted(port))
            .collect();
        let weight = share(pairs.len());
        let (mut records, mut additionals) = (Vec::new(), Vec::new());
        for (endpoint, port) in pairs {
            let Some(target) = self.zone.below(&format!("{}.{service}.{namespace}.svc", endpoint.hostname)) else {
                continue;
            };
            records.push(self.record(RData::SRV(SRV::new(0, weight, port.number, target.clone()))));
            additionals.push(self.address_record(target, endpoint.address));
        }
        additionals.dedup();
        Found::Records(records, additionals, None)
    }

    /// A pod's name is computed from its address alone.
    fn pod(&self, namespace: &str, label: &str) -> Found {
        let address = label
            .replace('-', ".")
            .parse::<Ipv4Addr>()
            .map(IpAddr::V4)
            .or_else(|_| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6));
        match address {
            Ok(address) if self.index.has_namespace(namespace) => self.records(self.addresses([address])),
            _ => Found::NoName,
        }
    }

    fn addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<RData> {
        addresses
            .into_iter()
            .filter_map(|address| match (address, self.kind) {
                (IpAddr::V4(address), RecordType::A | RecordType::ANY) => Some(RData::A(A(address))),
                (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(address))),
                _ => None,
            })
            .collect()
    }

    fn address_record(&self, name: Name, address: IpAddr) -> Record {
        let data = match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        Record::from_rdata(name, self.zone.ttl, data)
    }

    /// The names of an address; an address that is not the cluster's is somebody else's to name.
    fn reverse(&self) -> Option<Answer> {
        let address = reverse_address(self.name)?;
        let names = self.index.names_of(address).filter_map(|name| self.zone.below(name));
        let records: Vec<_> = names.map(|name| self.record(RData::PTR(PTR(name)))).collect();
        if records.is_empty() {
            return None;
        }
        let wanted = self.kind == RecordType::PTR || self.kind == RecordType::ANY;
        let records = if wanted { records } else { Vec::new() };
        Some(Answer { code: Some(ResponseCode::NoError), records, ..Answer::default() })
    }
}

fn share(count: usize) -> u16 {
    let count = u16::try_from(count).unwrap_or(u16::MAX).max(1);
    (100 / count).max(1)
}

fn entry_addresses(entry: &Entry) -> impl Iterator<Item = IpAddr> + '_ {
    let own = match &entry.kind {
        EntryKind::Addressed { addresses, .. } => addresses.as_slice(),
        _ => &[],
    };
    let headless = matches!(entry.kind, EntryKind::Headless);
    let of_endpoints = entry.endpoints.iter().filter(move |_| headless).map(|endpoint| endpoint.address);
    own.iter().copied().chain(of_endpoints)
}

fn ports(entry: &Entry) -> impl Iterator<Item = &Port> {
    let own = match &entry.kind {
        EntryKind::Addressed { ports, .. } => ports.as_slice(),
        _ => &[],
    };
    let headless = matches!(entry.kind, EntryKind::Headless);
    own.iter().chain(entry.endpoints.iter().filter(move |_| headless).flat_map(|endpoint| &endpoint.ports))
}

/// The address behind a name of the reverse tree.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).to_lowercase()).collect();
    match labels.as_slice() {
        [octets @ .., tree, root] if tree == "in-addr" && root == "arpa" && octets.len() == 4 => {
            let text = octets.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".");
            text.parse().ok().map(IpAddr::V4)
        }
        [digits @ .., tree, root] if tree == "ip6" && root == "arpa" && digits.len() == 32 => {
            let text: String = digits.iter().rev().map(String::as_str).collect();
            u128::from_str_radix(&text, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from(bits)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
