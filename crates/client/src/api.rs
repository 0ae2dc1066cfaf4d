//! One kind, typed.

use std::fmt::Debug;
use std::marker::PhantomData;

use api::metav1::ObjectMeta;
use futures::Stream;
use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::{build, build_json};
use crate::{Client, Error, WatchEvent, watch};

/// A kind that can be read and written.
pub trait Object:
    api::k8s::Resource
    + api::k8s::Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Empty for cluster-scoped objects.
    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    fn resource_version(&self) -> &str {
        self.metadata().resource_version.as_deref().unwrap_or_default()
    }

    fn key(&self) -> apimachinery::ObjectKey {
        apimachinery::ObjectKey::new(self.namespace(), self.name())
    }
}

impl<K> Object for K where
    K: api::k8s::Resource
        + api::k8s::Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListParams {
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    pub limit: Option<u32>,
    pub continue_token: Option<String>,
    /// Absent: the newest state.
    pub resource_version: Option<String>,
}

impl ListParams {
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: Some(selector.into()), ..Self::default() }
    }

    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: Some(selector.into()), ..Self::default() }
    }

    pub(crate) fn query(&self) -> Query {
        let mut query = Query::default();
        query.text("labelSelector", self.label_selector.as_deref());
        query.text("fieldSelector", self.field_selector.as_deref());
        query.text("limit", self.limit.map(|limit| limit.to_string()).as_deref());
        query.text("continue", self.continue_token.as_deref());
        query.text("resourceVersion", self.resource_version.as_deref());
        query
    }
}

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteParams {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<Propagation>,
    #[serde(skip)]
    pub uid: Option<String>,
    #[serde(skip)]
    pub resource_version: Option<String>,
}

impl DeleteParams {
    /// Only the object with this UID.
    pub fn uid(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..Self::default() }
    }

    fn body(&self) -> Result<Value, Error> {
        let mut options = serde_json::to_value(self).map_err(Error::Encode)?;
        options["apiVersion"] = "v1".into();
        options["kind"] = "DeleteOptions".into();
        if let Some(uid) = &self.uid {
            options["preconditions"]["uid"] = uid.as_str().into();
        }
        if let Some(version) = &self.resource_version {
            options["preconditions"]["resourceVersion"] = version.as_str().into();
        }
        Ok(options)
    }
}

/// A change of an object.
#[derive(Clone, Debug)]
pub enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    fn content(&self) -> (&'static str, &Value) {
        match self {
            Self::Json(patch) => ("application/json-patch+json", patch),
            Self::Merge(patch) => ("application/merge-patch+json", patch),
            Self::Strategic(patch) => ("application/strategic-merge-patch+json", patch),
        }
    }
}

#[derive(Clone, Debug)]
pub struct List<K> {
    pub resource_version: String,
    pub continue_token: Option<String>,
    pub items: Vec<K>,
}

#[derive(Deserialize)]
struct WireList<K> {
    #[serde(default)]
    metadata: WireListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<K>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

/// One kind, in one namespace or in all.
#[derive(Clone)]
pub struct Api<K> {
    client: Client,
    /// `/api/v1` or `/apis/<group>/<version>`.
    root: String,
    /// The plural name.
    resource: String,
    namespace: Option<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Object> Api<K> {
    /// All namespaces, or a cluster-scoped kind.
    pub fn all(client: &Client) -> Self {
        Self::new(client, root(K::GROUP, K::VERSION), K::URL_PATH_SEGMENT, None)
    }

    /// One namespace. Empty means a cluster-scoped kind.
    pub fn namespaced(client: &Client, namespace: &str) -> Self {
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        Self::new(client, root(K::GROUP, K::VERSION), K::URL_PATH_SEGMENT, namespace)
    }

    pub(crate) fn new(client: &Client, root: String, resource: &str, namespace: Option<String>) -> Self {
        Self { client: client.clone(), root, resource: resource.to_owned(), namespace, kind: PhantomData }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    fn collection(&self) -> String {
        let Self { root, resource, .. } = self;
        match &self.namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{resource}"),
            None => format!("{root}/{resource}"),
        }
    }

