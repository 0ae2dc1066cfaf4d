//! One connection to a monitor: a request, then replies.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::layout::SandboxDir;
use crate::monitor::protocol::{Reply, Request, to_line};
use crate::monitor::{receive, send};
use crate::runtime::RuntimeError;

pub struct Connection {
    uid: String,
    stream: UnixStream,
    buffer: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Connection {
    pub async fn open(dir: &SandboxDir, uid: &str) -> Result<Connection, RuntimeError> {
        let lost = |source| RuntimeError::MonitorLost { uid: uid.to_owned(), source };
        // Through the directory's descriptor, since the full path may be too long for a socket address.
        let directory = std::fs::File::open(dir.path()).map_err(lost)?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&directory);
        let path = PathBuf::from(format!("/proc/self/fd/{descriptor}/{}", crate::layout::SOCKET));
        let stream = UnixStream::connect(path).await.map_err(lost)?;
        Ok(Connection { uid: uid.to_owned(), stream, buffer: Vec::new(), descriptors: Vec::new() })
    }

    fn lost(&self, source: io::Error) -> RuntimeError {
        RuntimeError::MonitorLost { uid: self.uid.clone(), source }
    }

    pub async fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), RuntimeError> {
        let line = to_line(request);
        let mut sent = 0;
        while sent < line.len() {
            let beside = if sent == 0 { descriptors } else { &[] };
            let write = || Ok(send(self.stream.as_fd(), &line[sent..], beside)?);
            sent += self.stream.async_io(Interest::WRITABLE, write).await.map_err(|error| self.lost(error))?;
        }
        Ok(())
    }

    /// The next reply, with the descriptor that came beside it.
    pub async fn next(&mut self) -> Result<(Reply, Option<OwnedFd>), RuntimeError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let reply = serde_json::from_slice(&line).map_err(|error| self.lost(error.into()))?;
                return Ok((reply, self.descriptors.pop()));
            }
            let mut chunk = vec![0; 16 * 1024];
            let descriptors = &mut self.descriptors;
            let read = || Ok(receive(self.stream.as_fd(), &mut chunk, descriptors)?);
            let length = self.stream.async_io(Interest::READABLE, read).await;
            match length.map_err(|error| self.lost(error))? {
                0 => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                length => self.buffer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// A request that is answered once.
    pub async fn ask(&mut self, request: &Request) -> Result<(), RuntimeError> {
        self.send(request, &[]).await?;
        match self.next().await?.0 {
            Reply::Done => Ok(()),
            Reply::Refused { message } => Err(RuntimeError::Refused { message }),
            other => Err(self.lost(io::Error::other(format!("an answer out of order: {other:?}")))),
        }
    }
}
