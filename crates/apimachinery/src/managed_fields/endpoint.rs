//! A door through which objects are written: it keeps their managed fields.

use std::borrow::Cow;
use std::sync::LazyLock;

use api::schema::SchemaNode;
use serde_json::{Map, Value};

use super::conflict::Conflicts;
use super::entries::{self, Entry, decode};
use super::field_set::{FieldSet, PathElement};
use super::updater::{Fault, Updater};
use super::versions::{OneVersion, Versions};
use super::{cap, last_applied};
use crate::structured_merge::{Duplicates, Place, validate};
use crate::{Gvk, Status, object};

/// Who owns what an object had before somebody first applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    pub name: &'a str,
    pub api_version: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
}

/// A kind in a version, written through one of its resources.
pub struct Endpoint<'a> {
    pub place: Place<'a>,
    pub api_version: &'a str,
    pub kind: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    /// Fields that this endpoint resets, as dotted paths: its writers never own them.
    pub reset: &'a [&'a str],
    pub versions: &'a dyn Versions,
    /// RFC 3339 in seconds.
    pub now: &'a str,
}

/// Why a configuration cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", .0.to_status())]
    Conflicts(Conflicts),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Failed(String),
}

impl ApplyError {
    pub fn to_status(&self) -> Status {
        match self {
            Self::Conflicts(conflicts) => conflicts.to_status(),
            Self::BadRequest(why) => Status::bad_request(why.clone()),
            Self::Failed(why) => Status::failure(500, "", why.clone()),
        }
    }
}

/// Sets `metadata.managedFields` of `new` for a create (`live` is `None`), an update or a patch that is not an apply, of a
/// kind with a single version. `ignored` are the fields that this endpoint resets.
pub fn update(
    live: Option<&Value>,
    new: &mut Value,
    schema: SchemaNode<'_>,
    manager: &Manager<'_>,
    ignored: &[&str],
    now: &str,
) {
    let place = Some(schema);
    let versions = OneVersion { api_version: manager.api_version, place };
    let kind = object::kind(new).to_owned();
    let endpoint = Endpoint {
        place,
        api_version: manager.api_version,
        kind: &kind,
        subresource: manager.subresource,
        reset: ignored,
        versions: &versions,
        now,
    };
    endpoint.update(live, new, manager.name);
}

