//! Decides what a write does to the owners, and, for an apply, to the object.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::conflict::Conflicts;
use super::entries::Entry;
use super::field_set::FieldSet;
use super::versions::Versions;
use crate::structured_merge::{
    Comparison, Place, compare, merge, reconcile, remove_items, to_field_set, with_named_fields,
};

/// Why a write's owners cannot be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Conflicts(Conflicts),
    /// An object could not be shown in the version of an entry.
    Conversion(String),
}

/// The version that is written in, and what is known of the others.
pub struct Updater<'a> {
    pub place: Place<'a>,
    pub api_version: &'a str,
    pub versions: &'a dyn Versions,
    /// Fields that the endpoint resets: nobody owns them through it.
    pub reset: &'a FieldSet,
}

/// How the object differs in one version.
struct Difference {
    comparison: Comparison,
    changed: FieldSet,
}

/// What is left after pruning, in one version.
struct Pruned<'v> {
    merged: Cow<'v, Value>,
    pruned: Cow<'v, Value>,
}

impl Updater<'_> {
    /// After an update: who loses what, and what the writer gets, which may be nothing.
    pub fn update(&self, live: &Value, new: &Value, entries: &mut Vec<Entry>) -> Result<FieldSet, Fault> {
        self.reconcile(entries);
        let difference = self.settle(live, new, entries, None, true)?;
        let mut taken = difference.changed;
        taken.subtract_recursively(self.reset);
        Ok(taken)
    }

    /// Merges `config` into `live` for the manager `own`. `None` if the object stays as it is.
    pub fn apply(
        &self,
        live: &Value,
        config: &Value,
        entries: &mut Vec<Entry>,
        own: &Entry,
        force: bool,
    ) -> Result<Option<Value>, Fault> {
        self.reconcile(entries);
        let merged = merge(live, config, self.place);
        let mut fields = to_field_set(config, self.place);
        fields.subtract_recursively(self.reset);
        let last = self.replace_own(entries, own, fields);
        let new = match last.filter(|last| !last.fields.is_empty()) {
            Some(last) => self.prune(&merged, entries, &last)?.unwrap_or(merged),
            None => merged,
        };
        self.settle(live, &new, entries, Some(own), force)?;
        Ok((*live != new).then_some(new))
    }

    /// Gives the manager its new fields, and says what it had.
    fn replace_own(&self, entries: &mut Vec<Entry>, own: &Entry, fields: FieldSet) -> Option<Entry> {
        let last = entries.iter().position(|entry| entry.is_of(own)).map(|index| entries.remove(index));
        let time = last.as_ref().and_then(|last| last.time.clone());
        entries.push(Entry { fields, time, api_version: self.api_version.into(), ..own.clone() });
        last
    }

    fn place_of(&self, api_version: &str) -> Option<Place<'_>> {
        if api_version == self.api_version { Some(self.place) } else { self.versions.place(api_version) }
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Fault> {
        if from == to {
            return Ok(Cow::Borrowed(object));
        }
        self.versions.convert(object, to).map(Cow::Owned).map_err(Fault::Conversion)
    }

    /// Entries as today's schema has them; those of versions that are gone are forgotten.
    fn reconcile(&self, entries: &mut Vec<Entry>) {
        entries.retain_mut(|entry| {
            let Some(place) = self.place_of(&entry.api_version) else { return false };
            if let Some(fields) = reconcile(&entry.fields, place) {
                entry.fields = fields;
            }
            true
        });
    }

    fn difference(&self, live: &Value, new: &Value, api_version: &str) -> Result<Option<Difference>, Fault> {
        let Some(place) = self.place_of(api_version) else { return Ok(None) };
        let live = self.convert(live, self.api_version, api_version)?;
        let new = self.convert(new, self.api_version, api_version)?;
        let mut comparison = compare(&live, &new, place);
        comparison.exclude(self.reset);
        let changed = comparison.changed();
        Ok(Some(Difference { comparison, changed }))
    }

    /// Takes from all but `own` what has changed or gone, unless that is a conflict.
    fn settle(
        &self,
        live: &Value,
        new: &Value,
        entries: &mut Vec<Entry>,
        own: Option<&Entry>,
        force: bool,
    ) -> Result<Difference, Fault> {
        let differences = self.differences(live, new, entries)?;
        let others = |entry: &Entry| own.is_none_or(|own| !entry.is_of(own));
        if !force {
            let conflicts = conflicts(entries.iter().filter(|entry| others(entry)), &differences);
            if !conflicts.is_empty() {
                return Err(Fault::Conflicts(conflicts));
            }
        }
        for entry in entries.iter_mut().filter(|entry| others(entry)) {
            let Some(difference) = differences.get(&entry.api_version) else { continue };
            entry.fields.subtract(&difference.changed);
            entry.fields.subtract(&difference.comparison.removed);
        }
        entries.retain(|entry| !entry.fields.is_empty());
        let mut differences = differences;
        Ok(differences.remove(self.api_version).expect("the version that is written in was compared"))
    }

    fn differences(&self, live: &Value, new: &Value, entries: &[Entry]) -> Result<HashMap<String, Difference>, Fault> {
        let mut found = HashMap::new();
        let versions = entries.iter().map(|entry| entry.api_version.as_str());
        for api_version in std::iter::once(self.api_version).chain(versions) {
            if found.contains_key(api_version) {
                continue;
            }
            if let Some(difference) = self.difference(live, new, api_version)? {
                found.insert(api_version.to_owned(), difference);
            }
        }
        Ok(found)
    }

    /// Takes out what the manager applied the last time, does not apply now, and nobody else owns. `None` if the version
    /// of the last time is gone.
    fn prune(&self, merged: &Value, entries: &[Entry], last: &Entry) -> Result<Option<Value>, Fault> {
        let version = last.api_version.as_str();
        let Some(place) = self.place_of(version) else { return Ok(None) };
        let merged = self.convert(merged, self.api_version, version)?;
        let last_fields = with_named_fields(&last.fields, place);
        let pruned = remove_items(&merged, &last_fields, place);
        let owned = self.with_owned(&merged, &pruned, version, entries)?;
        let kept = without_own(&merged, &owned, &last_fields, place);
        Ok(Some(self.convert(&kept, version, self.api_version)?.into_owned()))
    }

    /// Adds back what somebody owns; the manager's new configuration is among the entries.
    fn with_owned(&self, merged: &Value, pruned: &Value, version: &str, entries: &[Entry]) -> Result<Value, Fault> {
        let mut owned: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for entry in entries {
            owned.entry(&entry.api_version).or_default().extend(&entry.fields);
        }
        let mut at = version;
        let mut state = Pruned { merged: Cow::Borrowed(merged), pruned: Cow::Borrowed(pruned) };
        // First the version at hand: what is pruned may be needed to convert.
        let first = owned.remove(version).map(|fields| (version, fields));
        for (next, fields) in first.into_iter().chain(owned) {
            let Some(place) = self.place_of(next) else { continue };
            let merged = self.convert(&state.merged, at, next)?.into_owned();
            let pruned = self.convert(&state.pruned, at, next)?;
            let pruned = with_owned_fields(&merged, &pruned, &fields, place);
            state = Pruned { merged: Cow::Owned(merged), pruned: Cow::Owned(pruned) };
            at = next;
        }
        Ok(self.convert(&state.pruned, at, version)?.into_owned())
    }
}

