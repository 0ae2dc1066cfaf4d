//! The images of a node.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::content::{Content, info};
use crate::fetch::{Fetch, Found};
use crate::manifest::{Descriptor, ImageFile};
use crate::registries::Source;
use crate::snapshot::Snapshots;
use crate::{
    FilesystemUsage, ImageError, ImageInfo, ImageService, Reference, Registries, RegistryAuth, archive, builtin,
};

/// Where images and snapshots live.
#[derive(Clone, Debug)]
pub struct Config {
    /// May be shared by several nodes of one machine.
    pub content: PathBuf,
    /// This node's own.
    pub snapshots: PathBuf,
    pub registries: Registries,
}

/// The images of a node.
pub struct Images {
    content: Arc<Content>,
    snapshots: Arc<Snapshots>,
    registries: Registries,
    /// Images and layers on their way, so that all who need the same wait for one transfer.
    turns: Turns,
}

impl Images {
    pub fn open(config: Config) -> io::Result<Self> {
        Ok(Self {
            content: Arc::new(Content::open(config.content)?),
            snapshots: Arc::new(Snapshots::open(config.snapshots)?),
            registries: config.registries,
            turns: Turns::default(),
        })
    }

    /// Imports every image of an archive. Returns their names.
    pub async fn import(&self, path: &Path) -> Result<Vec<String>, ImageError> {
        let (content, path) = (self.content.clone(), path.to_owned());
        blocking("import the archive", move || archive::import(&content, &path)).await
    }

    /// Makes the built-in image present under `tag`: a root file system with `binary` as `/coracle`.
    pub async fn ensure_builtin(&self, tag: &str, binary: &Path) -> Result<String, ImageError> {
        let (content, tag, binary) = (self.content.clone(), tag.to_owned(), binary.to_owned());
        blocking("enter the built-in image", move || builtin::enter(&content, &tag, &binary)).await
    }

    /// Fetches the image from its registry, or a mirror, also one that an archive brought.
    pub async fn pull_anew(&self, name: &str) -> Result<ImageInfo, ImageError> {
        let reference = Reference::parse(name).map_err(|error| invalid_name(name, &error))?;
        self.fetch(name, &reference, &[]).await
    }

    /// An image that an archive brought stands for its name: nodes without a way out run it whatever the pull policy.
    async fn is_imported(&self, reference: &Reference) -> Result<bool, ImageError> {
        let (content, name) = (self.content.clone(), reference.to_string());
        blocking("read the image index", move || {
            Ok(content.index()?.find(&name).is_some_and(|(_, entry)| entry.imported.contains(&name)))
        })
        .await
    }

    async fn fetch(&self, name: &str, reference: &Reference, auth: &[RegistryAuth]) -> Result<ImageInfo, ImageError> {
        let _turn = self.turns.take(&reference.to_string()).await;
        let mut worst: Option<ImageError> = None;
        for source in self.registries.sources(reference, auth) {
            let Err(error) = self.pull_from(&source, reference).await else {
                return self.find(name).await?.ok_or_else(|| ImageError::NotPresent { id: name.to_owned() });
            };
            let cause = &error as &dyn std::error::Error;
            tracing::debug!(endpoint = source.endpoint, error = cause, "pull failed");
            if worst.as_ref().is_none_or(|known| weight(known) < weight(&error)) {
                worst = Some(error);
            }
        }
        Err(worst.unwrap_or_else(|| ImageError::NotFound { reference: reference.to_string() }))
    }

    async fn find(&self, name: &str) -> Result<Option<ImageInfo>, ImageError> {
        let name = match Reference::parse(name) {
            _ if name.starts_with("sha256:") => name.to_owned(),
            Ok(reference) if reference.digest.is_some() => reference.with_digest(reference.version()),
            Ok(reference) => reference.to_string(),
            Err(error) => return Err(invalid_name(name, &error)),
        };
        let content = self.content.clone();
        blocking("read the image index", move || Ok(content.index()?.find(&name).map(|(id, entry)| info(id, entry))))
            .await
    }

    async fn pull_from(&self, source: &Source, reference: &Reference) -> Result<(), ImageError> {
        let fetch = Fetch::new(source, reference);
        let found = fetch.find().await?;
        let file: ImageFile = serde_json::from_slice(&found.config).map_err(|error| unpack(reference, &error))?;
        let diff_ids = file.rootfs.diff_ids;
        if diff_ids.len() != found.manifest.layers.len() {
            return Err(unpack(reference, &"the configuration names another number of layers than the manifest"));
        }
        let _awaited = self.content.await_layers(&diff_ids);
        for (index, layer) in found.manifest.layers.iter().enumerate() {
            self.pull_layer(&fetch, reference, &diff_ids[..=index], layer).await?;
        }
        self.enter(reference, found).await
    }

    /// Makes a layer present: the last of `diff_ids`, over the others.
    async fn pull_layer(
        &self,
        fetch: &Fetch<'_>,
        reference: &Reference,
        diff_ids: &[String],
        layer: &Descriptor,
    ) -> Result<(), ImageError> {
        let Some((diff_id, below)) = diff_ids.split_last() else { return Ok(()) };
        let _turn = self.turns.take(diff_id).await;
        if self.content.has_layer(diff_id) {
            return Ok(());
        }
        let file = Temporary(self.content.temporary());
        let progress = |bytes| {
            tracing::trace!(image = %reference, layer = layer.digest, bytes, size = layer.size, "pulling");
        };
        fetch.blob(layer, &file.0, &progress).await?;
        self.unpack(reference, diff_id, below, &file.0).await?;
        tracing::debug!(image = %reference, layer = layer.digest, bytes = layer.size, "layer pulled");
        Ok(())
    }

