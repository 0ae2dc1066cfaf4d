//! A container as its monitor holds it: the process, its streams, its log, and who is attached.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use rustix::io::Errno;

use super::log::{LogWriter, Stream};
use crate::config::ContainerConfig;
use crate::runtime::TerminalSize;

const CHUNK: usize = 64 * 1024;

pub struct Container {
    pub pid: Option<i32>,
    pub started_at: Option<Timestamp>,
    pub ended: bool,
    pub cgroup: String,
    pub tty: bool,
    stdin_once: bool,
    log: LogWriter,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    /// Input that the container has not taken yet; nothing more is read until it has.
    input: Vec<u8>,
    pub attachments: Vec<Attachment>,
}

/// Somebody's `attach`: their ends of the streams.
pub struct Attachment {
    pub client: u64,
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Container {
    pub fn new(config: &ContainerConfig) -> io::Result<Container> {
        Ok(Container {
            pid: None,
            started_at: None,
            ended: false,
            cgroup: config.cgroup.clone(),
            tty: config.tty,
            stdin_once: config.stdin_once,
            log: LogWriter::open(&config.log)?,
            stdout: None,
            stderr: None,
            terminal: None,
            stdin: None,
            input: Vec::new(),
            attachments: Vec::new(),
        })
    }

    pub fn set_stdin(&mut self, stdin: OwnedFd) {
        self.stdin = Some(stdin);
    }

    /// Where input goes.
    pub fn input_end(&self) -> Option<&OwnedFd> {
        if self.tty { self.terminal.as_ref() } else { self.stdin.as_ref() }
    }

    pub fn wants_input(&self) -> bool {
        self.input.is_empty() && self.input_end().is_some()
    }

    pub fn has_input(&self) -> bool {
        !self.input.is_empty() && self.input_end().is_some()
    }

    /// Moves what the container wrote into the log and to the attached. False at the end of the stream.
    pub fn pump_output(&mut self, stream: Stream) -> bool {
        let mut buffer = vec![0; CHUNK];
        let source = match stream {
            Stream::Stdout if self.tty => self.terminal.as_ref(),
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        };
        let Some(source) = source else { return false };
        match rustix::io::read(source, &mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.log.write(stream, &buffer[..length]);
                self.copy_to_attached(stream, &buffer[..length]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // A terminal whose other side is closed says EIO.
            Err(_) => false,
        }
    }

    /// One that does not keep up loses its stream, so that it cannot hold up the container.
    fn copy_to_attached(&mut self, stream: Stream, data: &[u8]) {
        for attachment in &mut self.attachments {
            let end = match stream {
                Stream::Stdout => &mut attachment.stdout,
                Stream::Stderr => &mut attachment.stderr,
            };
            if let Some(fd) = end
                && !write_all(fd, data)
            {
                *end = None;
            }
        }
    }

    pub fn close_output(&mut self, stream: Stream) {
        match stream {
            Stream::Stdout if self.tty => self.terminal = None,
            Stream::Stdout => self.stdout = None,
            Stream::Stderr => self.stderr = None,
        }
    }

    /// Reads from an attached client.
    pub fn take_input(&mut self, index: usize) {
        let mut buffer = vec![0; CHUNK];
        let Some(attachment) = self.attachments.get_mut(index) else {
            return;
        };
        let Some(source) = &attachment.stdin else {
            return;
        };
        match rustix::io::read(source, &mut buffer) {
            Ok(0) => {
                attachment.stdin = None;
                if self.stdin_once && !self.tty {
                    self.stdin = None;
                }
            }
            Ok(length) => {
                self.input.extend_from_slice(&buffer[..length]);
                self.give_input();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => attachment.stdin = None,
        }
    }

    pub fn give_input(&mut self) {
        let end = if self.tty { self.terminal.as_ref() } else { self.stdin.as_ref() };
        let Some(end) = end else {
            return self.input.clear();
        };
        match rustix::io::write(end, &self.input) {
            Ok(length) => drop(self.input.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.input.clear();
                self.stdin = None;
            }
        }
    }

    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        Ok(rustix::termios::tcsetwinsize(
            terminal,
            rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 },
        )?)
    }

    /// Takes what is left in the pipes after the process has ended.
    pub fn drain(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.output_ready(stream) && self.pump_output(stream) {}
        }
        self.log.finish();
    }

    fn output_ready(&self, stream: Stream) -> bool {
        let source = match stream {
            Stream::Stdout if self.tty => self.terminal.as_ref(),
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        };
        let Some(source) = source else { return false };
        let mut poll = [nix::poll::PollFd::new(source.as_fd(), nix::poll::PollFlags::POLLIN)];
        let ready = nix::poll::poll(&mut poll, nix::poll::PollTimeout::ZERO);
        ready.is_ok_and(|count| count > 0)
            && poll[0].revents().is_some_and(|events| events.contains(nix::poll::PollFlags::POLLIN))
    }
}

fn write_all(fd: &OwnedFd, mut data: &[u8]) -> bool {
    while !data.is_empty() {
        match rustix::io::write(fd, data) {
            Ok(length) => data = &data[length..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
