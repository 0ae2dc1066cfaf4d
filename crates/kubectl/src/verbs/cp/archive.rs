//! Files into an archive, and out of one. Both block, on the two ends of a pipe.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;

use super::paths::{directory, is_within, join};
use crate::Streams;
use crate::config::os_text;

/// An end of a pipe for code that blocks.
pub struct Blocking {
    pub pipe: DuplexStream,
    pub runtime: Handle,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.pipe.read(buffer))
    }
}

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.pipe.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.runtime.block_on(self.pipe.flush())
    }
}

fn told(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> String {
    let place = format!("{doing} {}", path.display());
    move |error| format!("{place}: {}", os_text(&error))
}

/// Writes a file, a link, or a directory with all beneath it, under this name.
pub fn pack(source: &Path, name: &str, out: impl Write) -> Result<(), String> {
    let mut archive = Builder::new(out);
    add(&mut archive, source, name)?;
    archive.into_inner().and_then(|mut out| out.flush()).map_err(|error| os_text(&error))
}

fn add(archive: &mut Builder<impl Write>, source: &Path, name: &str) -> Result<(), String> {
    let metadata = fs::symlink_metadata(source).map_err(told("lstat", source))?;
    if metadata.is_dir() {
        return add_directory(archive, source, name, &metadata);
    }
    let mut header = Header::new_gnu();
    header.set_metadata(&metadata);
    let added = if metadata.is_symlink() {
        let target = fs::read_link(source).map_err(told("readlink", source))?;
        header.set_size(0);
        archive.append_link(&mut header, name, target)
    } else {
        let file = File::open(source).map_err(told("open", source))?;
        // A file that grows while it is read shall not break the archive.
        archive.append_data(&mut header, name, file.take(metadata.len()))
    };
    added.map_err(|error| os_text(&error))
}

fn add_directory(
    archive: &mut Builder<impl Write>,
    source: &Path,
    name: &str,
    metadata: &fs::Metadata,
) -> Result<(), String> {
    let entries = fs::read_dir(source).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = entries.map_err(told("open", source))?;
    if entries.is_empty() {
        let mut header = Header::new_gnu();
        header.set_metadata(metadata);
        header.set_size(0);
        return archive.append_data(&mut header, name, io::empty()).map_err(|error| os_text(&error));
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let beneath = entry.file_name();
        let beneath =
            beneath.to_str().ok_or_else(|| format!("{} has a name that is no text", entry.path().display()))?;
        add(archive, &entry.path(), &join(name, beneath))?;
    }
    Ok(())
}

/// What is unpacked, and where to.
pub struct Unpacking {
    pub namespace: String,
    pub pod: String,
    pub source: String,
    /// What the names in the archive begin with.
    pub prefix: String,
    pub destination: String,
}

impl Unpacking {
    /// Writes the archive's files and directories, and nothing outside the destination. Links are passed over.
    pub fn unpack(&self, archive: impl Read, streams: &Streams) -> Result<(), String> {
        let mut archive = tar::Archive::new(archive);
        let mut has_explained = false;
        for entry in archive.entries().map_err(|error| unreadable(&error))? {
            let mut entry = entry.map_err(|error| unreadable(&error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(rest) = name.strip_prefix(&self.prefix) else {
                return Err("tar contents corrupted".into());
            };
            let path = join(&self.destination, rest.trim_end_matches('/'));
            if !is_within(&self.destination, &path) {
                streams.note(format!("warning: file {path:?} is outside target destination, skipping"));
                continue;
            }
            let kind = entry.header().entry_type();
            if kind.is_symlink() {
                let target = entry.link_name_bytes().unwrap_or_default();
                self.pass_over(&path, &String::from_utf8_lossy(&target), !has_explained, streams);
                has_explained = true;
                continue;
            }
            make(&path, kind, &mut entry)?;
        }
        Ok(())
    }

    fn pass_over(&self, path: &str, target: &str, explain: bool, streams: &Streams) {
        let hint = format!(
            " (consider using \"kubectl exec -n {:?} {:?} -- tar cf - {:?} | tar xf -\")",
            self.namespace, self.pod, self.source
        );
        let hint = if explain { hint.as_str() } else { "" };
        streams.note(format!("warning: skipping symlink: {path:?} -> {target:?}{hint}"));
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => os_text(error),
    }
}

/// Names the file that stands where a directory should be.
fn make_directories(path: &Path) -> Result<(), String> {
    match path.ancestors().find(|above| above.is_file()) {
        Some(file) => Err(format!("mkdir {}: not a directory", file.display())),
        None => fs::create_dir_all(path).map_err(told("mkdir", path)),
    }
}

fn make(path: &str, kind: EntryType, content: &mut impl Read) -> Result<(), String> {
    let above = directory(path);
    make_directories(Path::new(&above))?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
    if kind.is_dir() {
        return make_directories(path);
    }
    let mut file = File::create(path).map_err(told("open", path))?;
    io::copy(content, &mut file).map_err(told("write", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Streams {
        Streams::new(io::sink(), io::sink())
    }

    fn unpacking(prefix: &str, destination: &Path) -> Unpacking {
        Unpacking {
            namespace: "n".into(),
            pod: "p".into(),
            source: "s".into(),
            prefix: prefix.into(),
            destination: destination.display().to_string(),
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let long = "x".repeat(150);
        fs::create_dir_all(from.join("sub/empty")).expect("made");
        fs::write(from.join("sub").join(&long), "content").expect("written");
        fs::write(from.join("a"), "").expect("written");
        std::os::unix::fs::symlink("a", from.join("link")).expect("linked");
        let mut archive = Vec::new();
        pack(&from, "top", &mut archive).expect("packed");
        unpacking("top", &to).unpack(archive.as_slice(), &streams()).expect("unpacked");
        assert_eq!(fs::read_to_string(to.join("sub").join(&long)).expect("there"), "content");
        assert!(to.join("sub/empty").is_dir() && to.join("a").is_file() && !to.join("link").exists());
        let other = unpacking("other", &to).unpack(archive.as_slice(), &streams());
        assert_eq!(other, Err("tar contents corrupted".into()));
        let half = unpacking("top", &to).unpack(&archive[..700], &streams());
        assert!(half.is_err());
    }

    #[test]
    fn nothing_leaves_the_destination() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut header = Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        // The library refuses to write such a name by itself.
        header.as_gnu_mut().expect("a GNU header").name[..11].copy_from_slice(b"top/../evil");
        header.set_cksum();
        let mut archive = Builder::new(Vec::new());
        archive.append(&header, &b"x"[..]).expect("added");
        let archive = archive.into_inner().expect("finished");
        let to = directory.path().join("to");
        unpacking("top", &to).unpack(archive.as_slice(), &streams()).expect("passed over");
        assert!(!directory.path().join("evil").exists());
    }
}