    async fn unpack(
        &self,
        reference: &Reference,
        diff_id: &str,
        below: &[String],
        path: &Path,
    ) -> Result<(), ImageError> {
        let (content, path, diff_id, below) =
            (self.content.clone(), path.to_owned(), diff_id.to_owned(), below.to_vec());
        let unpacked =
            tokio::task::spawn_blocking(move || content.unpack_layer(&diff_id, &below, std::fs::File::open(path)?));
        unpacked.await.map_err(|error| unpack(reference, &error))?.map_err(|error| unpack(reference, &error))
    }

    async fn enter(&self, reference: &Reference, found: Found) -> Result<(), ImageError> {
        let content = self.content.clone();
        let tag = reference.tag.as_ref().map(|tag| format!("{}:{tag}", reference.name()));
        let digest = reference.with_digest(&found.digest);
        blocking("enter the image", move || content.enter(&found.config, tag.as_deref(), Some(&digest)).map(drop)).await
    }
}

#[async_trait]
impl ImageService for Images {
    async fn status(&self, reference: &str) -> Result<Option<ImageInfo>, ImageError> {
        self.find(reference).await
    }

    async fn pull(&self, name: &str, auth: &[RegistryAuth]) -> Result<ImageInfo, ImageError> {
        let reference = Reference::parse(name).map_err(|error| invalid_name(name, &error))?;
        if self.is_imported(&reference).await?
            && let Some(image) = self.find(name).await?
        {
            return Ok(image);
        }
        self.fetch(name, &reference, auth).await
    }

    async fn prepare(&self, image_id: &str, snapshot: &str) -> Result<PathBuf, ImageError> {
        let (content, snapshots) = (self.content.clone(), self.snapshots.clone());
        let (id, name) = (image_id.to_owned(), snapshot.to_owned());
        let layers = blocking("read the image index", move || {
            let index = content.index()?;
            Ok(index.find(&id).map(|(_, entry)| entry.layers.iter().map(|layer| content.layer(layer)).collect()))
        });
        let layers: Vec<PathBuf> = layers.await?.ok_or_else(|| ImageError::NotPresent { id: image_id.to_owned() })?;
        blocking("mount the root file system", move || snapshots.prepare(&name, &layers)).await
    }

    async fn remove_snapshot(&self, snapshot: &str) -> Result<(), ImageError> {
        let (snapshots, name) = (self.snapshots.clone(), snapshot.to_owned());
        blocking("remove the root file system", move || snapshots.remove(&name)).await
    }

    async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let content = self.content.clone();
        blocking("read the image index", move || {
            Ok(content.index()?.images.iter().map(|(id, entry)| info(id, entry)).collect())
        })
        .await
    }

    async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let name = match Reference::parse(reference) {
            Ok(parsed) if !reference.starts_with("sha256:") => parsed.to_string(),
            _ => reference.to_owned(),
        };
        let content = self.content.clone();
        match blocking("remove the image", move || content.remove(&name)).await? {
            true => Ok(()),
            false => Err(ImageError::NotPresent { id: reference.to_owned() }),
        }
    }

    async fn filesystem_usage(&self) -> Result<FilesystemUsage, ImageError> {
        let images = self.list().await?;
        let stat = rustix::fs::statvfs(self.snapshots.root())
            .map_err(|error| ImageError::io("read the file system's size")(error.into()))?;
        Ok(FilesystemUsage {
            image_bytes: images.iter().map(|image| image.size).sum(),
            capacity_bytes: stat.f_blocks * stat.f_frsize,
            available_bytes: stat.f_bavail * stat.f_frsize,
        })
    }
}

/// Whose turn it is, by name.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else has the turn of this name.
    async fn take(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock();
            turns.retain(|known, turn| known == name || Arc::strong_count(turn) > 1);
            turns.entry(name.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// A file that goes with this value, also when its pull is given up.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "a temporary file stays");
            }
            _ => {}
        }
    }
}

/// Of several endpoints' errors the heaviest is told: a registry that answers knows more than one that is down.
fn weight(error: &ImageError) -> u8 {
    match error {
        ImageError::RegistryUnavailable { .. } => 0,
        ImageError::NotFound { .. } => 1,
        _ => 2,
    }
}

fn invalid_name(reference: &str, error: &crate::InvalidReference) -> ImageError {
    ImageError::InvalidName { reference: reference.to_owned(), why: error.to_string() }
}

fn unpack(reference: &Reference, why: &dyn std::fmt::Display) -> ImageError {
    ImageError::Unpack { reference: reference.to_string(), why: why.to_string() }
}

/// Runs file system work beside the tasks.
async fn blocking<R: Send + 'static>(
    operation: &str,
    work: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> Result<R, ImageError> {
    let result = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    result.and_then(|result| result).map_err(ImageError::io(operation))
}
