#![allow(unsafe_code, reason = "tokio wants a promise that the descriptor stays the same")]

use std::io;
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{Error, Result, netns};

const RECEIVE_LEN: usize = 256 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// A netlink socket that only listens to multicast groups of one protocol.
pub struct Notifications {
    socket: AsyncFd<netlink_sys::Socket>,
}

impl Notifications {
    /// Listens in the namespace of the calling thread. Must be called inside a tokio runtime.
    pub fn open(protocol: isize, groups: &[u32]) -> Result<Self> {
        Self::wrap(subscribe(protocol, groups))
    }

    /// Listens in the namespace mounted at `netns`. Must be called inside a tokio runtime.
    pub fn open_in(protocol: isize, groups: &[u32], netns: &Path) -> Result<Self> {
        let groups = groups.to_vec();
        Self::wrap(netns::in_netns(netns, move || subscribe(protocol, &groups))?)
    }

    fn wrap(socket: io::Result<netlink_sys::Socket>) -> Result<Self> {
        let socket = socket.map_err(Error::Open)?;
        // SAFETY: the socket owns its descriptor from creation until it is dropped, and never exchanges it.
        let registered = unsafe { AsyncFd::register(socket) };
        Ok(Self { socket: registered.map_err(|error| Error::Open(error.into_parts().1))? })
    }

    /// The next datagram, or `None` when more came than the socket could hold. Safe to drop and call again.
    pub async fn receive(&self) -> Result<Option<Vec<u8>>> {
        let read = |socket: &netlink_sys::Socket| {
            let mut buffer = Vec::with_capacity(RECEIVE_LEN);
            socket.recv(&mut buffer, 0).map(|_| buffer)
        };
        match self.socket.async_io(Interest::READABLE, read).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(None),
            Err(source) => Err(Error::Exchange { operation: "receive notifications".to_owned(), source }),
        }
    }
}

fn subscribe(protocol: isize, groups: &[u32]) -> io::Result<netlink_sys::Socket> {
    let mut socket = netlink_sys::Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    // Needs a privilege; without it the default size remains, and a burst is reported as lost.
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).ok();
    for group in groups {
        socket.add_membership(*group)?;
    }
    Ok(socket)
}
