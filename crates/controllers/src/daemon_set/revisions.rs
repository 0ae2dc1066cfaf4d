//! The history of a DaemonSet's templates.

use std::sync::Arc;

use api::appsv1::{ControllerRevision, DaemonSet};
use api::corev1::Pod;
use api::k8s::apimachinery::pkg::runtime::RawExtension;
use api::metav1::ObjectMeta;
use apimachinery::names;
use client::Object;
use serde_json::{Value, json};

use crate::ownership::reference;
use crate::pods::label;

pub(super) const HASH: &str = "controller-revision-hash";

pub(super) struct Sync {
    /// Of the present template.
    pub hash: String,
    pub create: Option<ControllerRevision>,
    /// An old revision that became the present one again gets a new number.
    pub update: Option<ControllerRevision>,
    pub delete: Vec<String>,
}

pub(super) fn plan(set: &DaemonSet, known: &[Arc<ControllerRevision>], pods: &[Arc<Pod>]) -> Sync {
    let data = data(set);
    let newest = known.iter().map(|revision| revision.revision).max().unwrap_or(0);
    let present = known.iter().find(|revision| revision.data.as_ref().map(|data| &data.0) == Some(&data));
    let hash =
        present.map_or_else(|| hash_of(set, &data, known), |revision| label(&revision.metadata, HASH).to_owned());
    let update = present.filter(|revision| revision.revision < newest).map(|revision| {
        let mut revision = revision.as_ref().clone();
        revision.revision = newest + 1;
        revision
    });
    let create = present.is_none().then(|| new_revision(set, data, &hash, newest + 1));
    Sync { delete: surplus(set, known, &hash, pods), hash, create, update }
}

/// The template as a patch that would restore it.
fn data(set: &DaemonSet) -> Value {
    let mut template =
        set.spec.as_ref().map(|spec| serde_json::to_value(&spec.template).unwrap_or_default()).unwrap_or_default();
    if let Some(template) = template.as_object_mut() {
        template.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

/// A hash that no other revision has.
fn hash_of(set: &DaemonSet, data: &Value, known: &[Arc<ControllerRevision>]) -> String {
    let first = set.status.as_ref().and_then(|status| status.collision_count).map(i64::from);
    let mut collisions = first;
    loop {
        let hash = names::template_hash(data, collisions);
        if !known.iter().any(|revision| label(&revision.metadata, HASH) == hash) {
            return hash;
        }
        collisions = Some(collisions.unwrap_or(0) + 1);
    }
}

fn new_revision(set: &DaemonSet, data: Value, hash: &str, revision: i64) -> ControllerRevision {
    let mut labels =
        set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    labels.insert(HASH.into(), hash.into());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", set.name())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}

/// Old revisions beyond the limit that no pod has.
fn surplus(set: &DaemonSet, known: &[Arc<ControllerRevision>], present: &str, pods: &[Arc<Pod>]) -> Vec<String> {
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let used = |revision: &ControllerRevision| {
        let hash = label(&revision.metadata, HASH);
        hash == present || pods.iter().any(|pod| label(&pod.metadata, HASH) == hash)
    };
    let mut old: Vec<_> = known.iter().filter(|revision| !used(revision)).collect();
    old.sort_by_key(|revision| revision.revision);
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.into_iter().take(surplus).map(|revision| revision.name().to_owned()).collect()
}
