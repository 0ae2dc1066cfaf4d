//! Which resources there are: the built-in ones, and those that a test adds and takes away.

use api::discovery::{Resource, groups};
use serde_json::{Value, json};

use crate::path::Key;
use crate::state::State;

/// A resource besides the built-in ones, as a CustomResourceDefinition makes them.
pub(crate) struct Served {
    pub group: String,
    pub name: String,
    pub kind: String,
    pub namespaced: bool,
}

const VERSION: &str = "v1";
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

impl State {
    pub fn serves(&self, key: &Key) -> bool {
        let (group, version) = key.group_version();
        let added = self.served.iter().any(|served| served.group == group && served.name == key.resource);
        added || api::discovery::resource(group, version, &key.resource).is_some()
    }

    /// The kind of the objects under a key.
    pub fn kind(&self, key: &Key) -> String {
        let (group, version) = key.group_version();
        let added = self.served.iter().find(|served| served.group == group && served.name == key.resource);
        let known = || api::discovery::resource(group, version, &key.resource).map(|found| found.kind.to_owned());
        added.map(|served| served.kind.clone()).or_else(known).unwrap_or_default()
    }

    /// The answer to a path of discovery.
    pub fn discover(&self, path: &str) -> Option<Value> {
        match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
            ["apis"] => Some(self.groups()),
            ["api", version] => Some(self.resources("", version)),
            ["apis", group, version] => Some(self.resources(group, version)),
            _ => None,
        }
    }

    fn groups(&self) -> Value {
        let built_in = groups().iter().filter(|group| !group.name.is_empty());
        let built_in = built_in.map(|group| group_entry(group.name, group.versions[0].name));
        let added = self.served.iter().map(|served| group_entry(&served.group, VERSION));
        json!({ "kind": "APIGroupList", "groups": built_in.chain(added).collect::<Vec<_>>() })
    }

    fn resources(&self, group: &str, version: &str) -> Value {
        let built_in = groups().iter().filter(|known| known.name == group).flat_map(|group| group.versions);
        let built_in = built_in.filter(|known| known.name == version).flat_map(|version| version.resources);
        let added = self.served.iter().filter(|served| served.group == group);
        let all = built_in.map(entry).chain(added.map(added_entry));
        json!({ "kind": "APIResourceList", "resources": all.collect::<Vec<_>>() })
    }
}

fn group_entry(name: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn entry(resource: &Resource) -> Value {
    let Resource { name, kind, namespaced, verbs, .. } = resource;
    json!({ "name": name, "kind": kind, "namespaced": namespaced, "verbs": verbs })
}

fn added_entry(served: &Served) -> Value {
    json!({ "name": served.name, "kind": served.kind, "namespaced": served.namespaced, "verbs": VERBS })
}
