//! What kubeconfig files say, as `config` shows and writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client::kubeconfig::{Kubeconfig, KubeconfigError, Named};
use serde_json::{Map, Value, json};

use super::unreadable;
use crate::failure::Failure;

/// The order of keys in JSON.
pub const KEY_ORDER: &[&str] = &[
    "name",
    "kind",
    "command",
    "args",
    "env",
    "apiVersion",
    "installHint",
    "provideClusterInfo",
    "interactiveMode",
    "preferences",
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority",
    "certificate-authority-data",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
    "username",
    "password",
    "auth-provider",
    "exec",
    "clusters",
    "users",
    "contexts",
    "current-context",
    "cluster",
    "user",
    "namespace",
    "proxy-url",
    "disable-compression",
    "extensions",
];

/// A cluster, a user or a context, and the file that it stands in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stanza {
    pub fields: Map<String, Value>,
    pub origin: Option<PathBuf>,
}

impl Stanza {
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets a text. An empty one is none.
    pub fn set(&mut self, field: &str, value: impl Into<String>) {
        match value.into() {
            empty if empty.is_empty() => drop(self.fields.remove(field)),
            value => drop(self.fields.insert(field.to_owned(), value.into())),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub clusters: BTreeMap<String, Stanza>,
    pub contexts: BTreeMap<String, Stanza>,
    pub users: BTreeMap<String, Stanza>,
    pub current_context: String,
    /// Preferences, extensions, and what is not known.
    pub rest: Map<String, Value>,
}

impl Settings {
    /// Of one file; of a file that is not there, nothing.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let is_blank = std::fs::metadata(path).map_or_else(
            |error| error.kind() == std::io::ErrorKind::NotFound,
            |metadata| metadata.is_file() && metadata.len() == 0,
        );
        if is_blank {
            return Ok(Self::default());
        }
        match Kubeconfig::read(path) {
            Ok(kubeconfig) => Ok(Self::of(kubeconfig, path)),
            Err(KubeconfigError::Read { path, source }) => {
                Err(Failure::Plain(format!("open {}: {}", path.display(), super::os_text(&source))))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn of(kubeconfig: Kubeconfig, path: &Path) -> Self {
        let stanzas = |entries: Vec<Named>, part: &str| {
            let stanza = |mut entry: Named| {
                let fields = match entry.content.remove(part) {
                    Some(Value::Object(fields)) => fields,
                    _ => Map::new(),
                };
                (entry.name, Stanza { fields, origin: Some(path.to_owned()) })
            };
            entries.into_iter().map(stanza).collect()
        };
        let mut rest = kubeconfig.other;
        rest.retain(|_, value| !is_empty(value));
        Self {
            clusters: stanzas(kubeconfig.clusters, "cluster"),
            contexts: stanzas(kubeconfig.contexts, "context"),
            users: stanzas(kubeconfig.users, "user"),
            current_context: kubeconfig.current_context,
            rest,
        }
    }

    /// Adds what another says of things that this does not speak of.
    pub fn add(&mut self, other: Self) {
        let add = |own: &mut BTreeMap<String, Stanza>, others: BTreeMap<String, Stanza>| {
            for (name, stanza) in others {
                own.entry(name).or_insert(stanza);
            }
        };
        add(&mut self.clusters, other.clusters);
        add(&mut self.contexts, other.contexts);
        add(&mut self.users, other.users);
        if self.current_context.is_empty() {
            self.current_context = other.current_context;
        }
        for (key, value) in other.rest {
            self.rest.entry(key).or_insert(value);
        }
    }

    /// The three maps, each with its name.
    pub fn parts(&self) -> [&BTreeMap<String, Stanza>; 3] {
        [&self.clusters, &self.contexts, &self.users]
    }

    pub fn parts_mut(&mut self) -> [&mut BTreeMap<String, Stanza>; 3] {
        [&mut self.clusters, &mut self.contexts, &mut self.users]
    }

    /// As it is written, with all that is always there.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": listed(&self.clusters, "cluster", &["server"]),
            "contexts": listed(&self.contexts, "context", &["cluster", "user"]),
            "users": listed(&self.users, "user", &[]),
            "current-context": self.current_context,
        });
        for (key, rest) in self.rest.iter().filter(|(_, rest)| !is_empty(rest)) {
            value[key] = rest.clone();
        }
        value
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

/// Sorted by name; `null` if there is none.
fn listed(stanzas: &BTreeMap<String, Stanza>, part: &str, always: &[&str]) -> Value {
    if stanzas.is_empty() {
        return Value::Null;
    }
    stanzas.iter().map(|(name, stanza)| json!({"name": name, part: complete(&stanza.fields, always)})).collect()
}

/// Without what is empty, but with what is always written.
fn complete(fields: &Map<String, Value>, always: &[&str]) -> Value {
    let mut whole = Map::new();
    for (key, value) in fields {
        match key.as_str() {
            "exec" if value.is_object() => drop(whole.insert(key.clone(), complete_exec(value))),
            "auth-provider" if value.is_object() => {
                let config = value.get("config").cloned().unwrap_or(Value::Null);
                whole.insert(key.clone(), json!({"config": config, "name": value["name"]}));
            }
            _ if is_empty(value) => {}
            _ => drop(whole.insert(key.clone(), value.clone())),
        }
    }
    for key in always {
        whole.entry(*key).or_insert_with(|| "".into());
    }
    Value::Object(whole)
}

fn complete_exec(exec: &Value) -> Value {
    let mut whole = exec.as_object().cloned().unwrap_or_default();
    whole.retain(|key, value| !is_empty(value) || (["args", "env"].contains(&key.as_str()) && value.is_array()));
    for (key, value) in [("command", "".into()), ("args", Value::Null), ("env", Value::Null)] {
        whole.entry(key).or_insert(value);
    }
    whole.entry("provideClusterInfo").or_insert(Value::Bool(false));
    Value::Object(whole)
}
