//! What a StatefulSet needs next, decided from what was seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::appsv1::{StatefulSet, StatefulSetStatus};
use api::corev1::{PersistentVolumeClaim, Pod};
use apimachinery::labels::Selector;
use client::Object;
use jiff::Timestamp;

use super::identity::{Retention, claims, identify, is_stale, new_pod, ordinal, revision_of};
use super::revisions::{Revision, collisions};
use crate::deployment::scaled;
use crate::pods::{available_at, is_available, is_deleted, is_ready, phase, selector};

/// A snapshot of what concerns one StatefulSet.
pub(super) struct Observed<'a> {
    pub set: &'a StatefulSet,
    pub pods: &'a [Arc<Pod>],
    /// The namespace's claims by name.
    pub claims: HashMap<String, Arc<PersistentVolumeClaim>>,
    pub current: &'a Revision,
    pub update: &'a Revision,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// With the name of the pod that needs it.
    CreateClaim(Box<PersistentVolumeClaim>, String),
    UpdateClaim(Box<PersistentVolumeClaim>),
    Create(Box<Pod>),
    Update(Box<Pod>),
    Delete(Arc<Pod>),
}

pub(super) struct Plan {
    pub actions: Vec<Action>,
    pub status: StatefulSetStatus,
    pub check_again: Option<Duration>,
}

/// Whether what comes after a pod may go on.
#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Wait,
}

pub(super) fn pod_selector(set: &StatefulSet) -> Selector {
    set.spec.as_ref().map_or_else(Selector::nothing, |spec| selector(&spec.selector))
}

pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let view = View::of(observed);
    let mut actions = Vec::new();
    let mut status = view.status();
    if !is_deleted(&observed.set.metadata) && view.settle(&mut actions) == Flow::GoOn {
        let deleted = view.roll(&mut actions);
        let old = status.current_replicas.unwrap_or(0) - deleted;
        status.current_replicas = positive(old.max(0));
    }
    view.complete(&mut status);
    let now = observed.now;
    let next = observed.pods.iter().filter_map(|pod| available_at(pod, view.min_ready)).filter(|at| *at > now).min();
    let check_again = next.map(|at| Duration::try_from(at - now).unwrap_or_default());
    Plan { actions, status, check_again }
}

struct View<'a> {
    seen: &'a Observed<'a>,
    start: i32,
    replicas: i32,
    min_ready: i32,
    /// One after the other, each waiting for the one before.
    ordered: bool,
    /// By distance from the first ordinal.
    living: Vec<Option<Arc<Pod>>>,
    /// Beyond the set's size, highest first.
    condemned: Vec<Arc<Pod>>,
}

