//! What is to become of one object, decided from its owners and dependents.

use api::metav1::OwnerReference;
use client::{PartialObject, Propagation};

use crate::pods::is_deleted;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    Lives,
    /// It is deleted in the foreground.
    WaitsForDependents,
    Absent,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Delete(Propagation),
    /// Owner references with these UIDs.
    DropOwners(Vec<String>),
    OrphanDependents,
    /// It no longer holds up the deletion of its owners.
    UnblockOwners,
    RemoveFinalizer(&'static str),
}

pub(super) fn has_finalizer(object: &PartialObject, finalizer: &str) -> bool {
    object.metadata.finalizers.iter().flatten().any(|name| name == finalizer)
}

/// Whether the object can need anything.
pub(super) fn concerns(object: &PartialObject) -> bool {
    let owned = object.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
    let ending = is_deleted(&object.metadata);
    owned || (ending && (has_finalizer(object, FOREGROUND) || has_finalizer(object, ORPHAN)))
}

pub(super) fn looks_the_same(old: &PartialObject, new: &PartialObject) -> bool {
    old.metadata.owner_references == new.metadata.owner_references
        && old.metadata.finalizers == new.metadata.finalizers
        && is_deleted(&old.metadata) == is_deleted(&new.metadata)
}

/// How many name an object as an owner.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dependents {
    pub all: usize,
    /// They hold up its deletion.
    pub blocking: usize,
    /// They wait for their own dependents, of which the object may be one.
    pub waiting: usize,
}

pub(super) fn plan(
    object: &PartialObject,
    owners: &[(OwnerReference, OwnerState)],
    dependents: Dependents,
) -> Vec<Action> {
    if is_deleted(&object.metadata) {
        if has_finalizer(object, ORPHAN) {
            return vec![Action::OrphanDependents, Action::RemoveFinalizer(ORPHAN)];
        }
        let done = has_finalizer(object, FOREGROUND) && dependents.blocking == 0;
        return if done { vec![Action::RemoveFinalizer(FOREGROUND)] } else { Vec::new() };
    }
    let of = |state| owners.iter().filter(move |(_, found)| *found == state).map(|(owner, _)| owner.uid.clone());
    let gone: Vec<_> = of(OwnerState::Absent).chain(of(OwnerState::WaitsForDependents)).collect();
    if gone.is_empty() {
        return Vec::new();
    }
    if of(OwnerState::Lives).next().is_some() {
        return vec![Action::DropOwners(gone)];
    }
    let waited_for = of(OwnerState::WaitsForDependents).next().is_some() && dependents.all > 0;
    if waited_for && dependents.waiting > 0 && blocks(owners) {
        return vec![Action::UnblockOwners]; // what follows from that is decided when it is seen
    }
    vec![Action::Delete(match () {
        () if has_finalizer(object, ORPHAN) => Propagation::Orphan,
        () if has_finalizer(object, FOREGROUND) || waited_for => Propagation::Foreground,
        () => Propagation::Background,
    })]
}

fn blocks(owners: &[(OwnerReference, OwnerState)]) -> bool {
    owners.iter().any(|(owner, _)| owner.block_owner_deletion == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: &str, owners: &[OwnerState], dependents: usize, blocking: usize, want: &[Action]) {
        let has = |word: &str| object.split_whitespace().any(|known| known == word);
        let finalizers: Vec<_> = [FOREGROUND, ORPHAN].into_iter().filter(|name| has(name)).collect();
        let mut value = json!({"metadata": {"name": "a", "uid": "a", "finalizers": finalizers}});
        if has("deleted") {
            value["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z".into();
        }
        let object: PartialObject = serde_json::from_value(value).expect("an object");
        let owner = |uid: String| {
            let block_owner_deletion = has("blocks").then_some(true);
            OwnerReference { uid, block_owner_deletion, ..OwnerReference::default() }
        };
        let owners: Vec<_> =
            owners.iter().enumerate().map(|(number, state)| (owner(number.to_string()), *state)).collect();
        let dependents = Dependents { all: dependents, blocking, waiting: usize::from(has("circular")) };
        assert_eq!(plan(&object, &owners, dependents), want);
    }

    #[test]
    fn an_object_lives_as_long_as_one_owner_does() {
        use OwnerState::{Absent, Lives, WaitsForDependents};
        check("", &[Lives], 0, 0, &[]);
        check("", &[Lives, Absent], 0, 0, &[Action::DropOwners(vec!["1".into()])]);
        check("", &[Lives, WaitsForDependents], 0, 0, &[Action::DropOwners(vec!["1".into()])]);
        check("", &[Absent], 0, 0, &[Action::Delete(Propagation::Background)]);
        check("orphan", &[Absent], 0, 0, &[Action::Delete(Propagation::Orphan)]);
        check("", &[WaitsForDependents], 2, 0, &[Action::Delete(Propagation::Foreground)]);
        check("", &[WaitsForDependents], 0, 0, &[Action::Delete(Propagation::Background)]);
        check("blocks circular", &[WaitsForDependents], 1, 0, &[Action::UnblockOwners]);
        check("circular", &[WaitsForDependents], 1, 0, &[Action::Delete(Propagation::Foreground)]);
        check("blocks circular", &[Absent], 1, 0, &[Action::Delete(Propagation::Background)]);
    }

    #[test]
    fn a_deletion_is_seen_through() {
        check("deleted foregroundDeletion", &[], 2, 1, &[]);
        check("deleted foregroundDeletion", &[], 1, 0, &[Action::RemoveFinalizer(FOREGROUND)]);
        check("deleted orphan", &[], 2, 2, &[Action::OrphanDependents, Action::RemoveFinalizer(ORPHAN)]);
        check("deleted", &[OwnerState::Absent], 0, 0, &[]);
    }
}
