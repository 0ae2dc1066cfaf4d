//! The objects that every cluster has, written at start where they are missing.

pub mod authentication_info;
pub mod kubernetes_service;
mod rbac;
pub mod service_cidr;

use apimachinery::Status;
use futures::future::try_join_all;
use serde_json::{Value, json};
use store::{Companion, Key, WriteError};

use crate::catalog::{self, ResourceExt};
use crate::server::Inner;

const NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease", "default"];

/// Name, value, description.
const PRIORITY_CLASSES: &[(&str, i64, &str)] = &[
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

pub async fn run(server: &Inner) -> Result<(), Status> {
    // All at once: the store commits waiting writes together.
    let namespaces = NAMESPACES.iter().map(|name| ensure(server, "", "namespaces", "", name, namespace(name)));
    let classes = PRIORITY_CLASSES.iter().map(|(name, value, description)| {
        let class = json!({"value": value, "description": description, "metadata": {"name": name}});
        ensure(server, "scheduling.k8s.io", "priorityclasses", "", name, class)
    });
    futures::try_join!(try_join_all(namespaces), rbac::run(server), try_join_all(classes), network(server)).map(drop)
}

/// The Service's address is one of the range.
async fn network(server: &Inner) -> Result<(), Status> {
    service_cidr::run(server).await?;
    kubernetes_service::run(server).await
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// Creates an object, defaulted by its kind, unless it is there.
async fn ensure(
    server: &Inner,
    group: &str,
    resource: &str,
    namespace: &str,
    name: &str,
    object: Value,
) -> Result<(), Status> {
    ensure_with(server, Key::new(group, resource, namespace, name), object, Vec::new()).await
}

/// The same, with what is written in the same commit.
async fn ensure_with(server: &Inner, key: Key, object: Value, companions: Vec<Companion>) -> Result<(), Status> {
    if server.store.get(&key).is_some() {
        return Ok(());
    }
    let (key, draft) = new_draft(key, object)?;
    match server.store.create_with(key, draft, companions).await {
        Ok(_) | Err(WriteError::AlreadyExists(_)) => Ok(()),
        Err(error) => Err(Status::internal(error)),
    }
}

fn new_draft(key: Key, mut object: Value) -> Result<(Key, store::Draft), Status> {
    let missing = || Status::internal(format!("no resource is registered for {key}"));
    let resource = catalog::of_storage(key.group(), key.resource()).ok_or_else(missing)?;
    let now = apimachinery::time::format(jiff::Timestamp::now());
    let context = registry::strategy::Context {
        now: &now,
        namespace: key.namespace(),
        user: "system:apiserver",
        user_uid: "",
        user_groups: &[],
    };
    crate::encode::set_kind(resource, &mut object);
    apimachinery::object::set_uid(&mut object, &uuid::Uuid::new_v4().to_string());
    apimachinery::object::set_creation_timestamp(&mut object, &now);
    resource.strategy.prepare_for_create(&mut object, &context);
    if resource.strategy.has_generation() {
        apimachinery::object::set_generation(&mut object, 1);
    }
    resource.strategy.default(&mut object);
    let name = apimachinery::object::name(&object).to_string();
    Ok((resource.key(key.namespace(), &name), crate::change::draft(resource, &object)))
}
