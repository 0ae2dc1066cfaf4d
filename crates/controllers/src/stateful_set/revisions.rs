//! The history of a StatefulSet's templates, and which two of them matter.

use std::collections::HashSet;
use std::sync::Arc;

use api::appsv1::{ControllerRevision, StatefulSet};
use api::corev1::{Pod, PodTemplateSpec};
use client::Object;

use crate::pods::label;
use crate::revisions;

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
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let data = revisions::data(template);
    let mut known: Vec<_> = known.to_vec();
    known.sort_by_key(|revision| (revision.revision, revision.metadata.creation_timestamp.clone()));
    let next = known.last().map_or(0, |revision| revision.revision) + 1;
    let equal = known.iter().rfind(|revision| revisions::holds(revision, &data));
    let renumber = equal.filter(|revision| revision.revision + 1 < next);
    let renumber = renumber.map(|revision| revisions::renumbered(revision, next));
    let create = equal.is_none().then(|| {
        let hash = revisions::unused_hash(&known, HASH, &data, Some(collisions(set)));
        revisions::revision(set, template, (HASH, &hash), data, next)
    });
    let name = equal.map(|revision| revision.name()).or(create.as_ref().map(Object::name)).unwrap_or_default();
    let update = Revision { name: name.to_owned(), template: template.cloned().unwrap_or_default() };
    let status = set.status.as_ref().and_then(|status| status.current_revision.as_deref()).unwrap_or_default();
    let current = known.iter().find(|revision| revision.name() == status && status != update.name);
    let current = current.and_then(|revision| stored(revision)).unwrap_or_else(|| update.clone());
    let mut live: HashSet<&str> = pods.iter().map(|pod| label(&pod.metadata, POD_REVISION)).collect();
    live.extend([current.name.as_str(), update.name.as_str()]);
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let delete = revisions::surplus(known.iter(), |revision| live.contains(revision.name()), limit);
    Sync { current, update, create, renumber, delete }
}

fn stored(revision: &ControllerRevision) -> Option<Revision> {
    let template = revision.data.as_ref()?.0.pointer("/spec/template")?;
    let template = serde_json::from_value(template.clone()).ok()?;
    Some(Revision { name: revision.name().to_owned(), template })
}

pub(super) fn collisions(set: &StatefulSet) -> i32 {
    set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0)
}
