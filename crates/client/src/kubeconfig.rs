//! kubeconfig files: read, written, merged.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Endpoint, Identity};

#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not a kubeconfig")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("context \"{0}\" does not exist")]
    NoContext(String),
    #[error("the context names no {0}")]
    Missing(&'static str),
    #[error("{what} is not base64")]
    Base64 {
        what: &'static str,
        #[source]
        source: base64::DecodeError,
    },
    #[error("write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A kubeconfig. What it holds beyond the named parts is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kubeconfig {
    #[serde(rename = "apiVersion", default = "v1")]
    pub api_version: String,
    #[serde(default = "config")]
    pub kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub clusters: Vec<Named>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub contexts: Vec<Named>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub users: Vec<Named>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub current_context: String,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn v1() -> String {
    "v1".into()
}

fn config() -> String {
    "Config".into()
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Default for Kubeconfig {
    fn default() -> Self {
        Self {
            api_version: v1(),
            kind: config(),
            clusters: Vec::new(),
            contexts: Vec::new(),
            users: Vec::new(),
            current_context: String::new(),
            other: Map::new(),
        }
    }
}

/// A named cluster, user or context: `{name, cluster|user|context: {…}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    #[serde(flatten)]
    pub content: Map<String, Value>,
}

impl Named {
    fn text(&self, part: &str, field: &str) -> Option<&str> {
        self.content.get(part)?.get(field)?.as_str()
    }
}

impl Kubeconfig {
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| KubeconfigError::Read { path: path.to_owned(), source })?;
        serde_saphyr::from_str(&text)
            .map_err(|source| KubeconfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// One cluster, one user, one context, all of one name.
    pub fn single(name: &str, endpoint: &Endpoint) -> Self {
        let mut cluster = Map::new();
        cluster.insert("server".into(), endpoint.server.as_str().into());
        cluster.insert("certificate-authority-data".into(), STANDARD.encode(&endpoint.ca_pem).into());
        let mut user = Map::new();
        match &endpoint.identity {
            Identity::Certificate { cert_pem, key_pem } => {
                user.insert("client-certificate-data".into(), STANDARD.encode(cert_pem).into());
                user.insert("client-key-data".into(), STANDARD.encode(key_pem).into());
            }
            Identity::Token(token) => drop(user.insert("token".into(), token.as_str().into())),
            Identity::TokenFile(path) => drop(user.insert("tokenFile".into(), path.display().to_string().into())),
            // It changes with time: it stands in a file that the kubeconfig names.
            Identity::Renewed(_) | Identity::None => {}
        }
        let mut context = Map::new();
        context.insert("cluster".into(), name.into());
        context.insert("user".into(), name.into());
        let named = |part: &str, content: Map<String, Value>| Named {
            name: name.into(),
            content: Map::from_iter([(part.to_owned(), Value::Object(content))]),
        };
        Self {
            clusters: vec![named("cluster", cluster)],
            users: vec![named("user", user)],
            contexts: vec![named("context", context)],
            current_context: name.into(),
            ..Self::default()
        }
    }

    /// Takes over the entries of `other`, replacing those of the same name, and its current context.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in
            [(&mut self.clusters, other.clusters), (&mut self.users, other.users), (&mut self.contexts, other.contexts)]
        {
            for entry in theirs {
                mine.retain(|known| known.name != entry.name);
                mine.push(entry);
            }
        }
        if !other.current_context.is_empty() {
            self.current_context = other.current_context;
        }
    }

    /// Forgets cluster, user and context of this name.
    pub fn remove(&mut self, name: &str) {
        for entries in [&mut self.clusters, &mut self.users, &mut self.contexts] {
            entries.retain(|known| known.name != name);
        }
        if self.current_context == name {
            self.current_context.clear();
        }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.contexts.is_empty() && self.users.is_empty()
    }

    /// Written whole or not at all, readable by its owner alone.
    pub fn write(&self, path: &Path) -> Result<(), KubeconfigError> {
        let failed = |source| KubeconfigError::Write { path: path.to_owned(), source };
        let text = serde_saphyr::to_string(self).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).map_err(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}", std::process::id()));
        write_private(&temporary, text.as_bytes()).and_then(|()| std::fs::rename(&temporary, path)).map_err(failed)
    }

    /// The server and identity of a context, the current one by default. Relative file names are meant from `base`.
    pub fn endpoint(&self, context: Option<&str>, base: &Path) -> Result<Endpoint, KubeconfigError> {
        let name = context.unwrap_or(&self.current_context);
        let context = find(&self.contexts, name).ok_or_else(|| KubeconfigError::NoContext(name.into()))?;
        let cluster = context.text("context", "cluster").and_then(|name| find(&self.clusters, name));
        let cluster = cluster.ok_or(KubeconfigError::Missing("cluster"))?;
        let server = cluster.text("cluster", "server").ok_or(KubeconfigError::Missing("server"))?;
        let ca_pem = content(cluster, "cluster", "certificate-authority", base)?.unwrap_or_default();
        let user = context.text("context", "user").and_then(|name| find(&self.users, name));
        let identity = user.map_or(Ok(Identity::None), |user| identity(user, base))?;
        Ok(Endpoint { server: server.into(), ca_pem, identity })
    }

    /// The namespace that a context prefers.
    pub fn namespace(&self, context: Option<&str>) -> Option<&str> {
        find(&self.contexts, context.unwrap_or(&self.current_context))?.text("context", "namespace")
    }
}

