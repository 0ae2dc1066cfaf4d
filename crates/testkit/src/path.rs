//! What a request names: paths and selectors.

use std::fmt;

use apimachinery::{fields, labels};
use serde_json::Value;

/// An object, or a collection when it has no name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `/api/v1` or `/apis/<group>/<version>`.
    pub root: String,
    /// The plural name.
    pub resource: String,
    /// Empty: cluster-scoped, or all namespaces.
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// The key and the subresource.
    pub fn parse(path: &str) -> Option<(Key, String)> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (root, rest) = parts.split_at_checked(if parts[0] == "api" { 2 } else { 3 })?;
        let (namespace, rest) = match rest {
            ["namespaces", name, part @ ("status" | "finalize")] => ("", ["namespaces", *name, *part].to_vec()),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest.to_vec()),
            rest => ("", rest.to_vec()),
        };
        let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        let (root, namespace) = (format!("/{}", root.join("/")), namespace.to_owned());
        Some((Key { root, resource: (*rest.first()?).to_owned(), namespace, name: part(1) }, part(2)))
    }

    pub fn object(path: &str) -> Key {
        Key::parse(path).expect("a path of the API").0
    }

    pub fn named(self, name: &str) -> Key {
        Key { name: name.to_owned(), ..self }
    }

    pub fn group_version(&self) -> (&str, &str) {
        self.root.strip_prefix("/apis/").and_then(|rest| rest.split_once('/')).unwrap_or(("", "v1"))
    }

    /// Whether `object` is one of this collection.
    pub fn holds(&self, object: &Key) -> bool {
        self.root == object.root
            && self.resource == object.resource
            && (self.namespace.is_empty() || self.namespace == object.namespace)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { root, resource, namespace, name } = self;
        f.write_str(root)?;
        if !namespace.is_empty() {
            write!(f, "/namespaces/{namespace}")?;
        }
        write!(f, "/{resource}/{name}")
    }
}

/// Which objects a list or a watch is of.
pub(crate) struct Selection {
    pub collection: Key,
    pub labels: labels::Selector,
    pub fields: fields::Selector,
}

impl Selection {
    pub fn new(collection: Key, query: &str) -> Selection {
        let text = |name| parameter(query, name).unwrap_or_default();
        Selection {
            collection,
            labels: labels::Selector::parse(&text("labelSelector")).expect("a label selector"),
            fields: fields::Selector::parse(&text("fieldSelector")).expect("a field selector"),
        }
    }

    pub fn selects(&self, key: &Key, object: &Value) -> bool {
        let field = |name: &str| object.pointer(&format!("/{}", name.replace('.', "/"))).and_then(Value::as_str);
        self.collection.holds(key) && self.labels.matches_object(object) && self.fields.matches(field)
    }
}

/// A parameter of a query string.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut pieces = value.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("an encoded byte"));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Some(String::from_utf8(bytes).expect("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_object_and_its_part() {
        let check = |path: &str, key: &str, part: &str| {
            let (found, subresource) = Key::parse(path).expect("a path");
            assert_eq!((found.to_string().as_str(), subresource.as_str()), (key, part));
        };
        check("/api/v1/namespaces/a", "/api/v1/namespaces/a", "");
        check("/api/v1/namespaces/a/finalize", "/api/v1/namespaces/a", "finalize");
        check("/api/v1/namespaces/a/pods/b/status", "/api/v1/namespaces/a/pods/b", "status");
        check("/apis/apps/v1/replicasets", "/apis/apps/v1/replicasets/", "");
    }

    #[test]
    fn a_parameter_is_decoded() {
        assert_eq!(parameter("watch=true&fieldSelector=a%3Db%2Fc", "fieldSelector").as_deref(), Some("a=b/c"));
    }
}
