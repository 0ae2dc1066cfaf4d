//! Links, addresses, routes, neighbours and network namespaces over netlink.
//!
//! Every socket belongs to the network namespace in which it was opened, whichever thread uses it later:
//! [`Handle::open`] speaks to the namespace of the calling thread, [`Handle::open_in`] to a named one.
//! Calls are synchronous (the kernel answers in microseconds) and each error names the link and the operation.
//!
//! Does not know: pods, nodes, services, nor why a link should exist.
//! Start at [`Handle`], then [`netns`]; [`socket`] and [`wire`] serve `nft` as well.

mod address;
mod cidr;
mod error;
mod ethtool;
mod handle;
mod link;
mod monitor;
mod neighbour;
pub mod netns;
mod notifications;
mod packet;
mod route;
pub mod socket;
pub mod sysctl;
pub mod wire;

pub use address::Address;
pub use cidr::{CidrError, Ipv4Cidr};
pub use error::Error;
pub use handle::Handle;
pub use link::{Link, MacAddress, VethPeer, VxlanSpec};
pub use monitor::{Change, Monitor};
pub use neighbour::{ForwardingEntry, Neighbour};
pub use notifications::Notifications;
pub use packet::PacketSocket;
pub use route::{Route, RouteTarget};

pub type Result<T, E = Error> = std::result::Result<T, E>;
