//! Removes what a sandbox or a container leaves: processes, cgroups, mounts, files. Works without a monitor.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Hierarchy;
use crate::layout::{ContainerDir, SandboxDir};
use crate::records::{self, ContainerRecord, SandboxRecord};
use crate::runtime::RuntimeError;

/// A killed process leaves its cgroup when the kernel gets to it; one in an uninterruptible wait may not.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

pub fn remove_sandbox(hierarchy: &Hierarchy, dir: &SandboxDir) -> Result<(), RuntimeError> {
    if !dir.path().exists() {
        return Ok(());
    }
    let record: Option<SandboxRecord> = records::read(&dir.record()).ok().flatten();
    if let Some(record) = record {
        remove_cgroup(hierarchy, &record.config.cgroup)?;
    }
    end_process_one(dir);
    for name in ["net", "ipc", "uts", "pid"] {
        unmount(&dir.namespace(name));
    }
    unmount(&dir.shm());
    // The record goes first: a half removed sandbox is none.
    let _ = fs::remove_file(dir.record());
    remove_directory(dir.path())
}

/// Fine if somebody else was quicker.
fn remove_directory(path: &Path) -> Result<(), RuntimeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RuntimeError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

pub fn remove_container(hierarchy: &Hierarchy, dir: &ContainerDir) -> Result<(), RuntimeError> {
    let record: Option<ContainerRecord> =
        records::read(&dir.record()).map_err(RuntimeError::io("read", dir.record()))?;
    if let Some(record) = record {
        remove_cgroup(hierarchy, &record.config.cgroup)?;
    }
    remove_directory(dir.path())
}

fn remove_cgroup(hierarchy: &Hierarchy, cgroup: &str) -> Result<(), RuntimeError> {
    let begin = Instant::now();
    loop {
        hierarchy.kill_all(cgroup);
        match hierarchy.remove(cgroup) {
            Ok(()) => return Ok(()),
            // Members that are dying: version 1 has no event for an empty group, so look again.
            Err(_) if begin.elapsed() < KILL_WAIT_MAX => std::thread::park_timeout(Duration::from_millis(2)),
            Err(error) => return Err(RuntimeError::io("remove cgroup", cgroup)(error)),
        }
    }
}

fn unmount(path: &Path) {
    if path.exists() {
        let _ = umount2(path, MntFlags::MNT_DETACH);
    }
}

/// Ends process 1 of a shared process namespace, found by the namespace that the bind mount holds.
fn end_process_one(dir: &SandboxDir) {
    let Ok(held) = fs::metadata(dir.namespace("pid")) else {
        return;
    };
    let Ok(names) = records::directory_names(Path::new("/proc")) else {
        return;
    };
    for pid in names.iter().filter_map(|name| name.parse::<i32>().ok()) {
        let namespace = fs::metadata(format!("/proc/{pid}/ns/pid"));
        if namespace.is_ok_and(|namespace| same(&namespace, &held)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    a.ino() == b.ino() && a.dev() == b.dev()
}
