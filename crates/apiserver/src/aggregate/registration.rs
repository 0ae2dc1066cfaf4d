//! The APIServices of what is served here: those of built-in groups are put back when the server starts, those of
//! definitions come and go with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apimachinery::object;
use http::Method;
use rt::TaskSet;
use serde_json::{Value, json};
use store::Key;

use super::{GROUP, NAME};
use crate::catalog::Catalog;
use crate::internal;
use crate::server::{Inner, StartError};

const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Built-in group versions: people may change them until the next start.
const ON_START: &str = "onstart";
const ALWAYS: &str = "true";

/// Group, version, and what upstream gives them: the priority of the group, and of the version in its group.
const PRIORITIES: &[(&str, &str, i64, i64)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("certificates.k8s.io", "v1beta1", 17300, 9),
    ("certificates.k8s.io", "v1alpha1", 17300, 1),
    ("networking.k8s.io", "v1", 17200, 15),
    ("networking.k8s.io", "v1beta1", 17200, 9),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("storage.k8s.io", "v1beta1", 16800, 9),
    ("storage.k8s.io", "v1alpha1", 16800, 1),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1beta1", 16700, 12),
    ("admissionregistration.k8s.io", "v1alpha1", 16700, 9),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("scheduling.k8s.io", "v1alpha2", 16600, 2),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("coordination.k8s.io", "v1beta1", 16500, 13),
    ("coordination.k8s.io", "v1alpha2", 16500, 12),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("resource.k8s.io", "v1beta2", 16200, 15),
    ("resource.k8s.io", "v1beta1", 16200, 9),
    ("resource.k8s.io", "v1alpha3", 16200, 1),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("internal.apiserver.k8s.io", "v1alpha1", 16000, 9),
    ("storagemigration.k8s.io", "v1beta1", 15800, 9),
];

/// Of groups that definitions bring.
const CUSTOM: (i64, i64) = (1000, 100);

/// The priority of a group that is served here. The group of APIServices itself comes before all.
pub fn group_priority(group: &str) -> i64 {
    let own = PRIORITIES.iter().find(|(name, ..)| *name == group).map(|(_, _, priority, _)| *priority);
    own.unwrap_or(if group == GROUP { i64::MAX } else { CUSTOM.0 })
}

/// The priority of a version in its group.
pub fn version_priority(group: &str, version: &str) -> i64 {
    let own = PRIORITIES.iter().find(|(name, own, ..)| (*name, *own) == (group, version));
    own.map_or(CUSTOM.1, |(.., priority)| *priority)
}

/// Writes what is missing, then follows the catalog.
pub fn follow(server: &Arc<Inner>, tasks: &TaskSet) -> Result<(), StartError> {
    let prefix = Key::prefix(GROUP, NAME, None);
    let mut watcher = server.store.watch(prefix.clone(), server.store.revision()).map_err(StartError::History)?;
    let (server, mut catalogs) = (server.clone(), server.catalog.changes());
    tasks.spawn_until_cancelled("apiservice-registration", async move {
        start(&server).await;
        loop {
            settle(&server).await;
            tokio::select! {
                Ok(()) = catalogs.changed() => {}
                event = watcher.next() => if event.is_err() {
                    let Ok(fresh) = server.store.watch(prefix.clone(), server.store.revision()) else { return };
                    watcher = fresh;
                },
            }
        }
    });
    Ok(())
}

/// Built-in group versions get their APIServices as they should be.
async fn start(server: &Arc<Inner>) {
    for (group, version, group_priority, version_priority) in PRIORITIES {
        if Catalog::built_in().group_versions().any(|own| own == (*group, *version)) {
            put(server, wanted((group, version), (*group_priority, *version_priority), ON_START)).await;
        }
    }
}

/// Brings the APIServices of definitions up to date.
async fn settle(server: &Arc<Inner>) {
    let catalog = server.catalog.get();
    let custom: BTreeSet<_> = catalog.custom().iter().map(|resource| (resource.group, resource.version)).collect();
    let custom = custom.into_iter().filter(|(group, _)| !catalog.is_built_in(group));
    let mut missing: BTreeMap<String, Value> = custom
        .map(|place| wanted(place, CUSTOM, ALWAYS))
        .map(|service| (object::name(&service).to_string(), service))
        .collect();
    let snapshot = server.store.snapshot();
    let mut gone = Vec::new();
    for (key, stored) in snapshot.range(&Key::prefix(GROUP, NAME, None), None) {
        let is_managed = stored.header.label(LABEL) == Some(ALWAYS);
        match missing.remove(key.name()) {
            Some(wanted) if is_managed && wanted["spec"] != stored.value()["spec"] => put(server, wanted).await,
            None if is_managed => gone.push(key.name().to_string()),
            _ => {}
        }
    }
    for service in missing.into_values() {
        put(server, service).await;
    }
    for name in gone {
        report(&name, internal::send(server, Method::DELETE, &super::path(&name), None).await.map(drop));
    }
}

fn wanted((group, version): (&str, &str), (group_priority, version_priority): (i64, i64), managed: &str) -> Value {
    json!({
        "kind": "APIService",
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {"name": format!("{version}.{group}"), "labels": {LABEL: managed}},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": group_priority,
            "versionPriority": version_priority,
        },
    })
}

/// Creates an APIService, or gives the present one its spec and label back.
async fn put(server: &Arc<Inner>, mut wanted: Value) {
    let name = object::name(&wanted).to_string();
    if object::api_version(&wanted).is_empty() {
        return;
    }
    if wanted["spec"]["group"] == "" {
        wanted["spec"].as_object_mut().expect("it was made as a map").remove("group");
    }
    let Some(stored) = server.store.get(&Key::new(GROUP, NAME, "", &name)) else {
        let path = format!("/apis/{GROUP}/v1/{NAME}");
        return report(&name, internal::send(server, Method::POST, &path, Some(&wanted)).await.map(drop));
    };
    let mut present = stored.value();
    let same = present["spec"] == wanted["spec"]
        && present["metadata"]["labels"][LABEL] == wanted["metadata"]["labels"][LABEL];
    if same {
        return;
    }
    for field in ["kind", "apiVersion", "spec"] {
        present[field] = wanted[field].clone();
    }
    present["metadata"]["labels"][LABEL] = wanted["metadata"]["labels"][LABEL].clone();
    report(&name, internal::send(server, Method::PUT, &super::path(&name), Some(&present)).await.map(drop));
}

fn report(name: &str, written: Result<(), apimachinery::Status>) {
    match written {
        Err(status) if !matches!(status.code, 404 | 409) => {
            tracing::warn!(apiservice = name, %status, "cannot keep an APIService");
        }
        _ => {}
    }
}
