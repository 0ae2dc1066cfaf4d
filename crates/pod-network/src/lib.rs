//! Pod addresses, veths and the VXLAN overlay.
//!
//! Two parts that meet only in the kernel. [`PodNetwork`] is the kubelet's: it gives a pod an address of the node's range and
//! a routed veth (the gateway address on the node's end, a /32 route to the pod; no bridge, so all traffic is routed and
//! seen by the rules). [`Overlay`] is the network agent's: it keeps the tunnel device and its entries from the Node objects.
//!
//! Does not know: services, containers, who calls it. Start at [`PodNetwork::attach`] and [`Overlay::run`].

mod attach;
mod error;
mod host_ports;
mod ipam;
mod node;
mod overlay;
mod plan;
mod tunnel;

pub use attach::{Config, PodNetwork};
pub use error::Error;
pub use host_ports::{HostPort, Protocol};
pub use node::{Member, PUBLIC_IP_ANNOTATION, member};
pub use overlay::{Overlay, OverlayConfig};
pub use plan::{Action, Observed, plan};
pub use tunnel::Tunnel;
