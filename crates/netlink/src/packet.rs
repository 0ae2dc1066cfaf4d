#![allow(unsafe_code, reason = "binding a packet socket to a link has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{Error, Link, Result};

const FRAME_LEN_MAX: usize = 2048;

/// Whole Ethernet frames of one protocol on one link.
pub struct PacketSocket {
    socket: AsyncFd<OwnedFd>,
}

impl PacketSocket {
    /// Opens the socket in the calling thread's namespace. Must be called inside a tokio runtime.
    pub fn open(link: &Link, ethertype: u16) -> Result<Self> {
        let operation = || format!("listen to frames of link {}", link.name);
        let failed = |source| Error::Refused { operation: operation(), detail: String::new(), source };
        let socket = bound(link.index, ethertype).map_err(failed)?;
        // SAFETY: an `OwnedFd` keeps its descriptor until it is dropped.
        let registered = unsafe { AsyncFd::register(socket) };
        Ok(Self { socket: registered.map_err(|error| failed(error.into_parts().1))? })
    }

    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        let write = |socket: &OwnedFd| Ok(nix::unistd::write(socket, frame)?);
        self.socket.async_io(Interest::WRITABLE, write).await.map(drop)
    }

    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let read = |socket: &OwnedFd| {
            let mut frame = vec![0; FRAME_LEN_MAX];
            let length = nix::unistd::read(socket, &mut frame)?;
            frame.truncate(length);
            Ok(frame)
        };
        self.socket.async_io(Interest::READABLE, read).await
    }
}

fn bound(link: u32, ethertype: u16) -> io::Result<OwnedFd> {
    let protocol = ethertype.to_be();
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket() takes plain numbers and returns a new descriptor or -1.
    let descriptor = unsafe { libc::socket(libc::AF_PACKET, flags, i32::from(protocol)) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just returned to us and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: `sockaddr_ll` is a plain C structure for which all zero bytes are a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a small constant");
    address.sll_protocol = protocol;
    address.sll_ifindex = i32::try_from(link).map_err(io::Error::other)?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).expect("a small structure");
    // SAFETY: the pointer is to a live `sockaddr_ll` of the length that is given; the kernel copies it.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}
