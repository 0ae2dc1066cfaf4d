//! Cluster DNS: names of services and pods, and everybody else's by asking the node's resolvers.
//!
//! [`Index`] is what the cluster's objects say, kept by watches; [`answer`] is pure: index and question in, records out.
//! Around it a UDP and TCP server, a forwarder with a cache, and the health and metrics ports that CoreDNS has.
//!
//! Does not know: how a pod comes to ask here. Start at [`answer`] and [`Dns::run`].

mod answer;
mod cache;
mod dns;
mod entry;
mod forward;
mod index;
mod metrics;
mod resolv_conf;
mod server;

pub use answer::{Answer, Zone, answer};
pub use dns::{Dns, DnsConfig, Error};
pub use entry::{Entry, EntryKind, entry};
pub use forward::Forwarder;
pub use index::Index;
pub use metrics::Metrics;
pub use resolv_conf::upstreams;
pub use server::Server;
