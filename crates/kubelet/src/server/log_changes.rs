//! Notices that something is written to a log, by the kernel's word.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// How often a log is looked at when the kernel has no watch left to give.
const PAUSE: Duration = Duration::from_millis(500);
/// Many events in one read; they say no more than one.
const BUFFER: usize = 4096;

pub enum LogChanges {
    Told(AsyncFd<OwnedFd>),
    Looking,
}

impl LogChanges {
    /// Of the file, of its successor when it is put aside, and of all others in its directory.
    pub fn of(path: &Path) -> Self {
        match watch(path) {
            Ok(events) => Self::Told(events),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no watch for a log; it is looked at now and then");
                Self::Looking
            }
        }
    }

    /// Resolves when something has changed since the last call.
    pub async fn next(&mut self) {
        let told = match self {
            Self::Told(events) => drain(events).await,
            Self::Looking => return tokio::time::sleep(PAUSE).await,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the watch for a log is lost");
            *self = Self::Looking;
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe; this descriptor is owned, and nobody closes or replaces it")]
fn watch(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let directory = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&events, directory, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    AsyncFd::new(events)
}

/// Waits for events. Some that do not fit wait for the next call.
async fn drain(events: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let mut ready = events.readable().await?;
        if let Ok(read) = ready.try_io(|events| Ok(rustix::io::read(events, &mut buffer)?)) {
            return read.map(drop);
        }
    }
}
