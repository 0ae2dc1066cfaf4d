//! Images: pulled by name from OCI registries or imported from an archive, unpacked safely, mounted with overlayfs.
//!
//! Layers are kept unpacked, one directory each, named by the digest of their content; an image is an entry in the
//! index. Several processes may share one content directory: changes happen under a file lock, files appear by
//! rename. Must not know: pods, the API. Start at [`ImageService`] and [`Images`].

mod archive;
mod builtin;
mod content;
mod digest;
mod fetch;
mod images;
mod manifest;
mod reference;
mod registries;
mod service;
mod snapshot;
mod transport;
mod unpack;

pub use content::Content;
pub use images::{Config, Images};
pub use manifest::ImageConfig;
pub use reference::{InvalidReference, Reference};
pub use registries::Registries;
pub use service::{FilesystemUsage, ImageError, ImageInfo, ImageService, RegistryAuth};
