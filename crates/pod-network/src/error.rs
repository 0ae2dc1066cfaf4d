use std::path::PathBuf;

use netlink::Ipv4Cidr;

/// Why a pod was not attached or detached, or the overlay not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Passes when the controller gives the node its range.
    #[error("the node has no pod address range yet")]
    NoRange,
    #[error("no address is left in the node's pod range {0}")]
    Exhausted(Ipv4Cidr),
    #[error("host port {port}/{protocol} is taken by another pod")]
    HostPortTaken { port: u16, protocol: crate::Protocol },
    #[error("open the pod's network namespace {path}", path = .path.display())]
    Namespace {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("keep the addresses given out in {path}", path = .path.display())]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("no link of this node has the address {0}")]
    NoUnderlay(std::net::Ipv4Addr),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error("set the pod network's rules")]
    Rules(#[from] nft::Error),
}