    fn path(&self, name: &str, subresource: &str) -> String {
        let mut path = format!("{}/{}", self.collection(), encode(name));
        if !subresource.is_empty() {
            path.push('/');
            path.push_str(subresource);
        }
        path
    }

    pub async fn get(&self, name: &str) -> Result<K, Error> {
        self.client.get(&self.path(name, "")).await
    }

    pub async fn get_opt(&self, name: &str) -> Result<Option<K>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn list(&self, params: &ListParams) -> Result<List<K>, Error> {
        let path = params.query().on(&self.collection());
        let list: WireList<K> = self.client.get(&path).await?;
        let continue_token = list.metadata.continue_token.filter(|token| !token.is_empty());
        Ok(List { resource_version: list.metadata.resource_version, continue_token, items: list.items })
    }

    /// What happens after `resource_version`, with bookmarks.
    pub async fn watch(
        &self,
        params: &ListParams,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<K>, Error>> + Send + Unpin + use<K>, Error> {
        let mut query = params.query();
        query.text("watch", Some("true"));
        query.text("allowWatchBookmarks", Some("true"));
        query.text("resourceVersion", Some(resource_version));
        let response = self.client.stream(build(Method::GET, &query.on(&self.collection()), None)?).await?;
        Ok(watch::decode(response.into_body()))
    }

    pub async fn create(&self, object: &K) -> Result<K, Error> {
        self.client.post(&self.collection(), object).await
    }

    pub async fn update(&self, object: &K) -> Result<K, Error> {
        self.client.json(build_json(Method::PUT, &self.path(object.name(), ""), object)?).await
    }

    pub async fn update_status(&self, object: &K) -> Result<K, Error> {
        self.client.json(build_json(Method::PUT, &self.path(object.name(), "status"), object)?).await
    }

    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<K, Error> {
        self.patch_subresource(name, "", patch).await
    }

    pub async fn patch_status(&self, name: &str, patch: &Patch) -> Result<K, Error> {
        self.patch_subresource(name, "status", patch).await
    }

    pub async fn patch_subresource(&self, name: &str, subresource: &str, patch: &Patch) -> Result<K, Error> {
        let (kind, content) = patch.content();
        let bytes = serde_json::to_vec(content).map_err(Error::Encode)?;
        self.client.json(build(Method::PATCH, &self.path(name, subresource), Some((kind, bytes.into())))?).await
    }

    /// Lays a configuration of the status over the object, and takes the fields from whoever owned them.
    pub async fn apply_status(&self, name: &str, manager: &str, configuration: &Value) -> Result<K, Error> {
        let mut query = Query::default();
        query.text("fieldManager", Some(manager));
        query.text("force", Some("true"));
        let bytes = serde_json::to_vec(configuration).map_err(Error::Encode)?;
        let content = Some(("application/apply-patch+yaml", bytes.into()));
        self.client.json(build(Method::PATCH, &query.on(&self.path(name, "status")), content)?).await
    }

    /// Deletes, or begins to. Gone already is [`Error::is_not_found`].
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<(), Error> {
        let request = build_json(Method::DELETE, &self.path(name, ""), &params.body()?)?;
        self.client.bytes(request).await.map(drop)
    }

    /// Deletes all objects that `selection` names.
    pub async fn delete_collection(&self, params: &DeleteParams, selection: &ListParams) -> Result<(), Error> {
        let path = selection.query().on(&self.collection());
        self.client.bytes(build_json(Method::DELETE, &path, &params.body()?)?).await.map(drop)
    }

    pub async fn update_subresource(&self, name: &str, subresource: &str, object: &K) -> Result<K, Error> {
        self.client.json(build_json(Method::PUT, &self.path(name, subresource), object)?).await
    }

    pub async fn create_subresource<B, R>(&self, name: &str, subresource: &str, content: &B) -> Result<R, Error>
    where
        B: Serialize + Sync,
        R: DeserializeOwned,
    {
        self.client.post(&self.path(name, subresource), content).await
    }
}

pub(crate) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// A query string in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }

    pub fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// Percent-encodes all but what is unreserved in a URI.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded() {
        let params = ListParams { limit: Some(5), ..ListParams::labels("app in (a,b)") };
        assert_eq!(params.query().on("/api/v1/pods"), "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29&limit=5");
    }
}
