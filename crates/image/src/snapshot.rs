//! Writable root file systems: an overlay over an image's layers.
//!
//! `<root>/<name>/{upper,work,rootfs}`. A mount that a dead process left is found and used again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, unmount,
};

/// Snapshots live in here.
#[derive(Debug)]
pub(crate) struct Snapshots {
    root: PathBuf,
}

impl Snapshots {
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let valid = !name.is_empty() && !name.starts_with('.') && !name.contains('/') && name.len() <= 255;
        if valid { Ok(self.root.join(name)) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Mounts the layers, lowest first, under a writable one. Mounted already is fine.
    pub fn prepare(&self, name: &str, layers: &[PathBuf]) -> io::Result<PathBuf> {
        let directory = self.directory(name)?;
        let rootfs = directory.join("rootfs");
        for part in ["upper", "work", "rootfs"] {
            fs::create_dir_all(directory.join(part))?;
        }
        if !is_mount_point(&rootfs)? {
            mount_overlay(layers, &directory)?;
        }
        Ok(rootfs)
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        let directory = self.directory(name)?;
        match unmount(directory.join("rootfs"), UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Whether another file system begins here.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

/// Layers one by one, so that their number is not limited by the length of an option text.
fn mount_overlay(layers: &[PathBuf], directory: &Path) -> io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let [only] = layers {
        fsconfig_set_string(&context, "lowerdir", only)?;
    } else {
        for layer in layers.iter().rev() {
            fsconfig_set_string(&context, "lowerdir+", layer)?;
        }
    }
    fsconfig_set_string(&context, "upperdir", directory.join("upper"))?;
    fsconfig_set_string(&context, "workdir", directory.join("work"))?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let target = directory.join("rootfs");
    Ok(move_mount(mount, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}