impl Endpoint<'_> {
    /// Sets `metadata.managedFields` of `new` for a create (`live` is `None`), an update or a patch that is not an apply.
    /// If owners cannot be settled (a conversion fails), they stay as they were.
    pub fn update(&self, live: Option<&Value>, new: &mut Value, manager: &str) {
        let entries = self.entries_for_update(live, new);
        object::metadata_mut(new).remove("managedFields");
        if live.is_some() && entries.is_empty() {
            return;
        }
        let before = live.map_or_else(|| Cow::Owned(self.empty()), Cow::Borrowed);
        match self.updated(&before, new, entries, manager) {
            Ok(entries) => entries::set(new, &entries),
            Err(_) => restore(live, new),
        }
    }

    /// A client may set the entries itself, or reset them; one that does not know them keeps them. Through a subresource
    /// they cannot be set.
    fn entries_for_update(&self, live: Option<&Value>, new: &Value) -> Vec<Entry> {
        let of_live = || live.and_then(|live| decode(live).ok()).unwrap_or_default();
        if !self.subresource.is_empty() {
            return of_live();
        }
        if entries::is_reset(new) {
            return Vec::new();
        }
        decode(new).ok().filter(|entries| !entries.is_empty()).unwrap_or_else(of_live)
    }

    fn updated(&self, live: &Value, new: &Value, mut entries: Vec<Entry>, manager: &str) -> Result<Vec<Entry>, Fault> {
        let reset = paths(self.reset);
        let mut taken = self.updater(&reset).update(live, new, &mut entries)?;
        taken.subtract(&NOBODYS);
        if !taken.is_empty() {
            self.give(&mut entries, &taken, manager);
        }
        Ok(cap::fold_oldest(entries))
    }

    fn give(&self, entries: &mut Vec<Entry>, taken: &FieldSet, manager: &str) {
        let own = self.entry(manager, false);
        if !entries.iter().any(|entry| entry.is_of(&own)) {
            entries.push(own.clone());
        }
        for entry in entries.iter_mut().filter(|entry| entry.is_of(&own)) {
            entry.fields.extend(taken);
            entry.time = Some(self.now.to_owned());
        }
    }

    fn entry(&self, manager: &str, applied: bool) -> Entry {
        Entry {
            manager: if manager.is_empty() { "unknown".into() } else { manager.to_owned() },
            applied,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            ..Entry::default()
        }
    }

    /// Lays a configuration over the object (over nothing when it is to be created), with the owners that follow. The
    /// result still has to be decoded against the schema ([`crate::strict::normalize`]).
    pub fn apply(&self, live: Option<&Value>, config: &Value, manager: &str, force: bool) -> Result<Value, ApplyError> {
        let live = live.map_or_else(|| Cow::Owned(self.empty()), Cow::Borrowed);
        let entries =
            decode(&live).map_err(|error| ApplyError::Failed(format!("failed to decode managed fields: {error}")))?;
        self.check(config)?;
        let answer = self.apply_or_upgrade(&live, config, &entries, manager, force);
        let (mut applied, entries) = answer.map_err(|fault| match fault {
            Fault::Conflicts(conflicts) => ApplyError::Conflicts(conflicts),
            Fault::Conversion(why) => ApplyError::Failed(why),
        })?;
        last_applied::follow(manager, &mut applied, config);
        entries::set(&mut applied, &entries);
        Ok(applied)
    }

    fn check(&self, config: &Value) -> Result<(), ApplyError> {
        let gvk = Gvk::parse(object::api_version(config), object::kind(config));
        if gvk != Gvk::parse(self.api_version, self.kind) {
            return Err(ApplyError::BadRequest(format!("invalid object type: {gvk}")));
        }
        if config.pointer("/metadata/managedFields").is_some_and(Value::is_array) {
            return Err(ApplyError::BadRequest("metadata.managedFields must be nil".into()));
        }
        validate(config, self.place, Duplicates::Refused).map_err(|problems| {
            let what = name_of(config, &gvk);
            ApplyError::Failed(format!("failed to create typed patch object ({what}): {problems}"))
        })
    }

    /// Conflicts about what `kubectl` itself set by client-side apply are none.
    fn apply_or_upgrade(
        &self,
        live: &Value,
        config: &Value,
        entries: &[Entry],
        manager: &str,
        force: bool,
    ) -> Result<(Value, Vec<Entry>), Fault> {
        let conflicts = match self.applied(live, config, entries, manager, force) {
            Err(Fault::Conflicts(conflicts)) => conflicts,
            other => return other,
        };
        let Some(takeable) = last_applied::takeable(manager, live, self.api_version, self.place) else {
            return Err(Fault::Conflicts(conflicts));
        };
        let left = conflicts.without(&takeable);
        if left.is_empty() { self.applied(live, config, entries, manager, true) } else { Err(Fault::Conflicts(left)) }
    }

    fn applied(
        &self,
        live: &Value,
        config: &Value,
        entries: &[Entry],
        manager: &str,
        force: bool,
    ) -> Result<(Value, Vec<Entry>), Fault> {
        let mut entries = entries.to_vec();
        if entries.is_empty() {
            entries = self.updated(&self.empty(), live, entries, BEFORE_FIRST_APPLY)?;
        }
        let (reset, own) = (paths(self.reset), self.entry(manager, true));
        let applied = self.updater(&reset).apply(live, config, &mut entries, &own, force)?;
        for entry in entries.iter_mut().filter(|entry| entry.is_of(&own)) {
            entry.fields.subtract(&NOBODYS);
            if applied.is_some() {
                entry.time = Some(self.now.to_owned());
            }
        }
        entries.retain(|entry| !entry.fields.is_empty());
        Ok((applied.unwrap_or_else(|| live.clone()), entries))
    }

    fn updater<'s>(&'s self, reset: &'s FieldSet) -> Updater<'s> {
        Updater { place: self.place, api_version: self.api_version, versions: self.versions, reset }
    }

    /// What upstream compares a new object with.
    fn empty(&self) -> Value {
        let mut empty = self.place.map_or_else(|| Value::Object(Map::new()), crate::strict::zero);
        empty["apiVersion"] = self.api_version.into();
        empty["kind"] = self.kind.into();
        empty
    }
}

/// Puts the live object's entries back.
fn restore(live: Option<&Value>, new: &mut Value) {
    let entries = live.and_then(|live| live.pointer("/metadata/managedFields"));
    if let Some(entries) = entries {
        object::metadata_mut(new).insert("managedFields".into(), entries.clone());
    }
}

/// `namespace/name; group/version, Kind=kind`.
fn name_of(config: &Value, gvk: &Gvk) -> String {
    format!("{}/{}; {gvk}", object::namespace(config), object::name(config))
}

/// Dotted paths as a set.
fn paths(dotted: &[&str]) -> FieldSet {
    let path = |text: &&str| text.split('.').map(|name| PathElement::Field(name.to_owned())).collect::<Vec<_>>();
    dotted.iter().map(path).collect()
}

/// What nobody owns: the type, and what the server keeps in the metadata.
static NOBODYS: LazyLock<FieldSet> = LazyLock::new(|| {
    paths(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

#[cfg(test)]
mod tests;
