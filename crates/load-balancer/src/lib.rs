//! LoadBalancer addresses and their announcement.
//!
//! Two parts that meet at the API. [`AddressController`] (one in the cluster) gives services of type LoadBalancer an address
//! from the [`Pool`]; the service's status is the record. [`Announcer`] (one a node) elects by a Lease per address
//! the node that answers ARP for it; what then arrives there is the service proxy's business.
//!
//! Does not know: endpoints' addresses, rules. Start at [`allocate::decide`] and [`election::decide`].

mod address_controller;
pub mod allocate;
mod announcer;
pub mod arp;
pub mod election;
mod pool;

pub use address_controller::AddressController;
pub use announcer::{Announcer, AnnouncerConfig, Error};
pub use pool::{Pool, PoolError};

/// The class of services that name this load balancer explicitly; without a class they are served as well.
pub const LOAD_BALANCER_CLASS: &str = "coracle.dev/layer2";

use api::corev1::Service;

/// The service is of type LoadBalancer and nobody else's to serve.
pub(crate) fn is_ours(service: &Service) -> bool {
    let Some(spec) = &service.spec else {
        return false;
    };
    let class = spec.load_balancer_class.as_deref();
    let ours = class.is_none_or(|class| class == LOAD_BALANCER_CLASS);
    spec.type_.as_deref() == Some("LoadBalancer") && ours && service.metadata.deletion_timestamp.is_none()
}

/// The addresses that the service's status records.
pub(crate) fn recorded(service: &Service) -> Vec<std::net::Ipv4Addr> {
    let ingress =
        service.status.iter().flat_map(|status| &status.load_balancer).flat_map(|lb| lb.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).collect()
}
