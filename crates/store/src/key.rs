//! Where an object stands: `group/resource/namespace/name`, the namespace empty for cluster-scoped resources.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// The place of an object. Keys sort as upstream's do: by namespace, then by name, bytewise with the slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    pub fn new(group: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Self(format!("{group}/{resource}/{namespace}/{name}").into())
    }

    /// All keys of a resource, or of one namespace of it.
    pub fn prefix(group: &str, resource: &str, namespace: Option<&str>) -> Prefix {
        Prefix(match namespace {
            Some(namespace) => format!("{group}/{resource}/{namespace}/").into(),
            None => format!("{group}/{resource}/").into(),
        })
    }

    /// From its text, as an engine keeps it. `None` when it does not have four parts.
    pub fn parse(text: &str) -> Option<Self> {
        (text.split('/').count() == 4).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn group(&self) -> &str {
        self.part(0)
    }

    pub fn resource(&self) -> &str {
        self.part(1)
    }

    pub fn namespace(&self) -> &str {
        self.part(2)
    }

    pub fn name(&self) -> &str {
        self.part(3)
    }

    fn part(&self, index: usize) -> &str {
        self.0.split('/').nth(index).unwrap_or_default()
    }

    /// `group/resource/`: what one event log serves.
    pub(crate) fn log_name(&self) -> &str {
        log_name(&self.0)
    }
}

/// Up to and with the second slash.
fn log_name(text: &str) -> &str {
    let end = text.match_indices('/').nth(1).map_or(text.len(), |(at, _)| at + 1);
    &text[..end]
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A range of keys: a resource, or a namespace of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// The range that holds just this key.
    pub fn of_key(key: &Key) -> Self {
        Self(key.0.clone())
    }

    pub fn contains(&self, key: &Key) -> bool {
        if self.0.ends_with('/') { key.0.starts_with(&*self.0) } else { key.0 == self.0 }
    }

    pub(crate) fn log_name(&self) -> &str {
        log_name(&self.0)
    }

    /// The key below all keys of the range.
    pub(crate) fn start(&self) -> Key {
        Key(self.0.clone())
    }

    /// What lies behind all keys of the range: no key ends in the character that follows the slash there.
    pub(crate) fn end(&self) -> Bound<Key> {
        match self.0.strip_suffix('/') {
            Some(above) => Bound::Excluded(Key(format!("{above}0").into())),
            None => Bound::Included(self.start()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_does_not_contain_one_that_begins_like_it() {
        let range = Key::prefix("", "pods", Some("default"));
        assert!(range.contains(&Key::new("", "pods", "default", "a")));
        assert!(!range.contains(&Key::new("", "pods", "default2", "a")));
        assert!(!range.contains(&Key::new("apps", "pods", "default", "a")));
    }

    #[test]
    fn a_key_is_read_back_in_parts() {
        let key = Key::parse("apps/deployments/shop/web").expect("four parts");
        assert_eq!((key.group(), key.resource()), ("apps", "deployments"));
        assert_eq!((key.namespace(), key.name()), ("shop", "web"));
        assert_eq!(key.log_name(), "apps/deployments/");
        assert!(Key::parse("pods/web").is_none());
    }
}
