//! Processes that are not our children.

use std::io;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for the end of any process.
pub async fn process_ended(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    // SAFETY: the descriptor is owned by the registration and is not replaced or closed while that lives.
    let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }?;
    handle.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a process to wait for")]
    async fn the_end_of_a_process_is_heard() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut ended = Box::pin(process_ended(pid));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut ended).await.is_err());
        drop(child.stdin.take());
        ended.await.unwrap();
        child.wait().unwrap();
    }
}
