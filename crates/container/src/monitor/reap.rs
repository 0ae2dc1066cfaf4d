//! The ends of processes: collected, judged, journaled.

use jiff::Timestamp;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::container::Container;
use crate::cgroup::Hierarchy;
use crate::runtime::{Exit, ExitReason};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub pid: i32,
    /// As a shell says it: 128 and the signal's number for a signal.
    pub code: i32,
    pub signal: Option<i32>,
}

/// Collects all children that have ended.
pub fn collect() -> Vec<Ended> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => ended.push(Ended { pid: pid.as_raw(), code, signal: None }),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                ended.push(Ended { pid: pid.as_raw(), code: 128 + signal as i32, signal: Some(signal as i32) });
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return ended,
            Ok(_) => {}
        }
    }
}

pub fn exit_of(container: &Container, ended: Ended, hierarchy: Option<&Hierarchy>) -> Exit {
    let oom_kills = hierarchy.map_or(0, |hierarchy| hierarchy.oom_kills(&container.cgroup));
    Exit {
        code: ended.code,
        signal: ended.signal,
        reason: reason(ended, oom_kills),
        message: String::new(),
        started_at: container.started_at,
        finished_at: Timestamp::now(),
    }
}

/// The kernel's kill may have hit the first process or one of its children that it could not do without.
fn reason(ended: Ended, oom_kills: u64) -> ExitReason {
    match ended.code {
        0 => ExitReason::Completed,
        137 if oom_kills > 0 => ExitReason::OomKilled,
        _ => ExitReason::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: i32, oom_kills: u64) -> &'static str {
        reason(Ended { pid: 1, code, signal: None }, oom_kills).as_str()
    }

    #[test]
    fn a_kill_for_want_of_memory_is_told_from_another() {
        assert_eq!(
            [check(137, 1), check(137, 0), check(0, 1), check(1, 0)],
            ["OOMKilled", "Error", "Completed", "Error"]
        );
    }
}
