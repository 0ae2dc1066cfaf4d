//! Unpacks a layer, trusting nothing in it.
//!
//! Every path is opened through a handle of the layer's root with `openat2` and `RESOLVE_IN_ROOT`, so neither `..` nor a
//! symbolic link of an earlier entry can lead out of it. Whiteouts become what overlayfs understands.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, fsetxattr, makedev,
    mkdirat, mknodat, openat, openat2, symlinkat, utimensat,
};
use tar::{Archive, Entry, EntryType};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const ENTRIES_MAX: u64 = 2_000_000;
const BYTES_MAX: u64 = 64 << 30;
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// A layer's root, open.
pub(crate) struct Unpacker<'a> {
    root: OwnedFd,
    /// Directories of the layers below, the nearest first: a parent that the layer only implies looks as it does there.
    below: &'a [PathBuf],
    bytes: u64,
    /// Directories get their times last: entries in them would change them.
    times: Vec<(PathBuf, u64)>,
}

impl<'a> Unpacker<'a> {
    /// `root` is an empty directory.
    pub fn new(root: &Path, below: &'a [PathBuf]) -> io::Result<Self> {
        let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, below, bytes: 0, times: Vec::new() })
    }

    /// Unpacks the whole stream.
    pub fn unpack(mut self, stream: impl Read) -> io::Result<()> {
        let mut archive = Archive::new(stream);
        for (count, entry) in (0..).zip(archive.entries()?) {
            if count >= ENTRIES_MAX {
                return Err(invalid("the layer has too many entries"));
            }
            self.entry(&mut entry?)?;
        }
        for (path, seconds) in std::mem::take(&mut self.times).into_iter().rev() {
            let Ok(directory) = self.open_directory(&path) else {
                continue;
            };
            set_times(&directory, OsStr::new("."), seconds)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let Some(path) = clean(&entry.path()?)? else {
            return self.root_entry(entry);
        };
        let name = path.file_name().ok_or_else(|| invalid("an entry has no name"))?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        let directory = self.make_parents(parent)?;
        let bytes = name.as_bytes();
        if bytes == OPAQUE {
            return set_opaque(&directory);
        }
        if let Some(hidden) = bytes.strip_prefix(WHITEOUT) {
            return whiteout(&directory, hidden);
        }
        self.create(entry, &directory, &name, &path)
    }

    /// The entry of the root itself carries its mode and owner.
    fn root_entry(&mut self, entry: &Entry<'_, impl Read>) -> io::Result<()> {
        let root = self.open_directory(Path::new(""))?;
        own(&root, OsStr::new("."), entry)?;
        chmod(&root, entry)
    }

    fn create(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if kind != EntryType::Directory {
            make_room(directory, name)?;
        }
        match kind {
            EntryType::Directory => return self.directory(entry, directory, name, path),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                return self.file(entry, directory, name);
            }
            EntryType::Link => return self.hard_link(entry, directory, name),
            EntryType::Symlink => symlinkat(link_target(entry)?.as_os_str(), directory, name)?,
            EntryType::Fifo => mknodat(directory, name, FileType::Fifo, mode(entry)?, 0)?,
            EntryType::Char | EntryType::Block => device(entry, directory, name, kind)?,
            EntryType::XGlobalHeader => return Ok(()),
            other => {
                return Err(invalid(format!("entry {} has the unknown type {other:?}", path.display())));
            }
        }
        own(directory, name, entry)?;
        set_times(directory, name, entry.header().mtime().unwrap_or(0))
    }

    fn directory(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> io::Result<()> {
        match mkdirat(parent, name, DIRECTORY_MODE) {
            Err(rustix::io::Errno::EXIST) if !is_directory(parent, name)? => {
                make_room(parent, name)?;
                mkdirat(parent, name, DIRECTORY_MODE)?;
            }
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        own(parent, name, entry)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, name, flags, Mode::empty())?;
        chmod(&made, entry)?;
        set_xattrs(&made, entry)?;
        self.times.push((path.to_owned(), entry.header().mtime().unwrap_or(0)));
        Ok(())
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > BYTES_MAX {
            return Err(invalid("the layer is larger than 64 GiB"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = std::fs::File::from(file);
        io::copy(entry, &mut file)?;
        own(directory, name, entry)?;
        chmod(&file, entry)?;
        set_xattrs(&file, entry)?;
        set_times(directory, name, entry.header().mtime().unwrap_or(0))
    }

    fn hard_link(&mut self, entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let target = clean(&link_target(entry)?)?.ok_or_else(|| invalid("a hard link to the root"))?;
        let from = self.open_directory(target.parent().unwrap_or(Path::new("")))?;
        let file = target.file_name().ok_or_else(|| invalid("a hard link without a target"))?;
        rustix::fs::linkat(&from, file, directory, name, AtFlags::empty())?;
        Ok(())
    }

    fn open_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        Ok(openat2(&self.root, path, flags, Mode::empty(), resolve)?)
    }

    /// Opens the directory, making what is missing of it.
    fn make_parents(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Ok(directory) = self.open_directory(path) {
            return Ok(directory);
        }
        let mut made = PathBuf::new();
        let mut directory = self.open_directory(&made)?;
        for part in path {
            made.push(part);
            directory = match self.open_directory(&made) {
                Ok(next) => next,
                Err(_) => {
                    make_room(&directory, part)?;
                    mkdirat(&directory, part, DIRECTORY_MODE)?;
                    let next = self.open_directory(&made)?;
                    self.copy_from_below(&made, &next)?;
                    next
                }
            };
        }
        Ok(directory)
    }

    fn copy_from_below(&self, path: &Path, directory: &OwnedFd) -> io::Result<()> {
        let found = self.below.iter().find_map(|layer| {
            let root =
                rustix::fs::open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let found = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
            rustix::fs::fstat(found).ok()
        });
        if let Some(stat) = found {
            rustix::fs::fchown(directory, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
            rustix::fs::fchmod(directory, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        Ok(())
    }
}

/// The path without what means nothing. `None` for the root itself.
fn clean(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid(format!("the path {} leads out of the image", path.display())));
            }
        }
    }
    Ok((!clean.as_os_str().is_empty()).then_some(clean))
}

fn link_target(entry: &Entry<'_, impl Read>) -> io::Result<PathBuf> {
    entry.link_name()?.map(|target| target.into_owned()).ok_or_else(|| invalid("a link has no target"))
}

fn is_directory(directory: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Removes what an earlier entry of the same name left.
fn make_room(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR) => remove_tree(directory.as_fd(), name),
        Err(error) => Err(error.into()),
    }
}

