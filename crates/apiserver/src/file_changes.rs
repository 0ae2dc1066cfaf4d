//! Notices that a file is written or replaced, by the kernel's word.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// Many events in one read; they say no more than one.
const BUFFER: usize = 4096;

/// Changes in the directory of a file: a mounted file is replaced by a link beside it.
pub struct FileChanges(AsyncFd<OwnedFd>);

impl FileChanges {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; this descriptor is owned, and nobody closes or replaces it"
    )]
    pub fn of(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let wanted = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&events, directory, wanted)?;
        Ok(Self(AsyncFd::new(events)?))
    }

    /// Waits until something changes. What does not fit waits for the next call.
    pub async fn next(&self) -> io::Result<()> {
        let mut buffer = [0; BUFFER];
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(read) = ready.try_io(|events| Ok(rustix::io::read(events, &mut buffer)?)) {
                return read.map(drop);
            }
        }
    }
}
