//! Image names: `[registry/]repository[:tag][@digest]`, short names as Docker completes them.

use std::fmt;

const DEFAULT_REGISTRY: &str = "docker.io";
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format{0}")]
pub struct InvalidReference(&'static str);

/// A complete image name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl Reference {
    /// Completes a short name: `docker.io`, `library/`, and `latest` when it names neither tag nor digest.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(check_digest(digest)?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(name);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(check_tag(tag)?)),
            None => (rest, None),
        };
        let repository = match (registry, path.contains('/')) {
            (DEFAULT_REGISTRY, false) => format!("library/{path}"),
            _ => path.to_owned(),
        };
        check_registry(registry)?;
        check_repository(path, registry.len() + 1 + repository.len())?;
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry: registry.into(), repository, tag, digest })
    }

    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What is asked of a registry: the digest, or else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// `registry/repository@digest`.
    pub fn with_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A first part with a dot or a port, or `localhost`, is a registry.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => match first {
            "index.docker.io" => (DEFAULT_REGISTRY, rest),
            _ => (first, rest),
        },
        _ => (DEFAULT_REGISTRY, name),
    }
}

/// A host name or address, with or without a port.
fn check_registry(registry: &str) -> Result<(), InvalidReference> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let first = registry.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[');
    if first && registry.bytes().all(known) { Ok(()) } else { Err(InvalidReference("")) }
}

fn check_digest(digest: &str) -> Result<String, InvalidReference> {
    let hex = digest.strip_prefix("sha256:").ok_or(InvalidReference(": the digest must begin with sha256:"))?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    valid.then(|| digest.to_owned()).ok_or(InvalidReference(": the digest must have 64 lower-case hex digits"))
}

fn check_tag(tag: &str) -> Result<String, InvalidReference> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    let valid = tag.len() <= TAG_MAX
        && bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    valid.then(|| tag.to_owned()).ok_or(InvalidReference(": the tag is not valid"))
}

fn check_repository(path: &str, full_length: usize) -> Result<(), InvalidReference> {
    if full_length > NAME_MAX {
        return Err(InvalidReference(": the name is longer than 255 characters"));
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(InvalidReference(": repository name must be lowercase"));
    }
    if path.split('/').all(valid_component) { Ok(()) } else { Err(InvalidReference("")) }
}

/// Lower-case letters and digits, separated by `.`, `_`, `__` or dashes.
fn valid_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte));
    let bytes = component.as_bytes();
    let known = bytes.iter().all(|byte| alphanumeric(*byte) || matches!(byte, b'.' | b'_' | b'-'));
    let separators = ["..", "___", "._", "_.", ".-", "-.", "_-", "-_"];
    ends(bytes.first()) && ends(bytes.last()) && known && !separators.iter().any(|pair| component.contains(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = Reference::parse(text).map_or_else(|error| error.to_string(), |reference| reference.to_string());
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn short_names_are_completed() {
        check("nginx", "docker.io/library/nginx:latest");
        check("yanbin/python-web:latest", "docker.io/yanbin/python-web:latest");
        check("localhost:5000/a/b", "localhost:5000/a/b:latest");
        check("localhost/a", "localhost/a:latest");
        check("ghcr.io/x/y:v1.2_3", "ghcr.io/x/y:v1.2_3");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("busybox@{digest}"), &format!("docker.io/library/busybox@{digest}"));
        check(&format!("busybox:1@{digest}"), &format!("docker.io/library/busybox:1@{digest}"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        check("", "invalid reference format");
        check("Nginx", "invalid reference format: repository name must be lowercase");
        check("a b", "invalid reference format");
        check("a//b", "invalid reference format");
        check("nginx:", "invalid reference format: the tag is not valid");
        check("nginx:-x", "invalid reference format: the tag is not valid");
        check("nginx@md5:1", "invalid reference format: the digest must begin with sha256:");
        check("../etc/passwd", "invalid reference format");
        check(&"a".repeat(300), "invalid reference format: the name is longer than 255 characters");
    }
}
