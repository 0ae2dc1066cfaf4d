//! Images from an archive: `docker save`'s form, or an OCI layout in a tar file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;

use crate::content::{Awaited, Content};
use crate::manifest::{Descriptor, Document, ImageFile, choose};
use crate::{Reference, digest};

/// Where each file of an archive stands, so that layers are read in any order without a copy.
struct Tar {
    file: File,
    files: HashMap<String, (u64, u64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The annotations that carry an image's name in an OCI layout.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// A text file of an archive is not larger than this.
const TEXT_MAX: u64 = 16 << 20;

/// Imports every image of the archive. Returns their names (or ids, where they have none).
pub(crate) fn import(content: &Content, path: &Path) -> io::Result<Vec<String>> {
    let mut tar = Tar::open(path)?;
    if tar.files.contains_key("manifest.json") {
        import_docker(content, &mut tar)
    } else if tar.files.contains_key("index.json") {
        import_oci(content, &mut tar)
    } else {
        Err(invalid("the file is no image archive: it has neither manifest.json nor index.json"))
    }
}

fn import_docker(content: &Content, tar: &mut Tar) -> io::Result<Vec<String>> {
    let images: Vec<DockerImage> = serde_json::from_slice(&tar.text("manifest.json")?).map_err(io::Error::other)?;
    let mut names = Vec::new();
    for image in images {
        let config = tar.text(&image.config)?;
        let _awaited = unpack_layers(content, tar, &config, &image.layers)?;
        names.extend(enter(content, &config, &image.repo_tags.unwrap_or_default())?);
    }
    Ok(names)
}

fn import_oci(content: &Content, tar: &mut Tar) -> io::Result<Vec<String>> {
    let Document::Index { manifests } = tar.document("index.json")? else {
        return Err(invalid("index.json is no index"));
    };
    let mut names = Vec::new();
    for descriptor in manifests {
        let tags: Vec<String> =
            NAMES.iter().find_map(|name| descriptor.annotations.get(*name)).into_iter().cloned().collect();
        let manifest = match tar.document(&blob_path(&descriptor)?)? {
            Document::Manifest(manifest) => manifest,
            Document::Index { manifests } => {
                let chosen = choose(&manifests).ok_or_else(|| invalid("the archive has no image for this machine"))?;
                let Document::Manifest(manifest) = tar.document(&blob_path(chosen)?)? else {
                    return Err(invalid("an index within an index within an index"));
                };
                manifest
            }
        };
        let config = tar.text(&blob_path(&manifest.config)?)?;
        let layers = manifest.layers.iter().map(blob_path).collect::<io::Result<Vec<_>>>()?;
        let _awaited = unpack_layers(content, tar, &config, &layers)?;
        names.extend(enter(content, &config, &tags)?);
    }
    Ok(names)
}

/// The layers stay until the image is entered.
fn unpack_layers<'a>(content: &'a Content, tar: &mut Tar, config: &[u8], layers: &[String]) -> io::Result<Awaited<'a>> {
    let file: ImageFile = serde_json::from_slice(config).map_err(io::Error::other)?;
    let diff_ids = file.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(invalid("the configuration names another number of layers than the manifest"));
    }
    let awaited = content.await_layers(&diff_ids);
    for (index, (diff_id, layer)) in diff_ids.iter().zip(layers).enumerate() {
        content.unpack_layer(diff_id, &diff_ids[..index], tar.reader(layer)?)?;
    }
    Ok(awaited)
}

fn enter(content: &Content, config: &[u8], tags: &[String]) -> io::Result<Vec<String>> {
    if tags.is_empty() {
        return Ok(vec![content.enter(config, None, None)?]);
    }
    let mut names = Vec::new();
    for tag in tags {
        let name = Reference::parse(tag).map_err(|error| invalid(format!("image name {tag:?}: {error}")))?.to_string();
        content.enter(config, Some(&name), None)?;
        names.push(name);
    }
    Ok(names)
}

fn blob_path(descriptor: &Descriptor) -> io::Result<String> {
    if !digest::is_valid(&descriptor.digest) {
        return Err(invalid(format!("{} is no digest", descriptor.digest)));
    }
    Ok(format!("blobs/{}", descriptor.digest.replacen(':', "/", 1)))
}

impl Tar {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut files = HashMap::new();
        let mut archive = tar::Archive::new(&file);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
            let place = (entry.raw_file_position(), entry.size());
            let place = match target {
                // `docker save` of old links a layer to an equal one: a path beside the link.
                Some(target) => linked(&files, &name, &target),
                None => Some(place),
            };
            files.extend(place.map(|place| (name, place)));
        }
        Ok(Self { file, files })
    }

    fn reader(&mut self, name: &str) -> io::Result<impl Read + use<'_>> {
        let (position, size) = *self.files.get(name).ok_or_else(|| invalid(format!("the archive lacks {name}")))?;
        self.file.seek(SeekFrom::Start(position))?;
        Ok((&self.file).take(size))
    }

    fn text(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.reader(name)?.take(TEXT_MAX).read_to_end(&mut text)?;
        Ok(text)
    }

    fn document(&mut self, name: &str) -> io::Result<Document> {
        serde_json::from_slice(&self.text(name)?).map_err(io::Error::other)
    }
}

/// Where the target of a link within the archive stands.
fn linked(files: &HashMap<String, (u64, u64)>, name: &str, target: &str) -> Option<(u64, u64)> {
    let beside = Path::new(name).parent()?.join(target);
    let mut parts: Vec<&str> = Vec::new();
    for part in beside.to_str()?.split('/') {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    files.get(&parts.join("/")).or_else(|| files.get(target)).copied()
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}