fn remove_tree(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = openat(&directory, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&inner)? {
        let entry = entry?;
        let child = OsString::from(OsStr::from_bytes(entry.file_name().to_bytes()));
        if child == "." || child == ".." {
            continue;
        }
        match rustix::fs::unlinkat(&inner, &child, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => remove_tree(&inner, &child)?,
            result => result?,
        }
    }
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// Overlayfs hides what a device 0:0 of the same name stands for.
fn whiteout(directory: &OwnedFd, hidden: &[u8]) -> io::Result<()> {
    let name = OsStr::from_bytes(hidden);
    if hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Err(invalid("a whiteout of no name"));
    }
    make_room(directory, name)?;
    Ok(mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?)
}

fn set_opaque(directory: &OwnedFd) -> io::Result<()> {
    Ok(fsetxattr(directory, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

fn device(entry: &Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr, kind: EntryType) -> io::Result<()> {
    let (major, minor) = (entry.header().device_major()?.unwrap_or(0), entry.header().device_minor()?.unwrap_or(0));
    if (major, minor) == (0, 0) {
        return Err(invalid("a device 0:0 would hide a file of a lower layer"));
    }
    let kind = if kind == EntryType::Char { FileType::CharacterDevice } else { FileType::BlockDevice };
    Ok(mknodat(directory, name, kind, mode(entry)?, makedev(major, minor))?)
}

fn mode(entry: &Entry<'_, impl Read>) -> io::Result<Mode> {
    Ok(Mode::from_raw_mode(entry.header().mode()? & 0o7777))
}

fn chmod(file: impl AsFd, entry: &Entry<'_, impl Read>) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, mode(entry)?)?)
}

fn own(directory: &OwnedFd, name: &OsStr, entry: &Entry<'_, impl Read>) -> io::Result<()> {
    let id = |id: io::Result<u64>| id.and_then(|id| u32::try_from(id).map_err(|_| invalid("an owner is out of range")));
    let (uid, gid) = (id(entry.header().uid())?, id(entry.header().gid())?);
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn set_times(directory: &OwnedFd, name: &OsStr, seconds: u64) -> io::Result<()> {
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// File capabilities and users' own attributes; nothing that overlayfs or a security module would act on.
fn set_xattrs(file: impl AsFd, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension?;
        let name = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr."));
        if let Some(name) = name.filter(|name| *name == "security.capability" || name.starts_with("user.")) {
            match fsetxattr(&file, name, extension.value_bytes(), XattrFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}
