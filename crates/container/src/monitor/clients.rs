//! Connections of agents: requests with descriptors in, replies with descriptors out.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use super::protocol::{DESCRIPTORS_MAX, REQUEST_SIZE_MAX, Reply, Request, to_line};

pub struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    pub role: Role,
}

/// What the connection is for, once its request was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Reading,
    Waiting,
    Subscriber,
    Exec { pid: i32, kill_on_drop: bool },
    Attached { id: String },
}

pub enum Received {
    Nothing,
    Request(Request, Vec<OwnedFd>),
    Closed,
}

impl Client {
    pub fn new(stream: UnixStream) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        Ok(Client { stream, buffer: Vec::new(), descriptors: Vec::new(), role: Role::Reading })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub fn receive(&mut self) -> Received {
        let mut chunk = vec![0; 64 * 1024];
        match receive(self.stream.as_fd(), &mut chunk, &mut self.descriptors) {
            Ok(0) => Received::Closed,
            Ok(length) => self.take(&chunk[..length]),
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(_) => Received::Closed,
        }
    }

    fn take(&mut self, data: &[u8]) -> Received {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() > REQUEST_SIZE_MAX || self.role != Role::Reading {
            return Received::Closed;
        }
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            return Received::Nothing;
        };
        match serde_json::from_slice(&self.buffer[..end]) {
            Ok(request) => {
                self.buffer = Vec::new();
                self.role = Role::Waiting;
                Received::Request(request, std::mem::take(&mut self.descriptors))
            }
            Err(_) => Received::Closed,
        }
    }

    /// Replies are small; one that does not fit belongs to an agent that does not read, which must list again.
    pub fn reply(&self, reply: &Reply, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let line = to_line(reply);
        let sent = send(self.stream.as_fd(), &line, descriptor.as_slice())?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

pub fn receive(socket: BorrowedFd<'_>, data: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(data)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    Ok(message.bytes)
}

pub fn send(socket: BorrowedFd<'_>, data: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(data)], &mut ancillary, SendFlags::NOSIGNAL)
}
