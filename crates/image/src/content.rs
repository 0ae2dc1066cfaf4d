//! The content directory: unpacked layers, manifests and configurations, and the index of images.
//!
//! ```text
//! index.json            which names mean which image
//! blobs/<hex>           manifests and configurations
//! layers/<hex>/         one unpacked layer, by the digest of its content
//! tmp/                  what is not finished
//! lock                  held while the index changes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::digest::{self, Hashing};
use crate::manifest::{ImageConfig, ImageFile};
use crate::service::ImageInfo;
use crate::unpack::Unpacker;

/// What is so old in `tmp` is of a process that was killed: nothing takes so long to finish.
const UNFINISHED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// An image of the index, by its id.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `registry/repository:tag`.
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// `registry/repository@sha256:…`.
    #[serde(default)]
    pub digests: BTreeSet<String>,
    /// Those of the tags that came from an archive: a pull of them is answered from here.
    #[serde(default)]
    pub imported: BTreeSet<String>,
    /// Layers by the digest of their content, lowest first.
    pub layers: Vec<String>,
    pub size: u64,
    pub config: ImageConfig,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Index {
    pub images: BTreeMap<String, Entry>,
}

impl Index {
    /// By id (a prefix will do), tag or digest.
    pub fn find(&self, name: &str) -> Option<(&String, &Entry)> {
        self.images
            .get_key_value(name)
            .or_else(|| self.images.iter().find(|(_, entry)| entry.tags.contains(name) || entry.digests.contains(name)))
    }

    /// Gives `tag` to the image `id` alone.
    pub fn tag(&mut self, id: &str, tag: &str) {
        for (known, entry) in &mut self.images {
            entry.imported.remove(tag);
            if known != id {
                entry.tags.remove(tag);
            }
        }
        if let Some(entry) = self.images.get_mut(id) {
            entry.tags.insert(tag.to_owned());
        }
    }
}

pub(crate) fn info(id: &str, entry: &Entry) -> ImageInfo {
    ImageInfo {
        id: id.to_owned(),
        repo_tags: entry.tags.iter().cloned().collect(),
        repo_digests: entry.digests.iter().cloned().collect(),
        size: entry.size,
        config: entry.config.clone(),
    }
}

/// A content directory. Several processes may hold the same one.
#[derive(Debug)]
pub struct Content {
    root: PathBuf,
    sequence: AtomicU64,
    /// Layers of images that are not in the index yet, by how many wait for each.
    awaited: Mutex<BTreeMap<String, usize>>,
}

/// Layers that stay while this value lives, though no image of the index has them yet.
pub(crate) struct Awaited<'a> {
    content: &'a Content,
    layers: Vec<String>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut awaited = self.content.awaited.lock();
        for layer in &self.layers {
            awaited.entry(layer.clone()).and_modify(|count| *count -= 1);
        }
        awaited.retain(|_, count| *count > 0);
    }
}

