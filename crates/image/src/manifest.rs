//! Manifests and configurations, of OCI and of Docker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub digest: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// An index of manifests, or one manifest: told apart by what they hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Document {
    Index { manifests: Vec<Descriptor> },
    Manifest(Manifest),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

impl Document {
    /// What the registry or archive sent, or what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| format!("the answer is no image manifest: {error}"))?;
        if value["schemaVersion"] == 1 {
            return Err("manifests of schema version 1 are not supported; push the image with a newer tool".to_owned());
        }
        serde_json::from_value(value).map_err(|_| {
            "the answer is no image manifest: it has neither a configuration nor a list of manifests".to_owned()
        })
    }
}

/// The architecture's name as images use it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The manifest for this machine.
pub(crate) fn choose(manifests: &[Descriptor]) -> Option<&Descriptor> {
    let fits = |platform: &Platform| platform.os == "linux" && platform.architecture == architecture();
    let single = || (manifests.len() == 1 && manifests[0].platform.is_none()).then(|| &manifests[0]);
    manifests.iter().find(|manifest| manifest.platform.as_ref().is_some_and(fits)).or_else(single)
}

/// The configuration that a digest names an image by.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ImageFile {
    #[serde(default)]
    pub config: Option<WireConfig>,
    #[serde(default)]
    pub rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct WireConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// How a container of the image runs unless its pod says otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub working_dir: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    pub stop_signal: String,
    pub labels: BTreeMap<String, String>,
}

impl From<WireConfig> for ImageConfig {
    fn from(wire: WireConfig) -> Self {
        Self {
            entrypoint: wire.entrypoint.unwrap_or_default(),
            cmd: wire.cmd.unwrap_or_default(),
            env: wire.env.unwrap_or_default(),
            working_dir: wire.working_dir.unwrap_or_default(),
            user: wire.user.unwrap_or_default(),
            exposed_ports: wire.exposed_ports.unwrap_or_default().into_keys().collect(),
            stop_signal: wire.stop_signal.unwrap_or_default(),
            labels: wire.labels.unwrap_or_default(),
        }
    }
}
