//! What the histories of StatefulSets and DaemonSets have in common: a ControllerRevision for each template that was.

use std::sync::Arc;

use api::appsv1::ControllerRevision;
use api::corev1::PodTemplateSpec;
use api::k8s::apimachinery::pkg::runtime::RawExtension;
use api::metav1::ObjectMeta;
use apimachinery::names;
use client::Object;
use serde_json::{Value, json};

use crate::ownership::reference;
use crate::pods::label;

/// The template as a patch that would restore it.
pub(crate) fn data(template: Option<&PodTemplateSpec>) -> Value {
    let mut template = template.map(|template| serde_json::to_value(template).unwrap_or_default()).unwrap_or_default();
    if let Some(template) = template.as_object_mut() {
        template.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

pub(crate) fn holds(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|known| known.0 == *data)
}

/// A hash that no other revision has under this label.
pub(crate) fn unused_hash(
    known: &[Arc<ControllerRevision>],
    hash_label: &str,
    data: &Value,
    collisions: Option<i32>,
) -> String {
    let mut collisions = i64::from(collisions.unwrap_or(0));
    loop {
        let hash = names::template_hash(data, (collisions > 0).then_some(collisions));
        if !known.iter().any(|revision| label(&revision.metadata, hash_label) == hash) {
            return hash;
        }
        collisions += 1;
    }
}

/// A revision of this owner, labelled as the template is and with its hash.
pub(crate) fn revision<K: Object>(
    owner: &K,
    template: Option<&PodTemplateSpec>,
    (hash_label, hash): (&str, &str),
    data: Value,
    revision: i64,
) -> ControllerRevision {
    let labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone());
    let mut labels = labels.unwrap_or_default();
    labels.insert(hash_label.into(), hash.into());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", owner.name())),
            namespace: owner.metadata().namespace.clone(),
            labels: Some(labels),
            annotations: owner.metadata().annotations.clone(),
            owner_references: Some(vec![reference(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}

/// An old revision as the newest again.
pub(crate) fn renumbered(revision: &ControllerRevision, number: i64) -> ControllerRevision {
    ControllerRevision { revision: number, ..revision.clone() }
}

/// Names of those that are not in use beyond the limit, of revisions from the oldest to the newest.
pub(crate) fn surplus<'a>(
    sorted: impl Iterator<Item = &'a Arc<ControllerRevision>>,
    in_use: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Vec<String> {
    let old: Vec<_> = sorted.filter(|revision| !in_use(revision)).collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit.unwrap_or(10)).unwrap_or(0));
    old.into_iter().take(surplus).map(|revision| revision.name().to_owned()).collect()
}
