use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use api::corev1::Node;
use netlink::{Ipv4Cidr, MacAddress};

/// Overrides the address at which other nodes reach this one's end of the tunnel (default: its InternalIP).
pub const PUBLIC_IP_ANNOTATION: &str = "network.coracle.dev/public-ip";

/// A node of the pod network, as its Node object describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub public_ip: Ipv4Addr,
    pub pod_cidr: Ipv4Cidr,
}

impl Member {
    /// The tunnel's own address on the node: the first of its range, which no pod gets.
    pub fn tunnel_ip(&self) -> Ipv4Addr {
        self.pod_cidr.network()
    }

    /// Computed from the tunnel's address, so that no node needs to be told, and no agent needs the right to write to nodes.
    pub fn tunnel_mac(&self) -> MacAddress {
        let [a, b, c, d] = self.tunnel_ip().octets();
        MacAddress([0x0e, 0xc0, a, b, c, d])
    }
}

/// The node as a member of the pod network, once it has an address and a range.
pub fn member(node: &Node) -> Option<Member> {
    let pod_cidr: Ipv4Cidr = node.spec.as_ref()?.pod_cidr.as_deref()?.parse().ok()?;
    let annotations = node.metadata.annotations.as_ref();
    let annotated = annotations.and_then(public_ip_annotation);
    Some(Member {
        name: node.metadata.name.clone()?,
        public_ip: annotated.or_else(|| internal_ip(node))?,
        pod_cidr: pod_cidr.truncated(),
    })
}

fn public_ip_annotation(annotations: &BTreeMap<String, String>) -> Option<Ipv4Addr> {
    annotations.get(PUBLIC_IP_ANNOTATION)?.parse().ok()
}

fn internal_ip(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.iter().flatten();
    addresses.filter(|address| address.type_ == "InternalIP").find_map(|address| address.address.parse().ok())
}
