//! A person at a terminal: what they type, what they see, and the size of their window.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OutputModes, Winsize, tcgetattr, tcgetwinsize, tcsetwinsize,
};

use crate::PATIENCE;

/// A program that has a terminal of its own.
pub struct Terminal {
    /// The side of the keyboard and the screen.
    screen: File,
    child: Child,
    shown: mpsc::Receiver<Vec<u8>>,
    /// Shown, not waited for yet.
    unread: String,
}

pub type Modes = (InputModes, OutputModes, ControlModes, LocalModes);

impl Terminal {
    /// Rows and columns are of the window at the start; the modes before the program had the terminal come with it.
    pub fn start(program: impl AsRef<OsStr>, arguments: &[&str], size: (u16, u16)) -> Result<(Self, Modes)> {
        let screen =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("open a terminal")?;
        grantpt(&screen)?;
        unlockpt(&screen)?;
        set_size(&screen, size)?;
        let name = ptsname(&screen, Vec::new())?;
        let device = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let before = modes(&device)?;
        // A session of its own, led by the program, to which the terminal belongs: so it hears of sizes and of Ctrl-C.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.as_ref()).args(arguments);
        command.stdin(device.try_clone()?).stdout(device.try_clone()?).stderr(device);
        let child = command.spawn().context("run setsid")?;
        let screen = File::from(screen);
        let shown = watch(screen.try_clone()?);
        Ok((Self { screen, child, shown, unread: String::new() }, before))
    }

    pub fn type_in(&mut self, keys: &str) -> Result<()> {
        self.screen.write_all(keys.as_bytes()).context("type")
    }

    /// One line, as the return key ends it.
    pub fn enter(&mut self, line: &str) -> Result<()> {
        self.type_in(&format!("{line}\r"))
    }

    pub fn sees(&mut self, text: &str) -> Result<()> {
        self.sees_until(text).map(drop)
    }

    /// Waits until the screen shows this: what was shown since the last wait.
    pub fn sees_until(&mut self, text: &str) -> Result<String> {
        let began = Instant::now();
        loop {
            if let Some(at) = self.unread.find(text) {
                return Ok(self.unread.drain(..at + text.len()).collect());
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            let Ok(more) = self.shown.recv_timeout(left) else {
                bail!("the terminal does not show {text:?} but {:?}", self.unread);
            };
            self.unread.push_str(&String::from_utf8_lossy(&more));
        }
    }

    /// The window gets another size.
    pub fn resize(&self, size: (u16, u16)) -> Result<()> {
        set_size(&self.screen, size)
    }

    pub fn size(&self) -> Result<(u16, u16)> {
        let size = tcgetwinsize(&self.screen)?;
        Ok((size.ws_row, size.ws_col))
    }

    pub fn modes(&self) -> Result<Modes> {
        modes(&self.screen)
    }

    /// Waits for the program's end: what it showed until then, and how it ended.
    pub fn ends(&mut self) -> Result<(String, ExitStatus)> {
        let began = Instant::now();
        loop {
            match self.shown.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(more) => self.unread.push_str(&String::from_utf8_lossy(&more)),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("it does not end; the terminal shows {:?}", self.unread),
            }
        }
        Ok((std::mem::take(&mut self.unread), self.child.wait()?))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(screen: impl std::os::fd::AsFd, (rows, columns): (u16, u16)) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(screen, size).context("set the window's size")
}

/// The same on both sides of a terminal.
fn modes(side: impl std::os::fd::AsFd) -> Result<Modes> {
    let all = tcgetattr(side).context("read the terminal's modes")?;
    Ok((all.input_modes, all.output_modes, all.control_modes, all.local_modes))
}

/// Reads the screen until the program and all its children have left the terminal.
fn watch(mut screen: File) -> mpsc::Receiver<Vec<u8>> {
    let (sender, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_its_terminal() {
        let (mut terminal, before) = Terminal::start("sh", &[], (24, 80)).unwrap();
        terminal.enter("stty size").unwrap();
        terminal.sees("24 80").unwrap();
        terminal.resize((40, 132)).unwrap();
        terminal.enter("stty size").unwrap();
        terminal.sees("40 132").unwrap();
        terminal.enter("exit 3").unwrap();
        assert_eq!(terminal.ends().unwrap().1.code(), Some(3));
        assert_eq!(terminal.modes().unwrap(), before);
    }
}
