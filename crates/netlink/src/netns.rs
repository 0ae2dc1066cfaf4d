//! Network namespaces held by a bind mount, and work done inside them on a thread of its own.
//!
//! A namespace is a property of a thread, so nothing here touches the calling thread: `setns` and `unshare` happen on
//! a thread that ends with the work. Sockets made inside stay inside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::{Error, Handle, Result};

/// The calling thread's own namespace, to be opened or compared.
const OWN: &str = "/proc/thread-self/ns/net";

/// Makes a new network namespace with its loopback up and mounts it at `path`. One that is there already is kept.
pub fn create(path: &Path) -> Result<()> {
    if exists(path) {
        return Ok(());
    }
    prepare_mount_point(path).map_err(failed(path, "make the mount point"))?;
    let target = path.to_owned();
    let made = on_own_thread(path, move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some(OWN), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
    })?;
    made.map_err(|errno| failed(path, "create and mount")(errno.into()))?;
    Handle::open_in(path)?.set_up_by_name("lo")
}

/// Unmounts the namespace and removes its file. The namespace itself ends with its last process or socket.
pub fn delete(path: &Path) -> Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(failed(path, "unmount")(errno.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// Whether a namespace is mounted at `path`: a plain file left over from a crash is not one.
pub fn exists(path: &Path) -> bool {
    const NSFS_MAGIC: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x6e73_6673);
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC)
}

/// Runs `work` on a thread of its own inside the namespace and returns what it returned.
pub fn in_netns<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let namespace = File::open(path).map_err(failed(path, "open"))?;
    let entered = on_own_thread(path, move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })?;
    entered.map_err(|errno: nix::Error| failed(path, "enter")(errno.into()))
}

fn on_own_thread<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let spawned = thread::Builder::new().name("netns".to_owned()).spawn(work);
    let joined = spawned.map_err(failed(path, "start a thread for"))?.join();
    joined.or_else(|panic| std::panic::resume_unwind(panic))
}

fn prepare_mount_point(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path).map(drop)
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Namespace { path, action, source }
}

/// A namespace that is deleted when this value is dropped.
#[derive(Debug)]
pub struct OwnedNetns {
    path: PathBuf,
}

impl OwnedNetns {
    /// Makes a namespace at `path`; a leftover of the same name is replaced.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        delete(&path)?;
        create(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        in_netns(&self.path, work)
    }

    pub fn handle(&self) -> Result<Handle> {
        Handle::open_in(&self.path)
    }
}

impl Drop for OwnedNetns {
    fn drop(&mut self) {
        if let Err(error) = delete(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "network namespace not deleted");
        }
    }
}
