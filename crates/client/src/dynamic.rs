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
    preferred_version: GroupVersion,
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

/// The resources that the server offers, each in its group's preferred version; no subresources.
pub async fn discover(client: &Client) -> Result<Vec<ApiResource>, Error> {
    let mut places = Vec::new();
    let core: Versions = client.get("/api").await?;
    places.extend(core.versions.into_iter().map(|version| (String::new(), version)));
    let groups: Groups = client.get("/apis").await?;
    places.extend(groups.groups.into_iter().map(|group| (group.name, group.preferred_version.version)));
    let mut found = Vec::new();
    for (group, version) in places {
        let list: Resources = client.get(&root(&group, &version)).await?;
        let whole = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
        found.extend(whole.map(|resource| ApiResource {
            group: group.clone(),
            version: version.clone(),
            kind: resource.kind,
            name: resource.name,
            namespaced: resource.namespaced,
            verbs: resource.verbs,
        }));
    }
    Ok(found)
}
