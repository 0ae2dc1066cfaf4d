//! A path inside a volume, bound by descriptor: whatever links the volume holds, it cannot be left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};

/// Where the bound path appears on the node.
pub fn target(pod_dir: &Path, volume: &str, container: &str, index: usize) -> PathBuf {
    pod_dir.join("volume-subpaths").join(volume).join(container).join(index.to_string())
}

pub fn bind(volume: &Path, path: &str, target: &Path) -> io::Result<()> {
    let root = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(volume)?;
    let found = open_or_make(root.as_fd(), path)?;
    let _ = nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH);
    make_target(target, &found)?;
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(mount(Some(source.as_str()), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?)
}

fn open(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Missing directories are made, one by one, each inside the root.
fn open_or_make(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let mut done = PathBuf::new();
    let mut found = open(root, Path::new("."))?;
    for part in Path::new(path).components() {
        let part = match part {
            Component::Normal(part) => part,
            Component::CurDir => continue,
            _ => return Err(io::Error::other(format!("subPath {path:?} must stay inside the volume"))),
        };
        done.push(part);
        found = match open(root, &done) {
            Err(rustix::io::Errno::NOENT) => {
                mkdirat(&found, part, Mode::from_raw_mode(0o750))?;
                open(root, &done)?
            }
            opened => opened?,
        };
    }
    Ok(found)
}

fn make_target(target: &Path, found: &OwnedFd) -> io::Result<()> {
    let directory = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(found)?.st_mode).is_dir();
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match (target.exists(), directory) {
        (true, _) => Ok(()),
        (false, true) => fs::create_dir(target),
        (false, false) => File::create(target).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn open_in(volume: &Path, path: &str) -> io::Result<PathBuf> {
        let root = File::open(volume)?;
        let found = open_or_make(root.as_fd(), path)?;
        fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    #[test]
    fn links_cannot_leave_the_volume() {
        let directory = tempfile::tempdir().expect("a directory");
        let volume = directory.path().canonicalize().expect("a path");
        symlink("/etc", volume.join("out")).expect("a link");
        assert_eq!(open_in(&volume, "a/b").expect("made"), volume.join("a/b"));
        assert!(open_in(&volume, "../x").is_err());
        let through = open_in(&volume, "out/passwd");
        assert!(through.is_err() || through.expect("a path").starts_with(&volume));
    }
}
