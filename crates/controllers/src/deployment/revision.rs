//! Revisions and the other annotations that a Deployment and its ReplicaSets share.

use std::collections::BTreeMap;

use api::appsv1::{Deployment, ReplicaSet};
use api::metav1::ObjectMeta;

use crate::pods::annotation;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its ReplicaSets do not inherit.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

pub(super) fn of(metadata: &ObjectMeta) -> &str {
    annotation(metadata, REVISION)
}

pub(super) fn number(metadata: &ObjectMeta) -> i64 {
    of(metadata).parse().unwrap_or(0)
}

pub(super) fn set(metadata: &mut ObjectMeta, revision: &str) {
    metadata.annotations.get_or_insert_default().insert(REVISION.into(), revision.into());
}

/// What the ReplicaSet of the current template is to be annotated with. It keeps its higher revision, and remembers
/// those it had.
pub(super) fn annotate(set: &mut ReplicaSet, deployment: &Deployment, revision: i64, exists: bool) {
    let source = deployment.metadata.annotations.clone().unwrap_or_default();
    let annotations = set.metadata.annotations.get_or_insert_default();
    if exists {
        annotations.retain(|name, _| NOT_COPIED.contains(&name.as_str()) || source.contains_key(name));
    }
    let inherited = source.into_iter().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()));
    annotations.extend(inherited);
    let old = annotations.get(REVISION).cloned().unwrap_or_default();
    if old.parse().unwrap_or(0) < revision {
        annotations.insert(REVISION.into(), revision.to_string());
        if exists && !old.is_empty() {
            remember(annotations, &old);
        }
    }
}

fn remember(annotations: &mut BTreeMap<String, String>, old: &str) {
    let history = annotations.entry(HISTORY.into()).or_default();
    if !history.is_empty() {
        history.push(',');
    }
    history.push_str(old);
}

/// How many replicas the Deployment wanted when the set was last scaled.
pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    annotation(&set.metadata, DESIRED).parse().ok()
}

pub(super) fn max(set: &ReplicaSet) -> Option<i32> {
    annotation(&set.metadata, MAX).parse().ok()
}

pub(super) fn set_replicas(set: &mut ReplicaSet, desired: i32, max: i32) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED.into(), desired.to_string());
    annotations.insert(MAX.into(), max.to_string());
}
