//! `registries.yaml`: mirrors, credentials and TLS of registries, in the form that k3s gave it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Reference, RegistryAuth};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Registries {
    /// By the registry's host, or `*` for all that are not named.
    mirrors: BTreeMap<String, Mirror>,
    /// By host, as mirrors and image names have it.
    configs: BTreeMap<String, RegistryConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Mirror {
    endpoint: Vec<String>,
    /// Changes repository names: pattern to replacement. Only a prefix `^text` or a whole `^(.*)` pattern is supported.
    rewrite: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RegistryConfig {
    auth: Option<Auth>,
    tls: Option<Tls>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
}

/// TLS of one registry.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Tls {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

/// One place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// `http[s]://host[:port][/path]`, without the `/v2`.
    pub endpoint: String,
    /// `host[:port]`: what credentials and TLS are known under.
    pub host: String,
    pub repository: String,
    pub auth: Option<RegistryAuth>,
    pub tls: Tls,
}

impl Registries {
    /// A file that does not exist is an empty one.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("read {}: {error}", path.display())),
        };
        serde_saphyr::from_str(&text).map_err(|error| format!("{} is not valid: {error}", path.display()))
    }

    /// Where to ask for an image, in order: its mirrors, then its registry itself.
    pub(crate) fn sources(&self, reference: &Reference, auth: &[RegistryAuth]) -> Vec<Source> {
        let mirror = self.mirrors.get(&reference.registry).or_else(|| self.mirrors.get("*"));
        let mut sources: Vec<Source> = mirror
            .into_iter()
            .flat_map(|mirror| mirror.endpoint.iter().map(move |endpoint| (mirror, endpoint)))
            .map(|(mirror, endpoint)| self.source(endpoint, &mirror.rewritten(&reference.repository), auth))
            .collect();
        let own = self.source(&default_endpoint(&reference.registry), &reference.repository, auth);
        if !sources.iter().any(|source| source.host == own.host) {
            sources.push(own);
        }
        sources
    }

    fn source(&self, endpoint: &str, repository: &str, auth: &[RegistryAuth]) -> Source {
        let endpoint = if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") };
        let endpoint = endpoint.trim_end_matches('/').trim_end_matches("/v2").to_owned();
        let authority = endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let host = authority.split('/').next().unwrap_or_default().to_owned();
        let config = self.configs.get(&host).or_else(|| self.configs.get(registry_name(&host)));
        let known = auth.iter().find(|auth| auth.registry == host || auth.registry == registry_name(&host));
        let configured = config.and_then(|config| config.auth.as_ref()).map(|auth| RegistryAuth {
            registry: host.clone(),
            username: auth.username.clone(),
            password: auth.password.clone(),
        });
        Source {
            endpoint,
            repository: repository.to_owned(),
            auth: known.cloned().or(configured),
            tls: config.and_then(|config| config.tls.clone()).unwrap_or_default(),
            host,
        }
    }
}

impl Mirror {
    fn rewritten(&self, repository: &str) -> String {
        for (pattern, replacement) in &self.rewrite {
            let Some(prefix) = pattern.strip_prefix('^') else {
                continue;
            };
            if let Some(prefix) = prefix.strip_suffix("(.*)")
                && let Some(rest) = repository.strip_prefix(prefix)
            {
                return replacement.replace("$1", rest);
            }
            if let Some(rest) = repository.strip_prefix(prefix) {
                return format!("{replacement}{rest}");
            }
        }
        repository.to_owned()
    }
}

/// Loopback registries speak HTTP unless told otherwise, as in Docker.
fn default_endpoint(registry: &str) -> String {
    let host = registry.split(':').next().unwrap_or_default();
    match host {
        "docker.io" => "https://registry-1.docker.io".into(),
        "localhost" => format!("http://{registry}"),
        _ if host.starts_with("127.") => format!("http://{registry}"),
        _ => format!("https://{registry}"),
    }
}

fn registry_name(host: &str) -> &str {
    if host == "registry-1.docker.io" { "docker.io" } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(yaml: &str, image: &str) -> Vec<String> {
        let registries: Registries = serde_saphyr::from_str(yaml).expect("valid");
        let reference = Reference::parse(image).expect("valid");
        let sources = registries.sources(&reference, &[]);
        sources.iter().map(|source| format!("{} {}", source.endpoint, source.repository)).collect()
    }

    #[test]
    fn mirrors_come_before_the_registry_itself() {
        let yaml = "mirrors:\n  docker.io:\n    endpoint: [\"http://10.0.0.1:5000/v2\", cache.example]\n    rewrite: {\"^library/(.*)\": \"hub/$1\"}\n";
        let want = [
            "http://10.0.0.1:5000 hub/nginx",
            "https://cache.example hub/nginx",
            "https://registry-1.docker.io library/nginx",
        ];
        assert_eq!(endpoints(yaml, "nginx"), want);
        assert_eq!(endpoints(yaml, "quay.io/a/b"), ["https://quay.io a/b"]);
        assert_eq!(endpoints("{}", "localhost:5000/a/b"), ["http://localhost:5000 a/b"]);
    }
}
