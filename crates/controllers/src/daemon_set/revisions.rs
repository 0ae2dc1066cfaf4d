//! The history of a DaemonSet's templates.

use std::sync::Arc;

use api::appsv1::{ControllerRevision, DaemonSet};
use api::corev1::Pod;

use crate::pods::label;
use crate::revisions;

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
    let spec = set.spec.as_ref();
    let template = spec.map(|spec| &spec.template);
    let data = revisions::data(template);
    let newest = known.iter().map(|revision| revision.revision).max().unwrap_or(0);
    let present = known.iter().find(|revision| revisions::holds(revision, &data));
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let hash = present.map_or_else(
        || revisions::unused_hash(known, HASH, &data, collisions),
        |revision| label(&revision.metadata, HASH).to_owned(),
    );
    let update = present.filter(|revision| revision.revision < newest);
    let update = update.map(|revision| revisions::renumbered(revision, newest + 1));
    let create = present.is_none().then(|| revisions::revision(set, template, (HASH, &hash), data, newest + 1));
    let in_use = |revision: &ControllerRevision| {
        let own = label(&revision.metadata, HASH);
        own == hash || pods.iter().any(|pod| label(&pod.metadata, HASH) == own)
    };
    let mut sorted: Vec<_> = known.iter().collect();
    sorted.sort_by_key(|revision| revision.revision);
    let limit = spec.and_then(|spec| spec.revision_history_limit);
    let delete = revisions::surplus(sorted.into_iter(), in_use, limit);
    Sync { hash, create, update, delete }
}