/// `merged` without what is neither in `pruned` nor owned.
fn with_owned_fields(merged: &Value, pruned: &Value, owned: &FieldSet, place: Place<'_>) -> Value {
    let mut gone = with_named_fields(&to_field_set(merged, place), place);
    gone.subtract(&with_named_fields(&to_field_set(pruned, place), place));
    gone.subtract(&with_named_fields(owned, place));
    remove_items(merged, &gone, place)
}

/// `merged` without what was pruned and had been the manager's own; the rest belongs to nobody and stays.
fn without_own(merged: &Value, pruned: &Value, own: &FieldSet, place: Place<'_>) -> Value {
    let mut gone = with_named_fields(&to_field_set(merged, place), place);
    gone.subtract(&with_named_fields(&to_field_set(pruned, place), place));
    remove_items(merged, &gone.intersection(own), place)
}

fn conflicts<'e>(others: impl Iterator<Item = &'e Entry>, differences: &HashMap<String, Difference>) -> Conflicts {
    let mut others: Vec<&Entry> = others.collect();
    others.sort_by_key(|entry| entry.identity());
    let mut conflicts = Conflicts::default();
    for entry in others {
        let Some(difference) = differences.get(&entry.api_version) else { continue };
        conflicts.add(entry, &entry.fields.intersection(&difference.changed));
    }
    conflicts
}
