#![allow(unsafe_code, reason = "the ethtool request of an ioctl has no safe wrapper")]

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::{Error, Result};

const ETHTOOL_STXCSUM: u32 = 0x17;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Tunnels over cards (or kernels) that get the checksum of an encapsulated packet wrong lose every such packet.
pub(crate) fn disable_transmit_checksum(name: &str) -> Result<()> {
    let refused = |source| Error::Refused {
        operation: format!("disable transmit checksum offload of {name}"),
        detail: String::new(),
        source,
    };
    set_value(name, ETHTOOL_STXCSUM, 0).map_err(refused)
}

fn set_value(name: &str, command: u32, data: u32) -> io::Result<()> {
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = EthtoolValue { command, data };
    // SAFETY: `ifreq` is a plain C structure for which all zero bytes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    // SAFETY: the descriptor is open, the request is a NUL-terminated name and a pointer to a live value of the
    // layout that ETHTOOL_STXCSUM expects; the kernel keeps neither after the call.
    match unsafe { libc::ioctl(control.as_raw_fd(), SIOCETHTOOL, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
