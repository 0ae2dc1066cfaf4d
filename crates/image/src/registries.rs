//! `registries.yaml`: mirrors, credentials and TLS of registries, in the form that k3s gave it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::{Deserialize, Deserializer};

use crate::{Reference, RegistryAuth};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Registries {
    /// By the registry's host, or `*` for all that are not named.
    mirrors: BTreeMap<String, Mirror>,
    /// By host, as mirrors and image names have it, or `*`.
    configs: BTreeMap<String, RegistryConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Mirror {
    endpoint: Vec<String>,
    /// Changes repository names: a regular expression to a replacement, in which `$1` is its first group.
    #[serde(deserialize_with = "rewrites")]
    rewrite: Vec<(Regex, String)>,
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
    /// `username:password` in base64, as Docker's configuration has it.
    auth: String,
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

    /// Where to ask for an image, in order: its mirrors, then its registry itself; each with every credential for it.
    pub(crate) fn sources(&self, reference: &Reference, auth: &[RegistryAuth]) -> Vec<Source> {
        let mirror = self.mirrors.get(&reference.registry).or_else(|| self.mirrors.get("*"));
        let mut sources: Vec<Source> = mirror
            .into_iter()
            .flat_map(|mirror| mirror.endpoint.iter().map(move |endpoint| (mirror, endpoint)))
            .flat_map(|(mirror, endpoint)| {
                self.of_endpoint(endpoint, &reference.registry, &mirror.rewritten(&reference.repository), auth)
            })
            .collect();
        let own =
            self.of_endpoint(&default_endpoint(&reference.registry), &reference.registry, &reference.repository, auth);
        if !sources.iter().any(|source| own.iter().any(|own| own.host == source.host)) {
            sources.extend(own);
        }
        sources
    }

    fn of_endpoint(&self, endpoint: &str, registry: &str, repository: &str, auth: &[RegistryAuth]) -> Vec<Source> {
        let endpoint = if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") };
        let endpoint = endpoint.trim_end_matches('/').trim_end_matches("/v2").to_owned();
        let authority = endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let host = authority.split('/').next().unwrap_or_default().to_owned();
        let credentials = self.credentials(&host, registry, auth);
        let tls = self.config(&host).and_then(|config| config.tls.clone()).unwrap_or_default();
        let source = Source { endpoint, repository: repository.to_owned(), auth: None, tls, host };
        if credentials.is_empty() {
            return vec![source];
        }
        credentials.into_iter().map(|auth| Source { auth: Some(auth), ..source.clone() }).collect()
    }

    fn config(&self, host: &str) -> Option<&RegistryConfig> {
        [host, registry_name(host), "*"].iter().find_map(|key| self.configs.get(*key))
    }

    /// A pod's credentials for the endpoint itself, or else the node's, or else the pod's for the registry that the
    /// endpoint stands for.
    fn credentials(&self, host: &str, registry: &str, auth: &[RegistryAuth]) -> Vec<RegistryAuth> {
        let of = |name: &str| -> Vec<_> { auth.iter().filter(|auth| auth.registry == name).cloned().collect() };
        let own = [of(host), of(registry_name(host))].into_iter().find(|found| !found.is_empty());
        let configured = || Some(vec![self.config(host)?.auth.as_ref()?.for_registry(host)]);
        own.or_else(configured).unwrap_or_else(|| of(registry))
    }
}

impl Auth {
    fn for_registry(&self, host: &str) -> RegistryAuth {
        let decoded = STANDARD.decode(&self.auth).unwrap_or_default();
        let pair = String::from_utf8_lossy(&decoded).into_owned();
        let (username, password) = match pair.split_once(':') {
            Some((username, password)) if self.username.is_empty() => (username.to_owned(), password.to_owned()),
            _ => (self.username.clone(), self.password.clone()),
        };
        RegistryAuth { registry: host.to_owned(), username, password }
    }
}

fn rewrites<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Regex, String)>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let compiled = texts.into_iter().map(|(text, to)| match Regex::new(&text) {
        Ok(pattern) => Ok((pattern, to)),
        Err(error) => Err(serde::de::Error::custom(format!("rewrite {text:?} is no regular expression: {error}"))),
    });
    compiled.collect()
}

impl Mirror {
    /// The first pattern that changes the name does so alone.
    fn rewritten(&self, repository: &str) -> String {
        let changed = |(pattern, to): &(Regex, String)| pattern.replace_all(repository, to.as_str()).into_owned();
        self.rewrite.iter().map(changed).find(|name| name != repository).unwrap_or_else(|| repository.to_owned())
    }
}

/// Loopback registries speak HTTP unless told otherwise, as in Docker.
fn default_endpoint(registry: &str) -> String {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    match host {
        "docker.io" => "https://registry-1.docker.io".into(),
        "localhost" | "[::1]" => format!("http://{registry}"),
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
        assert_eq!(endpoints("{}", "[::1]:5000/a/b"), ["http://[::1]:5000 a/b"]);
    }

    fn users(yaml: &str, image: &str, auth: &[(&str, &str)]) -> Vec<String> {
        let registries: Registries = serde_saphyr::from_str(yaml).expect("valid");
        let known = |&(registry, username): &(&str, &str)| RegistryAuth {
            registry: registry.to_owned(),
            username: username.to_owned(),
            password: "secret".to_owned(),
        };
        let auth: Vec<_> = auth.iter().map(known).collect();
        let sources = registries.sources(&Reference::parse(image).expect("valid"), &auth);
        let user = |source: &Source| source.auth.as_ref().map_or("-".to_owned(), |auth| auth.username.clone());
        sources.iter().map(|source| format!("{} {}", source.host, user(source))).collect()
    }

    #[test]
    fn a_mirror_is_asked_with_its_own_credentials_or_else_those_for_what_it_stands_for() {
        let mirror = "mirrors: {docker.io: {endpoint: [\"http://m\"]}}\n";
        let hub = "registry-1.docker.io";
        assert_eq!(users(mirror, "a", &[("quay.io", "q")]), ["m -".to_owned(), format!("{hub} -")]);
        assert_eq!(users(mirror, "a", &[("docker.io", "d")]), ["m d".to_owned(), format!("{hub} d")]);
        let both = [("docker.io", "d"), ("m", "m1"), ("m", "m2")];
        assert_eq!(users(mirror, "a", &both), ["m m1".to_owned(), "m m2".to_owned(), format!("{hub} d")]);
        let configured = format!("{mirror}configs: {{m: {{auth: {{username: node}}}}}}");
        assert_eq!(users(&configured, "a", &[("docker.io", "d")]), ["m node".to_owned(), format!("{hub} d")]);
        assert_eq!(users(&configured, "a", &both[1..]), ["m m1".to_owned(), "m m2".to_owned(), format!("{hub} -")]);
        let anywhere = "configs: {\"*\": {auth: {auth: bm9kZTpwOnc=}}}";
        assert_eq!(users(anywhere, "quay.io/a/b", &[]), ["quay.io node"]);
    }
}