impl<'a> View<'a> {
    fn of(seen: &'a Observed<'a>) -> Self {
        let spec = seen.set.spec.as_ref();
        let start = spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0);
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let mut living = vec![None; usize::try_from(replicas).unwrap_or(0)];
        let mut condemned = Vec::new();
        for pod in seen.pods {
            let Some(number) = ordinal(seen.set, pod) else { continue };
            match usize::try_from(number - start).ok().and_then(|place| living.get_mut(place)) {
                Some(place) => *place = Some(pod.clone()),
                None => condemned.push((number, pod.clone())),
            }
        }
        condemned.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        View {
            seen,
            start,
            replicas,
            min_ready: spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0),
            ordered: spec.and_then(|spec| spec.pod_management_policy.as_deref()) != Some("Parallel"),
            living,
            condemned: condemned.into_iter().map(|(_, pod)| pod).collect(),
        }
    }

    fn ordinal(&self, place: usize) -> i32 {
        self.start + i32::try_from(place).unwrap_or(0)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        runs(pod) && is_available(pod, self.min_ready, self.seen.now)
    }

    /// Makes what is missing and removes what is too much.
    fn settle(&self, actions: &mut Vec<Action>) -> Flow {
        for place in 0..self.living.len() {
            let flow = match &self.living[place] {
                None => self.make(self.ordinal(place), actions),
                Some(pod) => self.tend(pod, self.ordinal(place), actions),
            };
            if flow == Flow::Wait && self.ordered {
                return Flow::Wait;
            }
        }
        for pod in &self.condemned {
            let number = ordinal(self.seen.set, pod).unwrap_or(0);
            self.fit_claims(pod, number, true, actions);
        }
        let unhealthy = self.first_unhealthy();
        for pod in &self.condemned {
            if self.condemn(pod, unhealthy, actions) == Flow::Wait && self.ordered {
                return Flow::Wait;
            }
        }
        Flow::GoOn
    }

    fn make(&self, number: i32, actions: &mut Vec<Action>) -> Flow {
        let pod = new_pod(self.seen.set, self.revision_for(number), number);
        if self.has_stale_claim(&pod, number) {
            return Flow::Wait;
        }
        self.fit_claims(&pod, number, false, actions);
        self.make_claims(&pod, number, actions);
        actions.push(Action::Create(Box::new(pod)));
        Flow::Wait
    }

    /// Below the partition, pods are made anew as they were.
    fn revision_for(&self, number: i32) -> &'a Revision {
        let strategy = self.seen.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolls = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
        let old = match strategy.and_then(|strategy| strategy.rolling_update.as_ref()) {
            Some(rolling) => rolling.partition.unwrap_or(0),
            None => self.seen.set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0),
        };
        if rolls && number < self.start + old { self.seen.current } else { self.seen.update }
    }

    fn has_stale_claim(&self, pod: &Pod, number: i32) -> bool {
        let claims = claims(self.seen.set, number);
        let mut known = claims.iter().filter_map(|claim| self.seen.claims.get(claim.name()));
        Retention::of(self.seen.set).delete_when_scaled && known.any(|claim| is_stale(claim, pod))
    }

    fn make_claims(&self, pod: &Pod, number: i32, actions: &mut Vec<Action>) {
        let retention = Retention::of(self.seen.set);
        for mut claim in claims(self.seen.set, number) {
            if self.seen.claims.contains_key(claim.name()) {
                continue;
            }
            let owners = retention.owners(&claim, self.seen.set, pod, false);
            claim.metadata.owner_references = (!owners.is_empty()).then_some(owners);
            actions.push(Action::CreateClaim(Box::new(claim), pod.name().to_owned()));
        }
    }

    fn fit_claims(&self, pod: &Pod, number: i32, condemned: bool, actions: &mut Vec<Action>) {
        let retention = Retention::of(self.seen.set);
        for claim in claims(self.seen.set, number) {
            let Some(known) = self.seen.claims.get(claim.name()) else { continue };
            let owners = retention.owners(known, self.seen.set, pod, condemned);
            if known.metadata.owner_references.clone().unwrap_or_default() != owners {
                let mut fitted = known.as_ref().clone();
                fitted.metadata.owner_references = Some(owners);
                actions.push(Action::UpdateClaim(Box::new(fitted)));
            }
        }
    }

    /// Looks after a pod that is there.
    fn tend(&self, pod: &Arc<Pod>, number: i32, actions: &mut Vec<Action>) -> Flow {
        if matches!(phase(pod), "Failed" | "Succeeded") {
            // It is made anew when it is gone.
            if !is_deleted(&pod.metadata) {
                actions.push(Action::Delete(pod.clone()));
            }
            return Flow::Wait;
        }
        if phase(pod) == "Pending" {
            self.make_claims(pod, number, actions);
        }
        if self.ordered && (is_deleted(&pod.metadata) || !self.is_available(pod)) {
            return Flow::Wait;
        }
        if is_deleted(&pod.metadata) {
            return Flow::GoOn;
        }
        self.fit_claims(pod, number, false, actions);
        let mut identified = pod.as_ref().clone();
        identify(&mut identified, number);
        if identified != **pod {
            actions.push(Action::Update(Box::new(identified)));
        }
        Flow::GoOn
    }

    /// The one that may be removed though it is not ready: nothing before it waits.
    fn first_unhealthy(&self) -> Option<&str> {
        if self.living.iter().any(|pod| !pod.as_ref().is_some_and(|pod| is_healthy(pod))) {
            return None;
        }
        self.condemned.iter().rev().find(|pod| !is_healthy(pod)).map(|pod| pod.uid())
    }

    fn condemn(&self, pod: &Arc<Pod>, unhealthy: Option<&str>, actions: &mut Vec<Action>) -> Flow {
        if is_deleted(&pod.metadata) {
            return Flow::Wait;
        }
        if self.ordered && !self.is_available(pod) && unhealthy != Some(pod.uid()) {
            return Flow::Wait;
        }
        actions.push(Action::Delete(pod.clone()));
        Flow::Wait
    }

    /// Removes pods of old revisions, highest first; they are made anew. Returns how many of the current revision.
    fn roll(&self, actions: &mut Vec<Action>) -> i32 {
        let strategy = self.seen.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return 0;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = usize::try_from(rolling.and_then(|rolling| rolling.partition).unwrap_or(0)).unwrap_or(0);
        let max = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let max = max.map_or(1, |max| scaled(max, self.replicas, true)).max(1);
        let is_up = |pod: &Pod| is_healthy(pod) && self.is_available(pod);
        let down = self.living.iter().filter(|pod| !pod.as_ref().is_some_and(|pod| is_up(pod))).count();
        let mut room = usize::try_from(max).unwrap_or(1).saturating_sub(down);
        let mut deleted = 0;
        for pod in self.living.iter().skip(partition).rev().flatten() {
            if revision_of(pod) == self.seen.update.name || is_deleted(&pod.metadata) {
                continue;
            }
            // One that is down already costs nothing.
            if is_up(pod) {
                if room == 0 {
                    continue;
                }
                room -= 1;
            }
            deleted += i32::from(revision_of(pod) == self.seen.current.name);
            actions.push(Action::Delete(pod.clone()));
        }
        deleted
    }

    fn status(&self) -> StatefulSetStatus {
        let pods = self.seen.pods;
        let count = |test: &dyn Fn(&Pod) -> bool| {
            i32::try_from(pods.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
        };
        let of =
            |revision: &'a Revision| move |pod: &Pod| revision_of(pod) == revision.name && !is_deleted(&pod.metadata);
        StatefulSetStatus {
            replicas: count(&|_| true),
            ready_replicas: positive(count(&runs)),
            available_replicas: Some(count(&|pod| self.is_available(pod))),
            current_replicas: positive(count(&of(self.seen.current))),
            updated_replicas: positive(count(&of(self.seen.update))),
            current_revision: Some(self.seen.current.name.clone()),
            update_revision: Some(self.seen.update.name.clone()),
            collision_count: Some(collisions(self.seen.set)),
            observed_generation: self.seen.set.metadata.generation,
            conditions: self.seen.set.status.as_ref().and_then(|status| status.conditions.clone()),
        }
    }

    /// A rolling update that is through makes its revision the current one.
    fn complete(&self, status: &mut StatefulSetStatus) {
        let strategy = self.seen.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolls = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
        let all = |count: Option<i32>| count.unwrap_or(0) == self.replicas;
        if rolls && status.replicas == self.replicas && all(status.updated_replicas) && all(status.ready_replicas) {
            status.current_replicas = status.updated_replicas;
            status.current_revision = status.update_revision.clone();
        }
    }
}

/// Zero is absent on the wire.
fn positive(count: i32) -> Option<i32> {
    (count > 0).then_some(count)
}

fn runs(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

fn is_healthy(pod: &Pod) -> bool {
    runs(pod) && !is_deleted(&pod.metadata)
}
