//! Makes layers and archives, also such that no honest tool would make.

use serde_json::json;
use sha2::Digest;
use tar::{EntryType, Header};

#[derive(Default)]
pub struct Layer(Vec<u8>);

impl Layer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn file(self, path: &str, content: &str) -> Self {
        self.entry(path, EntryType::Regular, 0o644, content.as_bytes(), |_| {})
    }

    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, EntryType::Directory, mode, b"", |_| {})
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, 0o777, b"", |header| set_link(header, target))
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, 0o644, b"", |header| set_link(header, target))
    }

    pub fn device(self, path: &str, major: u32, minor: u32) -> Self {
        self.entry(path, EntryType::Char, 0o644, b"", |header| {
            header.set_device_major(major).expect("in range");
            header.set_device_minor(minor).expect("in range");
        })
    }

    /// Writes the header by hand: the library would refuse what a hostile layer says.
    fn entry(mut self, path: &str, kind: EntryType, mode: u32, content: &[u8], more: impl Fn(&mut Header)) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        more(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

fn set_link(header: &mut Header, target: &str) {
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
}

pub fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The form of `docker save`.
pub fn docker_archive(tag: &str, layers: &[Layer]) -> Vec<u8> {
    let layers: Vec<Vec<u8>> = layers.iter().map(Layer::bytes).collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let names: Vec<String> = (0..layers.len()).map(|number| format!("layer{number}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).expect("to memory");
    };
    append("manifest.json", manifest.to_string().as_bytes());
    append("config.json", config.to_string().as_bytes());
    for (name, layer) in names.iter().zip(&layers) {
        append(name, layer);
    }
    builder.into_inner().expect("to memory")
}
