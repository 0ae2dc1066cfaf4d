//! Objects of any kind, by their metadata.

use api::k8s::{Metadata, NamespaceResourceScope, Resource};
use api::metav1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::api::root;
use crate::{Api, Client, Error};

/// An object of which only the metadata is looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialObject {
    #[serde(default)]
    pub api_version: String,
    #[serde(default)]
    pub kind: String,
    pub metadata: ObjectMeta,
}

impl Resource for PartialObject {
    const API_VERSION: &'static str = "meta.k8s.io/v1";
    const GROUP: &'static str = "meta.k8s.io";
    const KIND: &'static str = "PartialObjectMetadata";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "";
    type Scope = NamespaceResourceScope;
}

impl Metadata for PartialObject {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A resource that the server offers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiResource {
    pub group: String,
    pub version: String,
    pub kind: String,
    /// The plural name.
    pub name: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl ApiResource {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// One namespace of it, or all of it.
    pub fn api(&self, client: &Client, namespace: Option<&str>) -> Api<PartialObject> {
        let namespace = namespace.filter(|_| self.namespaced).map(str::to_owned);
        Api::new(client, root(&self.group, &self.version), &self.name, namespace)
    }
}

#[derive(Deserialize)]
struct Versions {
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    versions: Vec<GroupVersion>,
    preferred_version: GroupVersion,
}

impl Group {
    /// The preferred version, then the others.
    fn versions(&self) -> impl Iterator<Item = &str> {
        let preferred = self.preferred_version.version.as_str();
        let others = self.versions.iter().map(|version| version.version.as_str());
        std::iter::once(preferred).chain(others.filter(move |version| *version != preferred))
    }
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<WireResource>,
}

#[derive(Deserialize)]
struct WireResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

impl WireResource {
    fn at(self, group: &str, version: &str) -> ApiResource {
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: self.kind,
            name: self.name,
            namespaced: self.namespaced,
            verbs: self.verbs,
        }
    }
}

/// What the server offers, as far as it could be learned.
#[derive(Debug, Default)]
pub struct Discovered {
    pub resources: Vec<ApiResource>,
    /// Groups and versions, as in `apps/v1`, that did not answer.
    pub failures: Vec<(String, Error)>,
}

/// The resources that the server offers, each once: in its group's preferred version, or else in the first that has it; no
/// subresources. A group that fails does not hide the others.
pub async fn discover_available(client: &Client) -> Result<Discovered, Error> {
    let core: Versions = client.get("/api").await?;
    let groups: Groups = client.get("/apis").await?;
    let mut found = Discovered::default();
    for version in &core.versions {
        found.ask(client, "", version).await;
    }
    for group in &groups.groups {
        for version in group.versions() {
            found.ask(client, &group.name, version).await;
        }
    }
    Ok(found)
}

impl Discovered {
    async fn ask(&mut self, client: &Client, group: &str, version: &str) {
        match client.get::<Resources>(&root(group, version)).await {
            Ok(list) => self.take(group, version, list),
            Err(error) => {
                let place = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
                self.failures.push((place, error));
            }
        }
    }

    fn take(&mut self, group: &str, version: &str, list: Resources) {
        for resource in list.resources.into_iter().filter(|resource| !resource.name.contains('/')) {
            if !self.resources.iter().any(|known| known.group == group && known.name == resource.name) {
                self.resources.push(resource.at(group, version));
            }
        }
    }
}

/// The same, where every group must answer.
pub async fn discover(client: &Client) -> Result<Vec<ApiResource>, Error> {
    let found = discover_available(client).await?;
    match found.failures.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(found.resources),
    }
}