fn find<'a>(entries: &'a [Named], name: &str) -> Option<&'a Named> {
    entries.iter().find(|entry| entry.name == name)
}

fn identity(user: &Named, base: &Path) -> Result<Identity, KubeconfigError> {
    if let Some(cert_pem) = content(user, "user", "client-certificate", base)? {
        let key_pem = content(user, "user", "client-key", base)?.ok_or(KubeconfigError::Missing("client-key"))?;
        return Ok(Identity::Certificate { cert_pem, key_pem });
    }
    Ok(match (user.text("user", "token"), user.text("user", "tokenFile")) {
        (_, Some(path)) => Identity::TokenFile(base.join(path)),
        (Some(token), None) => Identity::Token(token.into()),
        (None, None) => Identity::None,
    })
}

/// The text of `<field>-data`, or of the file that `<field>` names.
fn content(entry: &Named, part: &str, field: &'static str, base: &Path) -> Result<Option<Vec<u8>>, KubeconfigError> {
    if let Some(data) = entry.text(part, &format!("{field}-data")) {
        let decoded = STANDARD.decode(data);
        return decoded.map(Some).map_err(|source| KubeconfigError::Base64 { what: field, source });
    }
    let Some(path) = entry.text(part, field).map(|path| base.join(path)) else {
        return Ok(None);
    };
    std::fs::read(&path).map(Some).map_err(|source| KubeconfigError::Read { path, source })
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(server: &str) -> Endpoint {
        let identity = Identity::Certificate { cert_pem: b"cert".into(), key_pem: b"key".into() };
        Endpoint { server: server.into(), ca_pem: b"ca".into(), identity }
    }

    #[test]
    fn a_merged_file_keeps_what_it_had() {
        let directory = std::env::temp_dir().join(format!("coracle-kubeconfig-{}", std::process::id()));
        let path = directory.join("config");
        let mut config = Kubeconfig::single("other", &endpoint("https://other:1"));
        config.merge(Kubeconfig::single("dev", &endpoint("https://old:1")));
        config.merge(Kubeconfig::single("dev", &endpoint("https://new:1")));
        config.write(&path).expect("written");
        let config = Kubeconfig::read(&path).expect("read back");
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!((config.clusters.len(), config.current_context.as_str()), (2, "dev"));
        let found = config.endpoint(None, Path::new("/")).expect("complete");
        assert_eq!((found.server.as_str(), found.ca_pem.as_slice()), ("https://new:1", &b"ca"[..]));
        assert!(matches!(found.identity, Identity::Certificate { key_pem, .. } if key_pem == b"key"));
        assert!(config.endpoint(Some("nobody"), Path::new("/")).is_err());
    }
}