impl Content {
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        for part in ["blobs", "layers", "tmp"] {
            fs::create_dir_all(root.join(part))?;
        }
        let content = Self { root, sequence: AtomicU64::new(0), awaited: Mutex::default() };
        content.sweep()?;
        Ok(content)
    }

    /// Deletes what killed processes did not finish.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("tmp"))? {
            let entry = entry?;
            // Another process may finish or sweep it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
            if age > UNFINISHED_MAX {
                let _ =
                    if metadata.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            }
        }
        Ok(())
    }

    /// Keeps these layers from being deleted as unused until their image is in the index.
    pub(crate) fn await_layers(&self, layers: &[String]) -> Awaited<'_> {
        let mut awaited = self.awaited.lock();
        for layer in layers {
            *awaited.entry(layer.clone()).or_default() += 1;
        }
        Awaited { content: self, layers: layers.to_vec() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn index(&self) -> io::Result<Index> {
        match fs::read(self.root.join("index.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes the index while no other process does.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Index) -> io::Result<R>) -> io::Result<R> {
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut index = self.index()?;
        let result = change(&mut index)?;
        let path = self.temporary();
        let mut file = fs::File::create(&path)?;
        file.write_all(&serde_json::to_vec_pretty(&index).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&path, self.root.join("index.json"))?;
        Ok(result)
    }

    /// A new name in `tmp`, this process's own.
    pub(crate) fn temporary(&self) -> PathBuf {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let time = jiff::Timestamp::now().as_nanosecond();
        self.root.join(format!("tmp/{}-{time}-{number}", std::process::id()))
    }

    /// The directory of a layer. The digest must be a valid one.
    pub(crate) fn layer(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(digest::hex(diff_id).unwrap_or("invalid"))
    }

    pub(crate) fn has_layer(&self, diff_id: &str) -> bool {
        digest::is_valid(diff_id) && self.layer(diff_id).is_dir()
    }

    pub(crate) fn write_blob(&self, bytes: &[u8]) -> io::Result<String> {
        let digest = digest::of(bytes);
        let path = self.temporary();
        fs::write(&path, bytes)?;
        fs::rename(path, self.blob(&digest).ok_or(io::ErrorKind::InvalidData)?)?;
        Ok(digest)
    }

    fn blob(&self, digest: &str) -> Option<PathBuf> {
        digest::is_valid(digest).then(|| self.root.join("blobs").join(digest::hex(digest).unwrap_or_default()))
    }

    /// Unpacks a layer, compressed or not, checking that its content has the digest that names it. `below` are the layers
    /// under it, lowest first.
    pub(crate) fn unpack_layer(&self, diff_id: &str, below: &[String], stream: impl Read) -> io::Result<()> {
        if !digest::is_valid(diff_id) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{diff_id} is no digest")));
        }
        if self.has_layer(diff_id) {
            return Ok(());
        }
        let below: Vec<PathBuf> = below.iter().rev().map(|layer| self.layer(layer)).collect();
        let directory = self.temporary();
        fs::create_dir(&directory)?;
        let unpacked = unpack_checked(&directory, &below, stream, diff_id);
        let placed = unpacked.and_then(|()| match fs::rename(&directory, self.layer(diff_id)) {
            Err(_) if self.has_layer(diff_id) => Ok(()), // another process was faster
            result => result,
        });
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        placed
    }

    /// Enters an image whose layers are all present, from its configuration: `digest` is what a registry calls it, and
    /// absent for an archive's. Returns its id.
    pub(crate) fn enter(&self, config: &[u8], tag: Option<&str>, digest: Option<&str>) -> io::Result<String> {
        let file: ImageFile = serde_json::from_slice(config).map_err(io::Error::other)?;
        let id = self.write_blob(config)?;
        let layers = file.rootfs.diff_ids;
        if let Some(missing) = layers.iter().find(|layer| !self.has_layer(layer)) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("layer {missing} is missing")));
        }
        let size = layers.iter().map(|layer| directory_bytes(&self.layer(layer))).sum();
        let config = file.config.map(ImageConfig::from).unwrap_or_default();
        self.change(|index| {
            let (tags, digests, imported) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let fresh = Entry { tags, digests, imported, layers, size, config };
            let entry = index.images.entry(id.clone()).or_insert(fresh);
            entry.digests.extend(digest.map(str::to_owned));
            if let Some(tag) = tag {
                index.tag(&id, tag);
            }
            if let (Some(tag), None, Some(entry)) = (tag, digest, index.images.get_mut(&id)) {
                entry.imported.insert(tag.to_owned());
            }
            Ok(())
        })?;
        Ok(id)
    }

    /// Forgets an image, by name or id, and deletes layers that no image uses. A tag among several goes alone.
    pub(crate) fn remove(&self, name: &str) -> io::Result<bool> {
        self.change(|index| {
            let Some(id) = index.find(name).map(|(id, _)| id.clone()) else {
                return Ok(false);
            };
            let tags = index.images.get_mut(&id).map(|entry| &mut entry.tags);
            if let Some(tags) = tags.filter(|tags| tags.len() > 1 && tags.contains(name)) {
                tags.remove(name);
                index.images.entry(id).and_modify(|entry| drop(entry.imported.take(name)));
                return Ok(true);
            }
            index.images.remove(&id);
            self.delete_unused(index)?;
            Ok(true)
        })
    }

    fn delete_unused(&self, index: &Index) -> io::Result<()> {
        let awaited = self.awaited.lock();
        let layers = index.images.values().flat_map(|entry| &entry.layers).chain(awaited.keys());
        let used: BTreeSet<&str> = layers.filter_map(|layer| digest::hex(layer)).collect();
        for directory in fs::read_dir(self.root.join("layers"))? {
            let directory = directory?;
            if !used.contains(&*directory.file_name().to_string_lossy()) {
                fs::remove_dir_all(directory.path())?;
            }
        }
        Ok(())
    }
}

fn unpack_checked(directory: &Path, below: &[PathBuf], stream: impl Read, diff_id: &str) -> io::Result<()> {
    let mut hashing = Hashing::new(decompressed(stream)?);
    Unpacker::new(directory, below)?.unpack(&mut hashing)?;
    io::copy(&mut hashing, &mut io::sink())?; // what follows the archive's end counts for the digest
    let (_, found) = hashing.finish();
    if found == diff_id {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("the layer's content has digest {found}, not {diff_id}")))
}

/// Looks at the first bytes for the compression.
fn decompressed<'a>(mut stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 4];
    let mut length = 0;
    while length < magic.len() {
        match stream.read(&mut magic[length..])? {
            0 => break,
            count => length += count,
        }
    }
    let rest = io::Cursor::new(magic[..length].to_vec()).chain(stream);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(rest)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(rest)?),
        _ => Box::new(rest),
    })
}

/// Bytes of all files below.
fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
