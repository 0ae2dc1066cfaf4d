//! What the kubelet needs of images.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::ImageConfig;

/// An image that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Digest of the configuration: `sha256:…`.
    pub id: String,
    /// `registry/repository:tag` names.
    pub repo_tags: Vec<String>,
    /// `registry/repository@sha256:…` names.
    pub repo_digests: Vec<String>,
    /// Bytes on disk.
    pub size: u64,
    pub config: ImageConfig,
}

/// Credentials for the registries that a pull may ask.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// The registry's host, as in an image name; `docker.io` for the default one.
    pub registry: String,
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryAuth({} as {})", self.registry, self.username)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// Bytes that images take.
    pub image_bytes: u64,
    pub capacity_bytes: u64,
    pub available_bytes: u64,
}

/// Why an image is not to be had. `Display` is the text that users see in a pod's status and events.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("couldn't parse image name \"{reference}\": {why}")]
    InvalidName { reference: String, why: String },
    #[error(
        "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": \
         {reference}: not found"
    )]
    NotFound { reference: String },
    #[error(
        "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": \
         pull access denied, repository does not exist or may require authorization: {why}"
    )]
    Unauthorized { reference: String, why: String },
    /// The registry cannot be reached, or does not work.
    #[error("failed to pull and unpack image \"{reference}\": {why}")]
    RegistryUnavailable { reference: String, why: String },
    /// What came is not what it should be.
    #[error("failed to pull and unpack image \"{reference}\": {why}")]
    Unpack { reference: String, why: String },
    #[error("failed to pull and unpack image \"{reference}\": no match for platform {platform} in manifest")]
    Platform { reference: String, platform: String },
    #[error("image {id} is not present")]
    NotPresent { id: String },
    #[error("{operation}: {source}")]
    Io {
        operation: String,
        #[source]
        source: std::io::Error,
    },
}

impl ImageError {
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}

/// Images and their snapshots on one node.
#[async_trait]
pub trait ImageService: Send + Sync {
    /// The image of this name or id, if it is present.
    async fn status(&self, reference: &str) -> Result<Option<ImageInfo>, ImageError>;

    /// Fetches the image from its registry, or a mirror; a layer that is present is not fetched again.
    async fn pull(&self, reference: &str, auth: &[RegistryAuth]) -> Result<ImageInfo, ImageError>;

    /// Mounts a writable root file system of the image. The same name again gives the same one, with its content.
    async fn prepare(&self, image_id: &str, snapshot: &str) -> Result<PathBuf, ImageError>;

    /// Unmounts and deletes it. One that does not exist is no error.
    async fn remove_snapshot(&self, snapshot: &str) -> Result<(), ImageError>;

    async fn list(&self) -> Result<Vec<ImageInfo>, ImageError>;

    /// Forgets the image of this name or id, and deletes layers that no image uses.
    async fn remove(&self, reference: &str) -> Result<(), ImageError>;

    async fn filesystem_usage(&self) -> Result<FilesystemUsage, ImageError>;
}
