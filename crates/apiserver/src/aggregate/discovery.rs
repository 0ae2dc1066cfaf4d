//! What clients are told of remote group versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::gvk::compare_versions;
use registry::names::intern;
use serde_json::{Map, Value, json};

use super::registration::{group_priority, version_priority};
use super::remote::Remote;
use crate::catalog::{Catalog, Group};
use crate::server::Inner;

/// All groups in the order of discovery: by priority, then by name; those of this server among them in their own order.
pub fn groups(server: &Inner, catalog: &Catalog) -> Vec<Group> {
    let remotes = served(server, catalog);
    let own = catalog.groups().iter().map(|group| Group { name: group.name, versions: group.versions.clone() });
    let mut groups: Vec<Group> = own.collect();
    for remote in &remotes {
        match groups.iter_mut().find(|group| group.name == remote.group) {
            Some(group) => add_version(group, &remotes, remote),
            None => groups.push(Group { name: intern(&remote.group), versions: vec![intern(&remote.version)] }),
        }
    }
    let priority = |name: &str| {
        let remote = remotes.iter().filter(|remote| remote.group == name).map(|remote| remote.group_priority);
        let own = catalog.groups().iter().any(|group| group.name == name).then(|| group_priority(name));
        own.into_iter().chain(remote).max().unwrap_or(0)
    };
    groups.sort_by_key(|group| std::cmp::Reverse(priority(group.name)));
    groups
}

/// The remote group versions that are told of: built-in groups are this server's alone.
fn served(server: &Inner, catalog: &Catalog) -> Vec<Arc<Remote>> {
    let mut remotes: Vec<Arc<Remote>> = server.remotes.all().iter().cloned().collect();
    remotes.retain(|remote| !catalog.is_built_in(&remote.group));
    remotes.sort_by(|a, b| a.group.cmp(&b.group));
    remotes
}

fn add_version(group: &mut Group, remotes: &[Arc<Remote>], remote: &Remote) {
    if !group.versions.contains(&remote.version.as_str()) {
        group.versions.push(intern(&remote.version));
    }
    let name = group.name;
    let priority = |version: &str| {
        let own = remotes.iter().find(|remote| remote.group == name && remote.version == version);
        own.map_or_else(|| version_priority(name, version), |remote| remote.version_priority)
    };
    group.versions.sort_by(|a, b| priority(b).cmp(&priority(a)).then_with(|| compare_versions(b, a)));
}

pub fn is_empty(server: &Inner) -> bool {
    server.remotes.all().is_empty()
}

/// A remote version in aggregated discovery. What cannot be reached is told as it was seen last, and called stale.
pub fn version(server: &Inner, remote: &Remote) -> Value {
    let resources = aggregated(&remote.seen.lock().resources);
    let freshness = if remote.is_available(&server.store) { "Current" } else { "Stale" };
    let mut version = json!({"version": remote.version, "freshness": freshness});
    if !resources.is_empty() {
        version["resources"] = resources.into();
    }
    version
}

/// From the legacy form: subresources stand there beside their resources.
fn aggregated(legacy: &[Value]) -> Vec<Value> {
    let mut resources: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for entry in legacy {
        let name = entry["name"].as_str().unwrap_or_default();
        match name.split_once('/') {
            None => {
                let resource = resources.entry(name).or_default();
                resource.insert("resource".into(), name.into());
                resource.extend(described(entry));
            }
            Some((parent, sub)) => {
                let scope = scope(entry);
                let resource = resources.entry(parent).or_insert_with(|| parent_of(parent, scope));
                let own = json!({"subresource": sub, "responseKind": kind(entry), "verbs": entry["verbs"]});
                let subs = resource.entry("subresources").or_insert_with(|| json!([]));
                subs.as_array_mut().expect("it was made as a list").push(own);
            }
        }
    }
    resources.into_values().map(Value::Object).collect()
}

fn parent_of(name: &str, scope: &str) -> Map<String, Value> {
    Map::from_iter([("resource".to_string(), name.into()), ("scope".to_string(), scope.into())])
}

fn described(entry: &Value) -> Map<String, Value> {
    let mut described = Map::new();
    described.insert("responseKind".into(), kind(entry));
    described.insert("scope".into(), scope(entry).into());
    for (from, to) in [
        ("singularName", "singularResource"),
        ("verbs", "verbs"),
        ("shortNames", "shortNames"),
        ("categories", "categories"),
    ] {
        if let Some(value) = entry.get(from).filter(|value| !value.is_null()) {
            described.insert(to.into(), value.clone());
        }
    }
    described.entry("singularResource").or_insert_with(|| "".into());
    described
}

fn scope(entry: &Value) -> &'static str {
    if entry["namespaced"] == true { "Namespaced" } else { "Cluster" }
}

fn kind(entry: &Value) -> Value {
    let text = |field: &str| entry[field].as_str().unwrap_or_default();
    json!({"group": text("group"), "version": text("version"), "kind": text("kind")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subresources_go_under_their_resource() {
        let legacy = [
            json!({"name": "flunders/status", "namespaced": true, "kind": "Flunder", "verbs": ["get"]}),
            json!({"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
                "verbs": ["list"], "shortNames": ["fl"]}),
        ];
        let kind = json!({"group": "", "version": "", "kind": "Flunder"});
        let expected = json!([{"resource": "flunders", "singularResource": "flunder", "scope": "Namespaced",
            "responseKind": kind, "verbs": ["list"], "shortNames": ["fl"],
            "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get"]}]}]);
        assert_eq!(Value::from(aggregated(&legacy)), expected);
    }
}
