//! The size of what is scaled, read and written through its scale.

use api::autoscalingv1::Scale;
use api::autoscalingv2::CrossVersionObjectReference;
use client::{Client, Error, discover};

/// Kinds whose place is known without asking.
const KNOWN: [(&str, &str, &str); 4] = [
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("v1", "ReplicationController", "replicationcontrollers"),
];

pub(super) struct Targets {
    client: Client,
}

/// Where a scale is.
pub(super) struct Target {
    path: String,
    pub scale: Scale,
}

impl Targets {
    pub fn new(client: &Client) -> Self {
        Targets { client: client.clone() }
    }

    /// The target's scale, or why it cannot be had.
    pub async fn get(&self, namespace: &str, reference: &CrossVersionObjectReference) -> Result<Target, String> {
        let (root, resource) = self.place(reference).await?;
        let path = format!("{root}/namespaces/{namespace}/{resource}/{}/scale", reference.name);
        let scale = self.client.get::<Scale>(&path).await.map_err(|error: Error| error.to_string())?;
        Ok(Target { path, scale })
    }

    async fn place(&self, reference: &CrossVersionObjectReference) -> Result<(String, String), String> {
        let version = reference.api_version.as_deref().unwrap_or("v1");
        let known = KNOWN.iter().find(|(known, kind, _)| *known == version && *kind == reference.kind);
        if let Some((version, _, resource)) = known {
            let root = if version.contains('/') { "/apis" } else { "/api" };
            return Ok((format!("{root}/{version}"), (*resource).to_owned()));
        }
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let kinds = discover(&self.client).await.map_err(|error| error.to_string())?;
        let found = kinds.into_iter().find(|kind| kind.group == group && kind.kind == reference.kind);
        let found = found.ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", reference.kind))?;
        let root = if group.is_empty() { "/api" } else { "/apis" };
        Ok((format!("{root}/{}", found.api_version()), found.name))
    }

    /// Only if nobody else has scaled it since.
    pub async fn set(&self, target: &Target, replicas: i32) -> Result<(), Error> {
        let mut scale = target.scale.clone();
        scale.spec.get_or_insert_default().replicas = Some(replicas);
        self.client.put::<_, Scale>(&target.path, &scale).await.map(drop)
    }
}
