//! The history of a StatefulSet's templates, and which two of them matter.

use std::collections::HashSet;
use std::sync::Arc;

use api::appsv1::{ControllerRevision, StatefulSet};
use api::corev1::{Pod, PodTemplateSpec};
use api::k8s::apimachinery::pkg::runtime::RawExtension;
use api::metav1::ObjectMeta;
use apimachinery::names;
use client::Object;
use serde_json::{Value, json};

use crate::ownership::reference;
use crate::pods::label;

const HASH: &str = "controller.kubernetes.io/hash";
/// On a pod: the name of its revision.
pub(super) const POD_REVISION: &str = "controller-revision-hash";

/// What is to become of the history.
pub(super) struct Sync {
    pub current: Revision,
    pub update: Revision,
    pub create: Option<ControllerRevision>,
    /// An old revision that became the newest one again gets a new number.
    pub renumber: Option<ControllerRevision>,
    /// Names of those beyond the limit.
    pub delete: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Revision {
    pub name: String,
    pub template: PodTemplateSpec,
}

pub(super) fn plan(set: &StatefulSet, known: &[Arc<ControllerRevision>], pods: &[Arc<Pod>]) -> Sync {
    let data = data(set);
    let mut known: Vec<_> = known.to_vec();
    known.sort_by_key(|revision| (revision.revision, revision.metadata.creation_timestamp.clone()));
    let next = known.last().map_or(0, |revision| revision.revision) + 1;
    let equal = known.iter().rfind(|revision| revision.data.as_ref().map(|known| &known.0) == Some(&data));
    let renumber = equal.filter(|revision| revision.revision + 1 < next).map(|revision| {
        let mut revision = revision.as_ref().clone();
        revision.revision = next;
        revision
    });
    let create = equal.is_none().then(|| new_revision(set, &known, data, next));
    let name = equal.map(|revision| revision.name()).or(create.as_ref().map(Object::name)).unwrap_or_default();
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let update = Revision { name: name.to_owned(), template };
    let status = set.status.as_ref().and_then(|status| status.current_revision.as_deref()).unwrap_or_default();
    let current = known.iter().find(|revision| revision.name() == status && status != update.name);
    let current = current.and_then(|revision| stored(revision)).unwrap_or_else(|| update.clone());
    let delete = surplus(set, &known, &[&current.name, &update.name], pods);
    Sync { current, update, create, renumber, delete }
}

/// The template as a patch that would restore it.
fn data(set: &StatefulSet) -> Value {
    let template = set.spec.as_ref().map(|spec| serde_json::to_value(&spec.template).unwrap_or_default());
    let mut template = template.unwrap_or_default();
    if let Some(template) = template.as_object_mut() {
        template.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

fn stored(revision: &ControllerRevision) -> Option<Revision> {
    let template = revision.data.as_ref()?.0.pointer("/spec/template")?;
    let template = serde_json::from_value(template.clone()).ok()?;
    Some(Revision { name: revision.name().to_owned(), template })
}

fn new_revision(
    set: &StatefulSet,
    known: &[Arc<ControllerRevision>],
    data: Value,
    revision: i64,
) -> ControllerRevision {
    let hash = hash_of(set, &data, known);
    let template = set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let mut labels = template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels.insert(HASH.into(), hash.clone());
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

/// A hash that no other revision has.
fn hash_of(set: &StatefulSet, data: &Value, known: &[Arc<ControllerRevision>]) -> String {
    let mut collisions = i64::from(collisions(set));
    loop {
        let hash = names::template_hash(data, (collisions > 0).then_some(collisions));
        if !known.iter().any(|revision| label(&revision.metadata, HASH) == hash) {
            return hash;
        }
        collisions += 1;
    }
}

pub(super) fn collisions(set: &StatefulSet) -> i32 {
    set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0)
}

fn surplus(
    set: &StatefulSet,
    sorted: &[Arc<ControllerRevision>],
    present: &[&String],
    pods: &[Arc<Pod>],
) -> Vec<String> {
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let mut live: HashSet<&str> = pods.iter().map(|pod| label(&pod.metadata, POD_REVISION)).collect();
    live.extend(present.iter().map(|name| name.as_str()));
    let old: Vec<_> = sorted.iter().map(|revision| revision.name()).filter(|name| !live.contains(name)).collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.into_iter().take(surplus).map(str::to_owned).collect()
}
