//! What a cluster has in its own namespaces: the network agent and the DNS, with their accounts and rights.
//!
//! Written at every start of a server, and only where something differs from what this version wrote last, so that what an
//! administrator changed since stays.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use api::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use client::{ApiResource, Client, Error, Object, Patch, discover};
use rt::{Backoff, TaskSet};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::agent::SYSTEM_IMAGE;

const HASH: &str = "coracle.dev/addon-hash";
const ADDONS: [(&str, &str); 3] = [
    ("network-agent", include_str!("addons/network-agent.yaml")),
    ("dns", include_str!("addons/dns.yaml")),
    ("load-balancer", include_str!("addons/load-balancer.yaml")),
];

/// What the manifests leave open.
pub struct Settings {
    pub api_host: IpAddr,
    pub api_port: u16,
    pub cluster_cidr: String,
    pub cluster_dns: IpAddr,
    pub cluster_domain: String,
    pub load_balancer_pool: String,
}

impl Settings {
    fn fill(&self, text: &str) -> String {
        let values = [
            ("${IMAGE}", SYSTEM_IMAGE.to_owned()),
            ("${API_HOST}", self.api_host.to_string()),
            ("${API_PORT}", self.api_port.to_string()),
            ("${CLUSTER_CIDR}", self.cluster_cidr.clone()),
            ("${CLUSTER_DNS}", self.cluster_dns.to_string()),
            ("${CLUSTER_DOMAIN}", self.cluster_domain.clone()),
            ("${LOAD_BALANCER_POOL}", self.load_balancer_pool.clone()),
        ];
        values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// Writes the addons that are not disabled, trying again until it is done.
pub fn start(client: Client, settings: Settings, disabled: &[String], tasks: &TaskSet) {
    let enabled = ADDONS.iter().filter(|(name, _)| !disabled.iter().any(|disabled| disabled == name));
    let texts: Vec<String> = enabled.map(|(_, text)| settings.fill(text)).collect();
    tasks.spawn_until_cancelled("addons", async move {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), 2.0);
        while let Err(error) = write_all(&client, &texts).await {
            tracing::warn!(error = %format!("{error:#}"), "addons not written; trying again");
            tokio::time::sleep(backoff.next()).await;
        }
    });
}

async fn write_all(client: &Client, texts: &[String]) -> anyhow::Result<()> {
    let resources = discover(client).await?;
    for text in texts {
        for document in text.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).context("read a manifest")?;
            write(client, &resources, object).await?;
        }
    }
    Ok(())
}

async fn write(client: &Client, resources: &[ApiResource], mut object: Value) -> anyhow::Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let namespace = text("/metadata/namespace");
    let resource = resources.iter().find(|resource| resource.api_version() == api_version && resource.kind == kind);
    let resource = resource.with_context(|| format!("the server does not know {api_version} {kind}"))?;
    let hash: String = Sha256::digest(object.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    object["metadata"]["annotations"][HASH] = json!(hash);
    let api = resource.api(client, Some(&namespace).filter(|namespace| !namespace.is_empty()).map(String::as_str));
    let existing = api.get_opt(&name).await?;
    let written = existing.as_ref().map(|existing| &existing.metadata).and_then(addon_hash);
    let result = match existing {
        None => create(client, resource, &namespace, &object).await,
        Some(_) if written == Some(hash.as_str()) => return Ok(()),
        Some(existing) => api.patch(existing.name(), &Patch::Merge(object)).await.map(drop),
    };
    match result {
        Err(error) if error.is_already_exists() => Ok(()),
        result => result.with_context(|| format!("write {kind} {name}")),
    }
}

fn addon_hash(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(HASH).map(String::as_str)
}

async fn create(client: &Client, resource: &ApiResource, namespace: &str, object: &Value) -> Result<(), Error> {
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let place = if resource.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
    let path = format!("{root}/{}{place}/{}", resource.api_version(), resource.name);
    client.post::<Value, Value>(&path, object).await.map(drop)
}
