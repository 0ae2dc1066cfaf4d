//! A netlink socket: requests with their acknowledgements, dumps, batches.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_DUMP_INTR};
use nix::sys::socket::sockopt;

use crate::wire::{self, Message, messages};
use crate::{Error, Result, netns};

pub use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel fills at most 32 KiB a datagram, unless one message is larger.
const RECEIVE_LEN: usize = 256 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const DUMP_ATTEMPTS: usize = 5;

/// What the kernel answered to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub sequence: u32,
    /// 0, or a positive errno.
    pub errno: i32,
    /// The kernel's own words, often empty.
    pub detail: String,
}

/// A blocking netlink socket, usable from any thread; it stays in the namespace where it was opened.
pub struct Socket {
    inner: Mutex<netlink_sys::Socket>,
    sequence: AtomicU32,
    port: u32,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: isize) -> Result<Self> {
        Self::prepare(protocol).map_err(Error::Open)
    }

    /// Opens a socket in the namespace that is mounted at `netns`.
    pub fn open_in(protocol: isize, netns: &Path) -> Result<Self> {
        netns::in_netns(netns, move || Self::open(protocol))?
    }

    fn prepare(protocol: isize) -> io::Result<Self> {
        let mut inner = netlink_sys::Socket::new(protocol)?;
        let port = inner.bind_auto()?.port_number();
        inner.set_cap_ack(true)?;
        inner.set_ext_ack(true)?;
        // Needs a privilege; without it the default size remains, which is enough for small requests.
        nix::sys::socket::setsockopt(&inner, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).ok();
        Ok(Self { inner: Mutex::new(inner), sequence: AtomicU32::new(1), port })
    }

    /// The address that the kernel gave to the socket; notifications caused by it carry this number.
    pub fn port(&self) -> u32 {
        self.port
    }

    pub fn next_sequence(&self) -> u32 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends one request that asks for an acknowledgement, and waits for it.
    pub fn request(&self, operation: &dyn Fn() -> String, sequence: u32, bytes: &[u8]) -> Result<()> {
        let inner = self.lock();
        send(&inner, bytes).map_err(|source| exchange(operation, source))?;
        loop {
            let received = receive(&inner, 0).map_err(|source| exchange(operation, source))?;
            let answer = messages(&received).find(|message| message.sequence == sequence);
            if let Some(ack) = answer.as_ref().and_then(acknowledgement) {
                return judge(operation, ack);
            }
        }
    }

    /// Sends a dump request and collects what `read` makes of each answer; repeated when the kernel says that
    /// the dump was disturbed by a change.
    pub fn dump<T>(
        &self,
        operation: &dyn Fn() -> String,
        encode: &dyn Fn(u32) -> Vec<u8>,
        mut read: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(items) = self.dump_once(operation, encode, &mut read)? {
                return Ok(items);
            }
        }
        Err(exchange(operation, io::Error::from_raw_os_error(libc::EINTR)))
    }

    fn dump_once<T>(
        &self,
        operation: &dyn Fn() -> String,
        encode: &dyn Fn(u32) -> Vec<u8>,
        read: &mut impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let sequence = self.next_sequence();
        let inner = self.lock();
        send(&inner, &encode(sequence)).map_err(|source| exchange(operation, source))?;
        let (mut items, mut disturbed) = (Vec::new(), false);
        loop {
            let received = receive(&inner, 0).map_err(|source| exchange(operation, source))?;
            for message in messages(&received).filter(|message| message.sequence == sequence) {
                disturbed |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE => return Ok((!disturbed).then_some(items)),
                    NLMSG_ERROR => {
                        let ack = acknowledgement(&message);
                        return judge(operation, ack.unwrap_or_else(|| unreadable(sequence))).map(|()| Some(items));
                    }
                    _ => items.extend(read(message)),
                }
            }
        }
    }

    /// Sends a batch whose messages the kernel handles before `send` returns, and reads all it said about them.
    pub fn batch(&self, operation: &dyn Fn() -> String, bytes: &[u8]) -> Result<Vec<Acknowledgement>> {
        let inner = self.lock();
        let room = bytes.len().saturating_mul(2).max(256 * 1024);
        nix::sys::socket::setsockopt(&*inner, sockopt::SndBufForce, &room)
            .map_err(|errno| exchange(operation, errno.into()))?;
        send(&inner, bytes).map_err(|source| exchange(operation, source))?;
        let mut acknowledgements = Vec::new();
        loop {
            match receive(&inner, libc::MSG_DONTWAIT) {
                Ok(received) => acknowledgements.extend(messages(&received).filter_map(|m| acknowledgement(&m))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(acknowledgements),
                Err(source) => return Err(exchange(operation, source)),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, netlink_sys::Socket> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn send(socket: &netlink_sys::Socket, bytes: &[u8]) -> io::Result<()> {
    socket.send_to(bytes, &netlink_sys::SocketAddr::new(0, 0), 0).map(drop)
}

fn receive(socket: &netlink_sys::Socket, flags: i32) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(RECEIVE_LEN);
    loop {
        match socket.recv(&mut buffer, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(buffer),
        }
    }
}

/// Turns an acknowledgement into a result, with the operation as context.
pub fn judge(operation: &dyn Fn() -> String, ack: Acknowledgement) -> Result<()> {
    match ack.errno {
        0 => Ok(()),
        errno => Err(Error::Refused {
            operation: operation(),
            detail: ack.detail,
            source: io::Error::from_raw_os_error(errno),
        }),
    }
}

fn acknowledgement(message: &Message<'_>) -> Option<Acknowledgement> {
    if message.kind != NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    Some(Acknowledgement { sequence: message.sequence, errno: -code, detail: extended(message) })
}

/// The text of an extended acknowledgement; it follows the header of the message that was refused.
fn extended(message: &Message<'_>) -> String {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return String::new();
    }
    let attributes = message.payload.get(20..).unwrap_or_default();
    wire::find(attributes, NLMSGERR_ATTR_MSG).map(wire::text).unwrap_or_default()
}

fn unreadable(sequence: u32) -> Acknowledgement {
    Acknowledgement { sequence, errno: libc::EBADMSG, detail: String::new() }
}

fn exchange(operation: &dyn Fn() -> String, source: io::Error) -> Error {
    Error::Exchange { operation: operation(), source }
}
