//! What a Deployment needs next, decided from what was seen.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::appsv1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use api::corev1::PodTemplateSpec;
use api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use api::metav1::ObjectMeta;
use apimachinery::labels::Selector;
use apimachinery::names;
use client::Object;
use jiff::Timestamp;

use super::{revision, rolling, scaling, status};
use crate::ownership::reference;
use crate::pods::{is_deleted, selector};

const HASH: &str = "pod-template-hash";

/// A snapshot of what concerns one Deployment.
pub(super) struct Observed {
    pub deployment: Arc<Deployment>,
    /// The ReplicaSets it controls, oldest first.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// UIDs of sets of which pods are left.
    pub sets_with_pods: HashSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create(Box<ReplicaSet>),
    Update(Box<ReplicaSet>),
    Scale { set: Box<ReplicaSet>, from: i32, to: i32 },
    Delete(Box<ReplicaSet>),
}

pub(super) struct Plan {
    pub actions: Vec<Action>,
    pub status: DeploymentStatus,
    /// What the Deployment's revision annotation is to say.
    pub revision: Option<String>,
    pub check_again: Option<Duration>,
}

/// The observed sets by their part, with the numbers of the strategy.
pub(super) struct View<'a> {
    pub deployment: &'a Deployment,
    pub new: Option<&'a Arc<ReplicaSet>>,
    /// Oldest first.
    pub old: Vec<&'a Arc<ReplicaSet>>,
    pub replicas: i32,
    pub max_surge: i32,
    pub max_unavailable: i32,
}

impl<'a> View<'a> {
    fn of(observed: &'a Observed) -> Self {
        let deployment = observed.deployment.as_ref();
        let new = observed.sets.iter().find(|set| same_template(set, deployment));
        let is_new = |set: &Arc<ReplicaSet>| new.is_some_and(|new| new.uid() == set.uid());
        let old = observed.sets.iter().filter(|set| !is_new(set)).collect();
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let (max_surge, max_unavailable) = limits(deployment, replicas);
        Self { deployment, new, old, replicas, max_surge, max_unavailable }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().copied().chain(self.new)
    }

    pub fn total(&self) -> i32 {
        self.all().map(|set| replicas(set)).sum()
    }
}

pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub(super) fn set_selector(deployment: &Deployment) -> Selector {
    deployment.spec.as_ref().map_or_else(Selector::nothing, |spec| selector(&spec.selector))
}

pub(super) fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// Surge and unavailability of a rolling update in pods. Both zero would never move: then one may be unavailable.
fn limits(deployment: &Deployment, replicas: i32) -> (i32, i32) {
    if recreates(deployment) {
        return (0, replicas);
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = surge.map_or(0, |surge| scaled(surge, replicas, true));
    let unavailable = unavailable.map_or(0, |unavailable| scaled(unavailable, replicas, false));
    if (surge, unavailable) == (0, 0) {
        return (0, 1);
    }
    (surge, unavailable.min(replicas))
}

/// A number, or a share of `total`.
pub(crate) fn scaled(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent * i64::from(total);
            let share = if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let view = View::of(observed);
    let spec = observed.deployment.spec.clone().unwrap_or_default();
    let mut actions = if is_deleted(&observed.deployment.metadata) {
        Vec::new()
    } else if spec.paused == Some(true) || scaling::is_due(&view) {
        scaling::plan(&view)
    } else {
        roll(observed, &view)
    };
    let status = status::status(&view, spec.paused == Some(true), now);
    if actions.is_empty() && !is_deleted(&observed.deployment.metadata) && status::is_complete(&view, &status) {
        actions = clean_up(&view, spec.revision_history_limit.unwrap_or(10));
    }
    let revision = view.new.map(|set| revision::of(&set.metadata).to_owned()).filter(|revision| !revision.is_empty());
    Plan { actions, check_again: status::deadline(&view, &status, now), status, revision }
}

fn roll(observed: &Observed, view: &View<'_>) -> Vec<Action> {
    if recreates(view.deployment) {
        let down: Vec<_> = view.old.iter().filter_map(|set| scale(view, set, 0)).collect();
        let left = view.old.iter().any(|set| observed.sets_with_pods.contains(set.uid()));
        if !down.is_empty() || left {
            return down;
        }
    }
    match view.new {
        None => vec![Action::Create(Box::new(new_set(view)))],
        Some(set) => match annotated(view, set) {
            Some(update) => vec![update],
            None => rolling::plan(view),
        },
    }
}

/// The action that brings a set to `to` replicas and notes what the Deployment wanted.
pub(super) fn scale(view: &View<'_>, set: &ReplicaSet, to: i32) -> Option<Action> {
    let from = replicas(set);
    let mut scaled = set.clone();
    revision::set_replicas(&mut scaled, view.replicas, view.replicas + view.max_surge);
    scaled.spec.get_or_insert_default().replicas = Some(to);
    if from != to {
        return Some(Action::Scale { set: Box::new(scaled), from, to });
    }
    (scaled.metadata.annotations != set.metadata.annotations).then(|| Action::Update(Box::new(scaled)))
}

/// Old sets beyond the limit of the history, oldest revisions first; only those that hold nothing.
fn clean_up(view: &View<'_>, limit: i32) -> Vec<Action> {
    let empty = |set: &&Arc<ReplicaSet>| {
        let status = set.status.clone().unwrap_or_default();
        replicas(set) == 0
            && status.replicas == 0
            && status.observed_generation >= set.metadata.generation
            && !is_deleted(&set.metadata)
    };
    let mut old: Vec<_> = view.old.iter().copied().filter(|set| !is_deleted(&set.metadata)).collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|set| revision::number(&set.metadata));
    old.into_iter().take(surplus).filter(empty).map(|set| Action::Delete(Box::new(set.as_ref().clone()))).collect()
}

fn next_revision(view: &View<'_>) -> i64 {
    view.old.iter().map(|set| revision::number(&set.metadata)).max().unwrap_or(0) + 1
}

fn annotated(view: &View<'_>, set: &ReplicaSet) -> Option<Action> {
    let mut wanted = set.clone();
    revision::annotate(&mut wanted, view.deployment, next_revision(view), true);
    let spec = view.deployment.spec.as_ref();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds);
    if let Some(set_spec) = wanted.spec.as_mut()
        && set_spec.min_ready_seconds.unwrap_or(0) != min_ready.unwrap_or(0)
    {
        set_spec.min_ready_seconds = min_ready;
    }
    (wanted != *set).then(|| Action::Update(Box::new(wanted)))
}

fn new_set(view: &View<'_>) -> ReplicaSet {
    let deployment = view.deployment;
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).map(i64::from);
    let hash = names::template_hash(&serde_json::to_value(&spec.template).unwrap_or_default(), collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH.into(), hash.clone());
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name())),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(rolling::new_replicas(view)),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    revision::annotate(&mut set, deployment, next_revision(view), false);
    revision::set_replicas(&mut set, view.replicas, view.replicas + view.max_surge);
    set
}

/// Whether the set was made from the Deployment's present template.
pub(super) fn same_template(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let of_set = set.spec.as_ref().and_then(|spec| spec.template.as_ref()).map(without_hash);
    let wanted = deployment.spec.as_ref().map(|spec| without_hash(&spec.template));
    of_set == wanted
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH);
    }
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    metadata.creation_timestamp = None;
    template
}
